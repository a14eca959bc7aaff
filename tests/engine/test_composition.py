import copy
from pathlib import Path

import pytest
from mmengine.config import Config

from mmcss.engine import build_scenario, compose, step_config
from mmcss.engine.combinations import Combinations
from mmcss.engine.settings import read_settings
from tests.experiments import CONFIGS, METHODS, PARTS, SCENARIOS, entry, experiment, model_for

MODELS = sorted((path.stem for path in (PARTS / 'models').glob('*.py')), key=len, reverse=True)


def content(cfg):
    """All of a config, with the order of its keys."""
    return repr(cfg._cfg_dict.to_dict())


@pytest.fixture
def parts_read_once(monkeypatch):
    """Files of configs/ are parsed once for all experiments."""
    read, known = Config._file2dict, {}

    def cached(filename, *args, **options):
        if not Path(filename).is_relative_to(CONFIGS):
            return read(filename, *args, **options)
        if filename not in known:
            known[filename] = read(filename, *args, **options)
        return copy.deepcopy(known[filename])

    monkeypatch.setattr(Config, '_file2dict', staticmethod(cached))


def test_every_file_that_ships_is_what_its_name_composes(parts_read_once):
    files = sorted(CONFIGS.glob('[!_]*/*.py'))
    for file in files:
        name = file.stem.removesuffix('_official')
        model = next(model for model in MODELS if name.startswith(f'{model}_'))
        profile = 'official' if name != file.stem else None
        cfg = compose(entry(file.parent.name), name.removeprefix(f'{model}_'), model, profile)
        assert content(cfg) == content(Config.fromfile(file))
        assert Path(cfg.filename) == file
    assert {file.parent.name for file in files} == set(METHODS) and len(files) >= len(METHODS)


def test_every_combination_that_the_table_allows(parts_read_once):
    """Its settings are read, and its last step is made; one of those that take the same rows stands for them."""
    table, tried = Combinations(PARTS), set()
    for method in METHODS:
        for scenario in SCENARIOS:
            model = model_for(method, scenario)
            names = dict(scenarios=scenario, methods='finetune' if method == 'joint' else method, models=model)
            rows = tuple(i for i, row in enumerate(table.rows) if row.holds(**names))
            if (method, rows) in tried or table.choose(*names.values()).excluded:
                continue
            tried.add((method, rows))
            settings = read_settings(experiment(method, scenario))
            assert settings.run_name == Path(method, f'{model}_{scenario}')
            steps = build_scenario(settings)
            last = steps[len(steps) - 1]
            head = step_config(settings, steps, last.step).model.decode_head
            assert head.num_classes == last.num_seen + method.startswith('ssul')
    assert len(tried) == 220


@pytest.fixture
def own(tmp_path):
    """Writes a config of one's own in a folder ``own``, and gives its path."""

    def write(text, name='mine'):
        path = tmp_path / 'own' / f'{name}.py'
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    return write


def parts_text(method='plop', schedule='voc', runtime='default_runtime', scenario='voc_15-1'):
    parts = ('models/deeplabv3_r101', f'scenarios/{scenario}', f'schedules/{schedule}', f'methods/{method}', runtime)
    return f"_base_ = {[f'{PARTS}/{part}.py' for part in parts]!r}\n"


def test_without_options_a_file_is_read_as_it_is():
    path = CONFIGS / 'ssul' / 'deeplabv3_r101_voc_15-1_official.py'
    assert content(compose(path)) == content(Config.fromfile(path)) and compose(path).filename == str(path)


def test_what_goes_with_a_scenario():
    cfg = compose(entry('plop'), 'ade_100-10')
    assert content(cfg) == content(Config.fromfile(CONFIGS / 'plop' / 'deeplabv3_r101_ade_100-10.py'))
    cfg = compose(entry('plop'), 'cityscapes_domains_1-1')
    assert cfg.continual.losses == dict(local_pod=dict(type='LocalPOD', loss_weight=.0001, logits_weight=.001))
    assert (cfg.train_cfg.max_epochs, cfg.train_dataloader.batch_size) == (50, 12)
    assert compose(entry('plop'), 'shapes8_5-1').log_level == 'ERROR'
    assert compose(entry('plop'), model='segformer_mit-b2').optim_wrapper.optimizer.type == 'AdamW'
    sizes = [compose(entry(method), scenario).train_dataloader.batch_size
             for method in ('ssul', 'sats', 'mib') for scenario in ('voc_10-1', 'ade_100-50')]
    assert sizes == [16, 12, 12, 16, 12, 12]


def test_own_settings_are_merged_last(own):
    path = own(f'{parts_text()}train_cfg = dict(max_epochs=7)\nmodel = dict(data_preprocessor=dict(size=(96, 96)))\n')
    cfg = compose(path, 'ade_100-50', 'segformer_mit-b2')
    assert (cfg.train_cfg.max_epochs, cfg.model.data_preprocessor['size']) == (7, (96, 96))
    assert (cfg.scenario.base, cfg.model.backbone.type) == (100, 'MixVisionTransformer')
    assert cfg.optim_wrapper.optimizer.type == 'AdamW' and cfg.official.continual.losses.local_pod.loss_weight == .001


def test_own_settings_may_use_what_is_below(own):
    path = own(f'{parts_text()}pipeline = _base_.train_pipeline\nroot = {{{{_base_.data_root}}}}\n'
               'continual = dict(_delete_=True, losses=dict(x=None))\n')
    cfg = compose(path, 'ade_100-50')
    assert cfg.pipeline == cfg.train_pipeline and cfg.root == cfg.data_root == 'data/ade/ADEChallengeData2016'
    assert cfg.continual == dict(losses=dict(x=None))


def test_files_that_inherit_from_an_experiment_keep_what_they_say(own):
    own('custom = 1\n', 'other')
    path = own(f"_base_ = '{entry('ssul')}'\nrandomness = dict(seed=3)\n", 'seed')
    path = own(f"_base_ = ['./{path.name}', './other.py']\ntrain_cfg = dict(max_epochs=9)\n")
    cfg = compose(path, 'ade_100-50')
    assert (cfg.randomness.seed, cfg.custom, cfg.train_cfg.max_epochs, cfg.train_dataloader.batch_size) == (3, 1, 9, 12)
    assert compose(entry('joint'), 'voc_10-1').scenario.joint


def test_parts_that_were_chosen_stay(own):
    cfg = compose(own(parts_text(schedule='voc_adamw', runtime='quiet_runtime')), 'ade_100-50')
    assert (cfg.train_cfg.max_epochs, cfg.optim_wrapper.optimizer.type, cfg.log_level) == (30, 'AdamW', 'ERROR')
    path = own(parts_text('plop_domain', 'cityscapes_domains', scenario='cityscapes_domains_11-5'))
    assert content(compose(path, 'voc_10-1')) == content(compose(entry('plop'), 'voc_10-1'))


def test_a_scenario_and_a_model_of_ones_own(own, tmp_path):
    scenario = own(f"_base_ = '{PARTS}/datasets/voc2012.py'\nscenario = dict(type='ClassIncremental', base=7, increment=13)\n",
                   'sevens')
    model = own(f"_base_ = '{PARTS}/models/deeplabv3_r101.py'\nmodel = dict(backbone=dict(depth=50))\n", 'r50')
    cfg = compose(entry('plop'), str(scenario), str(model))
    assert (cfg.scenario.base, cfg.model.backbone.depth, cfg.train_cfg.max_epochs) == (7, 50, 30)
    assert Path(cfg.filename).name == 'r50_sevens.py'


@pytest.mark.parametrize('path, options, name', [
    ('plop/deeplabv3_r101_voc_15-1', dict(scenario='voc_10-1', model='segformer_mit-b2'), 'segformer_mit-b2_voc_10-1'),
    ('plop/deeplabv3_r101_voc_15-1', dict(scenario='voc_15-1'), 'deeplabv3_r101_voc_15-1'),
    ('plop/deeplabv3_r101_voc_15-1', dict(profile='official'), 'deeplabv3_r101_voc_15-1_official'),
    ('ssul/deeplabv3_r101_voc_15-1_official', dict(scenario='voc_10-1'), 'deeplabv3_r101_voc_10-1_official'),
    ('ssul/deeplabv3_r101_voc_15-1_official', dict(profile='paper'), 'deeplabv3_r101_voc_15-1'),
    ('joint/deeplabv3_r101_voc_15-1', dict(scenario='voc_5-3'), 'deeplabv3_r101_voc_5-3')])
def test_experiments_are_called_by_what_is_in_them(path, options, name):
    cfg = compose(CONFIGS / f'{path}.py', **options)
    assert read_settings(cfg).run_name == Path(path).with_name(name)
    assert read_settings(cfg).work_dir == Path('work_dirs', path).with_name(name)
    assert step_config(cfg, build_scenario(cfg), 0).experiment_name == f'{Path(path).parent}_{name}_step_0'


def test_a_name_of_ones_own(own):
    cfg = compose(own(parts_text(), 'mine'), 'voc_10-1', 'segformer_mit-b2', 'official')
    assert read_settings(cfg).run_name == Path('own', 'mine_segformer_mit-b2_voc_10-1_official')
    assert cfg.profile == 'official'


@pytest.mark.parametrize('options, message', [
    (dict(scenario='voc_15-2'), r"--scenario: got 'voc_15-2', which is not in .*scenarios, did you mean 'voc_15-5'\?; valid are ade"),
    (dict(model='segformer_b2'), r"--model: got 'segformer_b2', which is not in .*models, did you mean 'segformer_mit-b2'"),
    (dict(scenario='nowhere/mine.py'), r'--scenario: got nowhere/mine.py, which is no file'),
    (dict(profile='offical'), "profile: got 'offical', valid are paper, official"),
    (dict(model='deeplabv3_r18_scratch'), 'sats on voc_15-1 with deeplabv3_r18_scratch: SATS transfers the attention'),
    (dict(scenario='camvid11_domains'), 'sats on camvid11_domains with segformer_mit-b2: steps of domains bring no')])
def test_what_can_not_be_composed(options, message):
    with pytest.raises(ValueError, match=message):
        compose(entry('sats'), **options)


def test_a_config_that_does_not_list_what_is_exchanged(own):
    path = own("scenario = dict(steps='15-1')\n")
    with pytest.raises(ValueError, match='mine.py: _base_ lists no file of models and of scenarios to replace'):
        compose(path, 'voc_10-1', 'deeplabv3_r101')
    path = own(parts_text().replace('scenarios/voc_15-1', 'datasets/voc2012'))
    with pytest.raises(ValueError, match='mine.py: _base_ lists no file of scenarios to replace'):
        compose(path, 'voc_10-1')


def test_another_model_for_data_of_ones_own(own):
    """No row knows the scenario: schedule and runtime stay."""
    parts = parts_text(schedule='small', runtime='quiet_runtime').replace('scenarios/voc_15-1', 'datasets/small_folder')
    own(f"{parts}scenario = dict(steps='2-1')\ntrain_dataloader = dict(batch_size=3)\n", 'harbour')
    cfg = compose(own("_base_ = './harbour.py'\nlog_level = 'INFO'\n"), model='segformer_mit-b0_scratch')
    assert (cfg.model.backbone.type, cfg.scenario.steps, cfg.train_dataloader.batch_size) == ('MixVisionTransformer', '2-1', 3)
    assert (cfg.optim_wrapper.optimizer.lr, cfg.log_level, cfg.custom_hooks) == (1e-3, 'INFO', [dict(type='ProgressHook')])


def test_a_saved_experiment_trains_the_same(tmp_path):
    for method, scenario, profile in (('ssul', 'cityscapes_14-1', 'official'), ('plop', 'shapes8_5-1', None)):
        cfg = experiment(method, scenario, profile)
        cfg.dump(tmp_path / 'saved.py')
        saved = Config.fromfile(tmp_path / 'saved.py')
        assert saved.pretty_text == cfg.pretty_text
        assert saved._cfg_dict == cfg._cfg_dict
