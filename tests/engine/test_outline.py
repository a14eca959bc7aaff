"""Keys that are missing, unknown or of another kind are found by their names."""
from __future__ import annotations

import pytest

from mmcss.engine.outline import check_outline
from mmcss.engine.settings import read_settings
from tests.tiny import PLOP, tiny_config


def changed(tmp_path, path, value):
    """A tiny config with one value at a path."""
    cfg = tiny_config(tmp_path, tmp_path)
    node, *keys = cfg._cfg_dict, *path.split('.')
    for key in keys[:-1]:
        if key not in node:
            node[key] = {}
        node = node[key]
    node[keys[-1]] = value
    return cfg


@pytest.mark.parametrize('path, value, message', [
    ('model', 1, 'model: got 1, expected a dict.'),
    ('model.decode_head', 0, 'model.decode_head: got 0, expected a dict, or a list.'),
    ('train_cfg', True, 'train_cfg: got True, expected a dict.'),
    ('default_hooks', dict(checkpoint=-1), 'default_hooks.checkpoint: got -1, expected a dict'),
    ('randomness', {}, 'randomness: got {}, which lacks seed.'),
    ('randomness', dict(seed='x'), "randomness.seed: got 'x', expected an integer"),
    ('train_dataloader.dataset', [], 'train_dataloader.dataset: got [], expected a dict.'),
    ('train_dataloader.dataset.type', 1.5, 'train_dataloader.dataset.type: got 1.5, expected the name of a registered class.'),
    ('train_dataloader.dataset.metainfo', 'x', "train_dataloader.dataset.metainfo: got 'x', expected a dict."),
    ('train_dataloader.batch_size', 0, 'train_dataloader.batch_size: got 0, expected a number greater than or equal to 1.'),
    ('train_dataloader.batch_size', 10**9, 'train_dataloader.batch_size: got 1000000000, expected a number less than or equal to'),
    ('train_dataloader.num_workers', '2', "train_dataloader.num_workers: got '2', expected an integer."),
    ('test_dataloader.persistent_workers', 'no', "test_dataloader.persistent_workers: got 'no', expected True or False."),
    ('custom_hooks', ['EMAHook'], "custom_hooks[0]: got 'EMAHook', expected a dict."),
    ('param_scheduler', 3, 'param_scheduler: got 3, expected a dict, or a list.'),
    ('next_steps.optim_wrapper', None, 'next_steps.optim_wrapper: got None, expected a dict.'),
    ('next_steps.train_dataloader', True, 'next_steps.train_dataloader: got True, expected a dict.'),
    ('continual.classifier', 3, 'continual.classifier: got 3, expected'),
    ('resume', 'yes', "resume: got 'yes', expected True or False"),
    ('train_dataloader.batch_size', 10**9, 'train_dataloader.batch_size: got 1000000000, expected a number less than or equal'),
    ('log_level', 'x', "log_level: got 'x', expected"),
    ('param_scheduler', {}, 'param_scheduler: got {}, expected'),
    ('randomness', {}, 'randomness: got {}, which lacks seed.'),
    ('model.decode_head.loss_decode', {}, 'model.decode_head.loss_decode: got {}, expected'),
    ('custom_imports', dict(imports=['mmcss'], profile='official'),
     'custom_imports.profile: there is no such setting; valid are imports, allow_failed_imports.'),
    ('randomness', dict(deterministic=True), "randomness: got {'deterministic': True}, which lacks seed."),
    ('train_cfg.val_interval', None, 'train_cfg.val_interval: got None, expected an integer.'),
    ('optim_wrapper.optimizer.momentum', float('nan'), 'optim_wrapper.optimizer.momentum: got nan, expected a number.'),
    ('train_dataloader.dataset.metainfo.weight', float('nan'), 'train_dataloader.dataset.metainfo.weight: got nan, expected'),
    ('optim_wrapper.optimizer', 1.5, 'optim_wrapper.optimizer: got 1.5, expected a dict.'),
    ('continual.losses', [], 'continual.losses: got [], expected a dict.'),
    ('model.decode_head.loss_decode', -1, 'model.decode_head.loss_decode: got -1, expected a dict, or a list.'),
    ('model.test_cfg', 'x', "model.test_cfg: got 'x', expected a dict."),
    ('train_dataloader.dataset.metainfo.palette', [[0, 0, 'x']], "train_dataloader.dataset.metainfo.palette[0][2]: got 'x', exp"),
    ('env_cfg.mp_cfg.mp_start_method', 'x', "env_cfg.mp_cfg.mp_start_method: got 'x', expected 'fork' or 'spawn'"),
    ('optim_wrapper.optimizer.type', '', "optim_wrapper.optimizer.type: got '', expected the name of a registered class."),
])
def test_other_kinds(tmp_path, path, value, message):
    with pytest.raises(ValueError) as error:
        read_settings(changed(tmp_path, path, value))
    assert message in str(error.value)


@pytest.mark.parametrize('path, value, message', [
    ('continuals', dict(losses={}), "continuals: there is no such setting, did you mean 'continual'?"),
    ('next_step', dict(), "next_step: there is no such setting, did you mean 'next_steps'?"),
    ('trian_dataloader', dict(), "trian_dataloader: there is no such setting, did you mean 'train_dataloader'?"),
    ('optim_wraper', dict(), "optim_wraper: there is no such setting, did you mean 'optim_wrapper'?"),
    ('default_hooks.chekpoint', dict(type='CheckpointHook'),
     "default_hooks.chekpoint: there is no such setting, did you mean 'checkpoint'?"),
    ('first_step.train_cfgs', dict(), "first_step.train_cfgs: there is no such setting, did you mean 'train_cfg'?"),
    ('next_steps.scenario', dict(), "next_steps: got ['scenario'], which are the same at all steps; set them outside of next_steps."),
    ('official.continuall', dict(), "official.continuall: there is no such setting, did you mean 'continual'?"),
])
def test_slips(tmp_path, path, value, message):
    """Also beside the key that is meant: what the config inherits."""
    with pytest.raises(ValueError) as error:
        read_settings(changed(tmp_path, path, value))
    assert message in str(error.value)


@pytest.mark.parametrize('path, value', [
    ('crop_size', (512, 512)), ('train_pipeline', []), ('test_pipeline', []), ('norm_cfg', dict(type='BN')), ('models', {}),
    ('default_hooks.visualization', dict(type='SegVisualizationHook')), ('model_list', ['a']), ('next_steps.crop_size', 3),
    ('custom_imports', None), ('param_scheduler', []), ('param_scheduler', None), ('val_dataloader', None),
])
def test_variables_and_stock_keys_are_left_alone(tmp_path, path, value):
    cfg = changed(tmp_path, path, value)
    if path.startswith('next_steps'):
        cfg.crop_size = 2
    check_outline(cfg)


def test_what_is_missing(tmp_path):
    for key in ('model', 'scenario', 'train_dataloader', 'optim_wrapper', 'train_cfg', 'model.decode_head',
                'model.type', 'optim_wrapper.optimizer',
                'test_dataloader.dataset'):
        cfg = tiny_config(tmp_path, tmp_path)
        *above, name = key.split('.')
        (cfg._cfg_dict[above[0]] if above else cfg._cfg_dict).pop(name)
        with pytest.raises(ValueError, match=rf"the config lacks \['{key}'\]; see the files below configs/_base_"):
            check_outline(cfg)


@pytest.mark.parametrize('role, shuffle', [('train', True), ('val', False), ('test', False)])
def test_a_loader_without_sampler(tmp_path, role, shuffle):
    cfg = tiny_config(tmp_path, tmp_path)
    cfg.val_dataloader = cfg.test_dataloader
    cfg[f'{role}_dataloader'] = {key: value for key, value in cfg[f'{role}_dataloader'].items() if key != 'sampler'}
    with pytest.raises(ValueError) as error:
        check_outline(cfg)
    assert str(error.value) == (f"{role}_dataloader: got no sampler; set {role}_dataloader.sampler=dict(type='DefaultSampler', "
                                f'shuffle={shuffle}).')


@pytest.mark.parametrize('changes, words', [
    (dict(rnu={}), "rnu: there is no such setting, did you mean 'run'\\?"),
    (dict(un=dict(steps='0')), "un: .*did you mean 'run'\\?"),
    (dict(proifle='official'), "proifle: .*did you mean 'profile'\\?"),
    (dict(param_schedulers=[]), "param_schedulers: .*did you mean 'param_scheduler'\\?"),
    (dict(losses={}), 'losses: there is no such setting, did you mean continual.losses\\? A variable of your own needs'),
    (dict(new_rows='unknown'), 'new_rows: .*did you mean continual.new_rows'),
    (dict(steps='0-1'), 'steps: .*did you mean run.steps'),
    (dict(steps='0', scenario=dict(steps='2-1')), 'steps: .*did you mean run.steps'),
    (dict(future='ignore'), 'future: .*did you mean protocol.future'),
    (dict(classifier='NearestMean'), 'classifier: .*did you mean continual.classifier'),
    (dict(test_share=0.5), 'test_share: .*did you mean scenario.test_share'),
    (dict(regime='disjoint'), 'regime: .*did you mean scenario.regime'),
    (dict(env_cfg=dict(continual=PLOP)), 'env_cfg.continual: there is no such setting; continual belongs to the top'),
    (dict(visualizer=dict(official={})), 'visualizer.official: .*belongs to the top'),
])
def test_short_slips_and_settings_in_another_place(tmp_path, changes, words):
    with pytest.raises(ValueError, match=words):
        check_outline(tiny_config(tmp_path, tmp_path, **dict(dict(continual=dict(targets=None)), **changes)))


@pytest.mark.parametrize('variables', [
    dict(runs=3, resumes='never', background='sky', seed=0, classes=['a'], optimizer=dict(type='SGD'), images='all_of_them'),
    dict(losses=PLOP['losses'], targets=PLOP['targets']),  # used by continual
    dict(base=2, increment=1),  # used by scenario
    dict(steps=[['red'], ['green', 'blue', 'white']], scenario=dict(steps=[['red', 'green'], ['blue', 'white']])),
])
def test_variables_of_one_s_own(tmp_path, variables):
    assert read_settings(tiny_config(tmp_path, tmp_path, **variables)).method(1).losses == PLOP['losses']
