"""What fails in the stack is told with its key, what was got and what is valid."""
import pytest
from mmengine.config import Config
from mmseg.registry import MODELS, OPTIM_WRAPPERS

from mmcss.engine import build_scenario, step_config
from mmcss.engine.components import being_built, check_components, check_weights, expectation, under_key
from mmcss.files import plain
from tests.tiny import tiny_config


@pytest.fixture
def settings(tmp_path):
    """The plain config of step 0."""
    cfg = tiny_config(tmp_path, tmp_path)
    return plain(step_config(cfg, build_scenario(cfg), 0)._cfg_dict)


def message(settings):
    with pytest.raises(ValueError) as error:
        check_components([Config(settings)])
    return str(error.value)


def test_what_a_valid_config_names_is_there(settings):
    check_components([Config(settings)])


@pytest.mark.parametrize('key, change, expected', [
    ('optim_wrapper', dict(type='OptimWraper'), "step 0: optim_wrapper.type: got 'OptimWraper', which is not in the registry of "
     "this kind (optim_wrapper), did you mean 'OptimWrapper'?; valid are OptimWrapper, "),
    ('default_hooks', dict(logger=dict(type='LoggerHook', intervall=1)), 'step 0: default_hooks.logger.intervall: there is no '
     "such setting, did you mean 'interval'?; valid are interval, "),
    ('model', dict(auxiliary_heads={}), "step 0: model.auxiliary_heads: there is no such setting, did you mean 'auxiliary_head'?"),
    ('env_cfg', dict(mp_cfg=dict(mp_start_methods='fork')), 'step 0: env_cfg.mp_cfg.mp_start_methods: there is no such setting, '
     "did you mean 'mp_start_method'?"),
    ('train_dataloader', dict(sampler=dict(type='DefaultSample')), "step 0: train_dataloader.sampler.type: got 'DefaultSample'"),
    ('train_dataloader', dict(sampler=dict(type='DefaultSampler', shufle=True)), 'step 0: train_dataloader.sampler.shufle: '
     "there is no such setting, did you mean 'shuffle'?; valid are dataset, shuffle, seed, round_up, of DefaultSampler."),
])
def test_names(settings, key, change, expected):
    settings[key] = dict(settings[key], **change)
    assert message(settings).startswith(expected)


@pytest.mark.parametrize('change, expected', [
    (dict(data_roots='x'), "train_dataloader.dataset.data_roots: there is no such setting, did you mean 'data_root'?"),
    (dict(type='BaseSegDatasets'), "train_dataloader.dataset.type: got 'BaseSegDatasets'"),
    (dict(pipeline=[dict(type='LoadImageFromFile', to_float=3)]), 'train_dataloader.dataset.pipeline[0].to_float: there is no'),
])
def test_names_of_data_sets(settings, change, expected):
    settings['train_dataloader']['dataset']['dataset'].update(change)
    assert message(settings).startswith(f'step 0: {expected}')


def test_the_innermost_component_is_told_and_what_it_takes(settings):
    settings['model']['decode_head']['channels'] = 'x'
    with pytest.raises(ValueError) as error:
        with under_key('model', settings['model'], settings):
            MODELS.build(settings['model'])
    told = str(error.value)
    assert told.startswith("model.decode_head: got {'type': 'FCNHead', 'in_channels': 64, ") and 'cannot be built: TypeError' in told
    assert '; expected as in FCNHead(num_convs=2, kernel_size=3, ' in told


def test_what_is_no_component_keeps_its_place(settings):
    assert being_built(ValueError(), 'model', {}) == ('model', {})


def test_wrong_kinds_are_found_by_annotations(settings):
    settings['optim_wrapper']['optimizer']['momentum'] = 'x'
    assert expectation(settings, 'optim_wrapper') == "; optim_wrapper.optimizer.momentum: got 'x', expected a number."
    settings['optim_wrapper'] = dict(optimizer=dict(type='Adam', betas=[0.9, 0.999]))  # a list is as good as a tuple
    assert expectation(settings, 'optim_wrapper.optimizer').startswith('; expected as in Adam(')
    assert OPTIM_WRAPPERS.get('OptimWrapper').__name__ in expectation(dict(settings), 'optim_wrapper')


def test_where_nothing_is_known_nothing_is_said(settings):
    assert expectation(settings, 'randomness') == '.'


@pytest.mark.parametrize('change, place', [
    (dict(model=dict(backbone=dict(init_cfg=dict(type='Pretrained', checkpoint='gone.pth')))),
     'model.backbone.init_cfg.checkpoint'),
    (dict(model=dict(backbone=dict(init_cfg=[dict(type='Kaiming', layer='Conv2d'),
                                             dict(type='Pretrained', checkpoint='gone.pth')]))),
     r'model.backbone.init_cfg\[1\].checkpoint'),
    (dict(model=dict(pretrained='gone.pth')), 'model.pretrained'),
    (dict(load_from='gone.pth'), 'load_from'),
])
def test_missing_weights(settings, change, place):
    cfg = Config(settings)
    cfg.merge_from_dict(change)
    with pytest.raises(FileNotFoundError, match=rf"^step 0: {place}: got 'gone\.pth', but there is no such file in "):
        check_weights(cfg, 0)


def test_weights_that_are_there_or_fetched(settings, tmp_path):
    (tmp_path / 'there.pth').touch()
    cfg = Config(settings)
    cfg.merge_from_dict(dict(load_from=str(tmp_path / 'there.pth'), model=dict(
        pretrained=None, backbone=dict(init_cfg=dict(type='Pretrained', checkpoint='mmcls://mobilenet_v2')))))
    check_weights(cfg, 0)
