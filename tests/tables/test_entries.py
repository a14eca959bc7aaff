from dataclasses import replace
from pathlib import Path

import pytest
from mmengine.config import Config

from mmcss.engine.settings import read_settings
from mmcss.tables import Entry, Row, entries_of, entry_config, make_jobs

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def at_the_checkout(monkeypatch):
    monkeypatch.chdir(CHECKOUT)


def test_the_config_of_an_entry(write_table, tmp_path):
    cfg = entry_config(write_table(), Entry('rates@lr=0.2', 'shapes8_reversed', 3))
    assert cfg.work_dir == f'{tmp_path}/work_dirs/small/shapes8_reversed/rates@lr=0.2_seed3'
    assert (cfg.randomness.seed, cfg.train_cfg.max_epochs, cfg.next_steps.optim_wrapper.optimizer.lr) == (3, 3, 0.2)
    assert (cfg.scenario.class_order[0], cfg.model.backbone.depth) == (8, 18)


def test_step_0_is_shared_where_it_is_trained_alike(write_table, tmp_path):
    table = write_table()
    entries = entries_of(table, scenarios=['shapes8_5-1'], seeds=[0])
    jobs = {job.name: job for job in make_jobs(table, entries, entries_of(table))}
    shared = jobs['shapes8_5-1/plop_seed0'].first_step
    assert shared in jobs and shared.startswith('shapes8_5-1/first_step_')
    assert jobs['shapes8_5-1/finetune_seed0'].first_step == shared
    assert list(jobs)[0] == shared
    first = jobs[shared].config
    assert first.run.steps == '0' and first.work_dir == f'{tmp_path}/work_dirs/small/{shared}'


def test_a_shared_step_0_watches_what_later_steps_need(write_table):
    rows = {name: Row(name, name) for name in ('finetune', 'ewc', 'pi', 'rw', 'ssul')}
    table = replace(write_table(), rows=rows, seeds=[0])
    jobs = make_jobs(table, entries_of(table, scenarios=['shapes8_5-1']))
    first = jobs[0]
    assert [job.entry.row for job in jobs[1:] if job.first_step == first.name] == ['finetune', 'ewc', 'pi', 'rw']
    assert [job.first_step for job in jobs[1:] if job.entry.row == 'ssul'] == [None]
    assert set(read_settings(first.config).method(0).losses) == {'ewc', 'pi', 'rw'}


def test_other_seeds_orders_and_rates_of_step_0_are_not_shared(write_table):
    table = write_table()
    jobs = {job.name: job.first_step for job in make_jobs(table, entries_of(table))}
    assert len({jobs[f'shapes8_5-1/finetune_seed{seed}'] for seed in (0, 1)}) == 2
    assert jobs['shapes8_5-1/rates@lr=0.1_seed3'] == jobs['shapes8_5-1/rates@lr=0.2_seed3']
    assert jobs['shapes8_reversed/finetune_seed0'] is None


def test_the_digest_is_of_the_whole_config(write_table):
    table = write_table()
    one, other = (job for job in make_jobs(table, entries_of(table, rows=['rates'], scenarios=['shapes8_5-1'])) if job.entry)
    assert one.digest != other.digest
    assert one.digest == replace(one, config=Config(one.config._cfg_dict.to_dict())).digest
