"""The command-line tools on the tiny data set."""
import json
import os
import subprocess
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from mmcss.commands.config_options import with_mixed_precision
from mmcss.engine import build_scenario, step_config
from tests import processes
from tests.experiments import entry
from tests.tiny import MIB, tiny_config

TOOLS = Path(__file__).resolve().parents[2] / 'tools'


def call(tool, *arguments):
    return processes.call(TOOLS / tool, *arguments)


def to_do(done):
    """What a dry run is going to do with each step."""
    rows = [[cell.strip() for cell in line.split('|')] for line in done.stdout.splitlines() if line.startswith('|')]
    return [row[2] for row in rows[1:]]


@pytest.fixture
def config(tiny_data, tmp_path):
    path = tmp_path / 'config.py'
    tiny_config(tiny_data, tmp_path / 'work', continual=MIB).dump(path)
    return path


@pytest.mark.skipif(torch.cuda.is_available(), reason='about machines without a GPU')
def test_mixed_precision_without_a_gpu_says_so_and_stops(config, tmp_path):
    done = call('train.py', config, '--amp')
    assert done.returncode != 0
    assert '--amp needs a GPU' in done.stderr
    assert not (tmp_path / 'work').exists()


def test_mixed_precision_of_steps_that_name_their_optimizer_s_wrapper(tiny_data, tmp_path):
    cfg = tiny_config(tiny_data, tmp_path, next_steps=dict(optim_wrapper=dict(
        type='OptimWrapper', optimizer=dict(type='SGD', lr=.01))))
    with_mixed_precision(cfg)
    for step in (0, 1):
        wrapper = step_config(cfg, build_scenario(cfg), step).optim_wrapper
        assert (wrapper.type, wrapper.loss_scale) == ('AmpOptimWrapper', 'dynamic')


def test_dry_run_and_options(config, tmp_path):
    done = call('train.py', config, '--dry-run', '--cfg-options', 'scenario.base=3', 'train_cfg.max_epochs=9')
    assert done.returncode == 0, done.stderr
    assert 'model.continual.previous' in done.stdout and 'step 1, config against step 0' in done.stdout
    assert 'step 2, config' not in done.stdout
    assert to_do(done) == ['train', 'train']
    assert not (tmp_path / 'work').exists()


def test_a_dry_run_of_what_is_composed(tiny_data, tmp_path):
    """Scenario and model by the paths of files of one's own, which stand in the name."""
    tiny = tiny_config(tiny_data, tmp_path / 'work')._cfg_dict.to_dict()
    keys = ('train_dataloader', 'test_dataloader', 'test_evaluator')
    (tmp_path / 'tiny.py').write_text('\n'.join(f'{key} = {tiny[key]!r}' for key in keys) + "\nscenario = dict(steps='2-1')\n")
    (tmp_path / 'small.py').write_text(f"model = {tiny['model']!r}\n")
    done = call('train.py', entry('lwf'), '--scenario', tmp_path / 'tiny.py', '--model', tmp_path / 'small.py', '--dry-run',
                '--cfg-options', 'train_cfg.max_epochs=1')
    assert done.returncode == 0, done.stderr
    assert to_do(done) == ['train'] * 3
    assert "work_dir: 'work_dirs/lwf/small_tiny/step_0' -> 'work_dirs/lwf/small_tiny/step_1'" in done.stdout


def test_a_composed_config_is_saved(tmp_path):
    options = ['--scenario', 'ade_100-50', '--cfg-options', 'train_cfg.max_epochs=7']
    done = call('print_config.py', entry('plop'), *options, '--save-path', tmp_path / 'new' / 'saved.py')
    assert done.returncode == 0, done.stderr
    saved = Config.fromfile(tmp_path / 'new' / 'saved.py')
    assert (saved.scenario.increment, saved.train_cfg.max_epochs) == (50, 7)
    assert Config.fromstring(call('print_config.py', entry('plop'), *options).stdout, '.py')._cfg_dict == saved._cfg_dict
    for path, told in ((tmp_path / 'new' / 'saved.py', 'is there; it is not overwritten'), ('saved.yaml', 'ends with .py')):
        done = call('print_config.py', entry('plop'), '--save-path', path)
        assert done.returncode == 2 and told in done.stderr


def test_a_config_may_say_itself_what_to_run(tiny_data, tmp_path):
    tiny_config(tiny_data, tmp_path / 'work', run=dict(steps='1-2')).dump(tmp_path / 'config.py')

    assert to_do(call('train.py', tmp_path / 'config.py', '--dry-run')) == ['-', 'train', 'train']
    assert to_do(call('train.py', tmp_path / 'config.py', '--dry-run', '--step', '0')) == ['train', '-', '-']


def test_a_wrong_config_ends_with_its_message(config):
    done = call('train.py', config, '--dry-run', '--cfg-options', 'scenario.base=30')
    assert done.returncode != 0
    assert 'scenario.base: got 30, but the data set has 4 foreground classes' in done.stderr


@pytest.fixture
def finished_run(tmp_path):
    """A folder with the results of two steps."""
    steps = [dict(step=0, num_test_images=3, mIoU_old=50.0, mIoU=50.0),
             dict(step=1, num_test_images=4, mIoU_old=40.0, mIoU_new=10.0, mIoU=30.0)]
    results = dict(steps=steps, average=40.0, mean_forgetting=10.0, scenario=[['a'], ['b']],
                   protocol=dict(future='background'), protocol_name='default')
    (tmp_path / 'results.json').write_text(json.dumps(results))
    return tmp_path


def test_compare(finished_run, tmp_path):
    done = call('compare.py', f'ours={finished_run}')
    assert done.stdout.splitlines()[-1].replace(' ', '') == '|ours|40.00|10.00|30.00|40.00|10.00|'
    other = tmp_path / 'other'
    other.mkdir()
    results = json.loads((finished_run / 'results.json').read_text())
    (other / 'results.json').write_text(json.dumps(dict(results, protocol=dict(future='ignored'), protocol_name='mib')))
    last = call('compare.py', f'ours={finished_run}', f'other={other}').stdout.splitlines()[-1]
    assert last == 'note: they were tested under different protocols: ours default, other mib.'


@pytest.mark.parametrize('runs, told', [
    (['{}'], 'expected NAME=WORK_DIR'), (['={}'], 'expected NAME=WORK_DIR'), (['a='], 'expected NAME=WORK_DIR'),
    (['a={}', 'a={}'], "two runs are named 'a'"), (['a={}/b'], 'there is no {}/b/results.json')])
def test_compare_of_what_is_no_run(finished_run, runs, told):
    done = call('compare.py', *(run.format(finished_run) for run in runs))
    assert done.returncode == 2 and told.format(finished_run) in done.stderr


def test_benchmark_measures_a_step_against_its_parts(config):
    done = call('benchmark.py', config, '--size', 32, 48, '--batch', 2, '--repeats', 2, '--device', 'cpu')
    assert done.returncode == 0, done.stderr
    assert '2 images of 32 x 48 on cpu' in done.stdout
    ratio = float(done.stdout.splitlines()[-2].split('|')[-2])
    assert 0.3 < ratio < 10


def test_benchmark_of_parts_that_act_before_an_update(tiny_data, tmp_path):
    """Importance of step 0 is gathered first; there is no teacher to measure."""
    method = dict(losses=dict(ewc=dict(type='ElasticWeightConsolidation')), loss_decode=dict(type='CompositeLoss'))
    tiny_config(tiny_data, tmp_path / 'run', continual=method).dump(tmp_path / 'config.py')
    done = call('benchmark.py', tmp_path / 'config.py', '--size', 32, '--batch', 2, '--repeats', 2, '--device', 'cpu')
    assert done.returncode == 0, done.stderr
    cells = [cell.strip() for cell in done.stdout.splitlines()[-2].split('|')]
    assert cells[3] == '-' and cells[-2] == cells[-3]


def test_benchmark_of_one_step(tiny_data, tmp_path):
    tiny_config(tiny_data, tmp_path / 'run', scenario=dict(base=2, increment=1, joint=True)).dump(tmp_path / 'config.py')
    done = call('benchmark.py', tmp_path / 'config.py')
    assert done.returncode == 1 and 'config.py has one step alone' in done.stderr


@pytest.mark.parametrize('arguments', [['plop.py'], ['plop.py', '--resume']])
def test_a_launch_without_the_number_of_devices(arguments):
    done = subprocess.run(['bash', str(TOOLS / 'dist_train.sh'), *arguments], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith('usage: CONFIG DEVICES [options of tools/train.py]; got: plop.py')


@pytest.mark.parametrize('tool', ['train', 'test'])
def test_a_launch(tool):
    """What it would run; tests/e2e has it train."""
    environment = dict(os.environ, PYTHON='echo', PORT='29123')
    done = subprocess.run(['bash', str(TOOLS / f'dist_{tool}.sh'), 'plop.py', '2', '--step', '0-1'], capture_output=True,
                          text=True, env=environment)
    assert done.stdout.split() == [
        '-m', 'torch.distributed.run', '--nnodes=1', '--node_rank=0', '--master_addr=127.0.0.1', '--master_port=29123',
        '--nproc_per_node=2', str(TOOLS / f'{tool}.py'), 'plop.py', '--launcher', 'pytorch', '--step', '0-1']


def test_inplace_abn_is_converted_into_a_new_folder(tmp_path):
    torch.save(dict(state_dict={'module.mod1.conv1.weight': torch.zeros(1)}), tmp_path / 'given.pth')
    done = call('convert_inplace_abn.py', tmp_path / 'given.pth', tmp_path / 'pretrained' / 'made.pth')
    assert done.returncode == 0, done.stderr
    assert (tmp_path / 'pretrained' / 'made.pth').is_file()
