"""The config of a step, without running it."""
import copy
from pathlib import Path

import pytest
from mmengine.config import Config

from mmcss.engine import build_scenario, deploy_config, step_config
from mmcss.engine.settings import check_settings
from tests.tiny import CLASSES, MIB, tiny_config

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'


def configs(tmp_path, world_size=1, **changes):
    cfg = tiny_config(tmp_path / 'data', tmp_path / 'work', **changes)
    scenario = build_scenario(cfg)
    return cfg, [step_config(cfg, scenario, step, 'work', world_size) for step in range(len(scenario))]


def test_it_is_pure(tmp_path):
    cfg, first = configs(tmp_path)
    before = copy.deepcopy(cfg._cfg_dict.to_dict())
    scenario = build_scenario(cfg)
    again = [step_config(cfg, scenario, step, 'work') for step in range(3)]
    assert cfg._cfg_dict.to_dict() == before
    assert [config.pretty_text for config in again] == [config.pretty_text for config in first]


def test_own_keys_are_gone_and_names_are_unique(tmp_path):
    _, steps = configs(tmp_path)
    for step, config in enumerate(steps):
        assert not set(config) & {'scenario', 'continual', 'protocol', 'first_step', 'next_steps', 'runner_type'}
        assert config.work_dir == f'work/step_{step}'
        assert config.experiment_name == config.visualizer.name == f'run_step_{step}'
        assert (config.load_from, config.resume) == (None, False)


def test_overrides_of_first_and_next_steps(tmp_path):
    _, steps = configs(tmp_path, first_step=dict(train_cfg=dict(max_epochs=7)))
    assert [config.train_cfg.max_epochs for config in steps] == [7, 3, 3]
    assert [config.optim_wrapper.optimizer.lr for config in steps] == [0.05, 0.01, 0.01]


def test_the_model_of_each_step(tmp_path):
    _, steps = configs(tmp_path)
    assert [config.model.type for config in steps] == ['ContinualEncoderDecoder'] * 3
    assert [config.model.decode_head.num_classes for config in steps] == [3, 4, 5]
    assert [config.model.continual.previous for config in steps] == [
        None, 'work/step_0/step_0.pth', 'work/step_1/step_1.pth']
    assert steps[0].model.continual.teacher is None
    teacher = steps[2].model.continual.teacher
    assert (teacher.type, teacher.decode_head.num_classes, teacher.auxiliary_head) == ('EncoderDecoder', 4, None)
    assert all(config.model.decode_head.loss_decode.avg_non_ignore for config in steps)


def test_fine_tuning_has_no_teacher(tmp_path):
    _, steps = configs(tmp_path, continual={})
    assert all(config.model.continual.teacher is None for config in steps)
    assert steps[1].model.continual.previous is not None


def test_a_method_s_loss_takes_the_place_of_cross_entropy(tmp_path):
    _, steps = configs(tmp_path, continual=MIB)
    assert [config.model.decode_head.loss_decode.type for config in steps] == [
        'CrossEntropyLoss', 'UnbiasedCrossEntropyLoss', 'UnbiasedCrossEntropyLoss']
    assert [config.model.decode_head.loss_decode.get('num_old') for config in steps] == [None, 3, 4]


def test_pretrained_weights_are_fetched_at_step_0_only(tmp_path):
    cfg = tiny_config(tmp_path, tmp_path)
    model = dict(cfg.model, pretrained='open-mmlab://resnet18_v1c')
    _, steps = configs(tmp_path, model=model)
    assert [config.model.pretrained for config in steps] == ['open-mmlab://resnet18_v1c', None, None]
    assert steps[1].model.continual.teacher.pretrained is None


def test_the_data_of_each_step(tmp_path):
    _, steps = configs(tmp_path, world_size=2, protocol=dict(future='ignore'))
    train, test = steps[1].train_dataloader.dataset, steps[1].test_dataloader.dataset
    assert (train.type, train.dataset.type, train.min_length) == ('StepDataset', 'BaseSegDataset', 8)
    assert train.view.to_dict() == dict(role='train', regime='overlapped')
    assert test.view.to_dict() == dict(role='test', future='ignore', background=True, images='seen', absent='stock')
    assert train.split.old + train.split.new == list(CLASSES[:4])
    assert steps[1].test_dataloader.sampler.round_up is False
    assert steps[1].train_dataloader.persistent_workers is False


def test_a_stock_evaluator_gets_company(tmp_path):
    _, steps = configs(tmp_path, test_evaluator=dict(type='IoUMetric', iou_metrics=['mIoU']))
    assert [metric.type for metric in steps[0].test_evaluator] == ['IoUMetric', 'ContinualIoUMetric']


def test_the_test_data_of_a_config_with_validation_only(tmp_path):
    cfg = tiny_config(tmp_path, tmp_path)
    loader = cfg.test_dataloader
    _, steps = configs(tmp_path, val_dataloader=loader, test_dataloader=None, val_cfg=dict(type='ValLoop'),
                       val_evaluator=dict(type='IoUMetric'), test_evaluator=None)
    assert steps[0].val_dataloader.dataset.type == steps[0].test_dataloader.dataset.type == 'StepDataset'
    assert steps[0].test_evaluator[0].type == 'ContinualIoUMetric'


def test_deploy_config_is_stock(tmp_path):
    cfg = tiny_config(tmp_path, tmp_path)
    deploy = deploy_config(cfg, build_scenario(cfg), 1)
    assert deploy.model.type == 'EncoderDecoder'
    assert deploy.model.decode_head.num_classes == 4
    assert 'mmcss' not in deploy.pretty_text and 'Continual' not in deploy.pretty_text
    assert [transform.type for transform in deploy.test_pipeline] == ['LoadImageFromFile', 'PackSegInputs']


@pytest.mark.parametrize('change, message', [
    (dict(continual=dict(loses={})), r"continual: unknown keys \['loses'\], valid are targets, losses"),
    (dict(protocol=dict(future='x')), "protocol.future: got 'x'"),
    (dict(protocol=dict(futre='ignore')), "protocol: got {'futre': 'ignore'}, expected one of default, plop.* future, background"),
    (dict(protocol='plopp'), "protocol: got 'plopp', expected one of default, plop"),
    (dict(scenario={}), r"the config lacks \['scenario'\]"),
])
def test_bad_settings(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        check_settings(tiny_config(tmp_path, tmp_path, **change))


@pytest.mark.parametrize('scenario, message', [
    (dict(type='Other'), "scenario.type: got 'Other', valid are ClassIncremental"),
    (dict(base=2, incremnt=1), 'valid keys are type, base, increment'),
    (dict(base=9), 'has 4 foreground classes'),
])
def test_bad_scenarios(tmp_path, scenario, message):
    with pytest.raises(ValueError, match=message):
        build_scenario(tiny_config(tmp_path, tmp_path, scenario=scenario))


def test_unknown_class_names(tmp_path):
    cfg = tiny_config(tmp_path, tmp_path)
    del cfg.train_dataloader.dataset['metainfo']
    with pytest.raises(ValueError, match='class names of BaseSegDataset are not known'):
        build_scenario(cfg)


def test_stock_ade20k_keeps_its_background(tmp_path):
    cfg = tiny_config(tmp_path, tmp_path, scenario=dict(steps='100-50'))
    cfg.train_dataloader.dataset = dict(type='ADE20KDataset', data_root='data', pipeline=[])
    scenario = build_scenario(cfg)
    assert scenario[0].seen[:2] == ('background', 'wall')
    assert scenario[1].num_seen == 151


def test_the_deploy_config_of_mmcss_s_own_network():
    """It imports mmcss, and segments all of an image."""
    cfg = Config.fromfile(CONFIGS / 'plop' / 'deeplabv3_r101_voc_15-1_official.py')
    deploy = deploy_config(cfg, build_scenario(cfg), 1)
    assert deploy.custom_imports.imports == ['mmcss']
    assert [step.type for step in deploy.test_pipeline] == ['LoadImageFromFile', 'ResizeShortestEdge', 'PackSegInputs']
    assert (deploy.model.decode_head.num_classes, deploy.model.backbone.init_cfg) == (17, None)


@pytest.mark.parametrize('file', sorted(CONFIGS.glob('[!_]*/*.py')), ids=lambda file: f'{file.parent.name}/{file.stem}')
def test_every_config_that_ships_makes_its_steps(file):
    cfg = Config.fromfile(str(file))
    check_settings(cfg)
    scenario = build_scenario(cfg)
    steps = [step_config(cfg, scenario, step, 'work') for step in range(len(scenario))]
    assert steps[-1].model.decode_head.num_classes == scenario[len(scenario) - 1].num_seen
    assert len(file.read_text().splitlines()) <= 10
