import errno
import gc
import logging
import os
import random
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from mmcv.transforms import BaseTransform
from mmengine.hooks import Hook
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import HOOKS, LOOPS, OPTIM_WRAPPERS, DefaultScope
from mmengine.runner import EpochBasedTrainLoop
from mmseg.datasets.transforms import PackSegInputs
from mmseg.models.backbones import ResNetV1c
from mmseg.registry import MODELS, TRANSFORMS

from mmcss.engine import ContinualRunner, build_scenario, step_config
from mmcss.engine.checks import Batches
from mmcss.engine.components import check_components
from mmcss.engine.miniature import norms_see_others
from mmcss.engine.plan import StepPlan
from mmcss.engine.rehearsal import rehearse, rehearse_plans
from mmcss.engine.settings import read_settings
from mmcss.random_state import random_state
from tests.e2e.running import assert_equal_states, state
from tests.processes import spawn
from tests.tiny import MIB, PLOP, REMINDER_M, SSUL_M, tiny_config

NOWHERE = Path('no/data/here')


def tiny(**changes):
    return tiny_config(NOWHERE, NOWHERE / 'work', **changes)


def rehearsed(**changes):
    cfg = tiny(**changes)
    return rehearse(cfg, build_scenario(cfg))


def message(cfg, **options):
    """Of what is looked at before a run, but for its data."""
    with pytest.raises(ValueError) as caught:
        scenario = build_scenario(cfg)
        check_components([step_config(cfg, scenario, step) for step in range(len(scenario))])
        rehearse(cfg, scenario, **options)
    return str(caught.value)


@HOOKS.register_module(force=True)
class LooksAhead(Hook):
    """Asks how long the training will be."""

    def before_train_epoch(self, runner):
        assert runner.max_epochs == 3 and runner.max_iters == 3 * len(runner.train_dataloader)


@LOOPS.register_module(force=True)
class CountsBatches(EpochBasedTrainLoop):
    """Takes as many batches as the loader says that it has."""

    def run_epoch(self):
        self.runner.call_hook('before_train_epoch')
        batches = iter(self.dataloader)
        for i in range(len(self.dataloader)):
            self.run_iter(i, next(batches))
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1


@TRANSFORMS.register_module(force=True)
class AddsHeight(BaseTransform):
    def transform(self, results):
        return dict(results, height=len(results['img']))


@TRANSFORMS.register_module(force=True)
class PacksHeight(PackSegInputs):
    def transform(self, results):
        packed = super().transform(results)
        packed['data_samples'].set_metainfo(dict(height=results['height']))
        return packed


OWN_KEYS = tiny().train_dataloader
OWN_KEYS.dataset.pipeline[2:] = [dict(type='AddsHeight'), dict(type='PacksHeight')]
VALIDATED = dict(
    val_cfg=dict(type='ValLoop'), val_evaluator=dict(type='IoUMetric'), val_dataloader=tiny().test_dataloader,
    default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=1, save_best='mIoU')), run=dict(hand_over='best'))
ITERATIONS = dict(
    train_cfg=dict(type='IterBasedTrainLoop', max_iters=20), param_scheduler=[dict(type='PolyLR', by_epoch=False)],
    default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=10, by_epoch=False)),
    train_dataloader=dict(tiny().train_dataloader, sampler=dict(type='InfiniteSampler')))
ONLINE = dict(
    continual=dict(PLOP, memory=dict(size=4), online=dict(type='InterferedReplay', images=1)),
    next_steps=dict(train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=1)))


@pytest.mark.parametrize('changes', [
    {}, dict(continual=MIB), dict(continual=SSUL_M), dict(continual=REMINDER_M), ONLINE, ITERATIONS, VALIDATED,
    dict(continual=dict(SSUL_M, unknown=dict(of='saliency'), memory=dict(size=4, export=True))),
    dict(continual={}, scenario=dict(type='DomainIncremental', domains=['day', 'night', ['rain', 'snow']], rule=dict(prefix=3))),
    dict(continual={}, scenario=dict(type='ClassIncremental', base=2, increment=1, joint=True)),
    dict(custom_hooks=[dict(type='EMAHook', begin_epoch=2), dict(type='LooksAhead')]),
    dict(train_dataloader=OWN_KEYS), dict(train_cfg=dict(type='CountsBatches', max_epochs=3)),
    dict(ITERATIONS, custom_hooks=[dict(type='EMAHook', begin_iter=5), dict(type='ProfilerHook', by_epoch=False, profile_times=2)]),
], ids=['plop', 'mib', 'ssul', 'herding', 'online', 'iterations', 'best', 'saliency', 'domains', 'joint', 'late average',
        'own keys', 'own loop', 'late iterations'])
def test_what_trains_passes_without_its_data(changes):
    assert rehearsed(**changes) == []
    assert not NOWHERE.exists()


FAULTS = {
    'misspelt metric': (
        dict(test_evaluator=[dict(type='IoUMetric', iou_metrics=['mIOU'])]),
        "step 0: test_evaluator[0]: got {'type': 'IoUMetric', 'iou_metrics': ['mIOU']}, which fails on random images (in "
        'compute_metrics): KeyError: "metrics [\'mIOU\'] is not supported"'),
    'setting of an optimizer': (
        dict(optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lrr=0.1))),
        "step 0: optim_wrapper.optimizer.lrr: there is no such setting, did you mean 'lr'?; valid are lr, momentum, "),
    'optimizer': (
        dict(optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGDD', lr=0.1))),
        "step 0: optim_wrapper.optimizer.type: got 'SGDD', which is not in the registry of this kind (optimizer), did you "
        "mean 'SGD'?"),
    'value of an optimizer': (
        dict(optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr='fast'))),
        "step 0: optim_wrapper: got {'type': 'OptimWrapper', 'optimizer': {'type': 'SGD', 'lr': 'fast'}}, which fails on "
        'random images (in build_optim_wrapper): TypeError: '),
    'no number': (dict(optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=float('nan')))),
                  'optim_wrapper.optimizer.lr: got nan, expected a number.'),
    'no sampler': (
        dict(test_dataloader={key: value for key, value in tiny().test_dataloader.items() if key != 'sampler'}),
        "test_dataloader: got no sampler; set test_dataloader.sampler=dict(type='DefaultSampler', shuffle=False)."),
    'loop': (
        dict(train_cfg=dict(type='NoLoop', max_iters=3)),
        "step 0: train_cfg.type: got 'NoLoop', which is not in the registry of this kind (loop)"),
    'length': (
        dict(train_cfg=dict(type='IterBasedTrainLoop')),
        "step 0: train_cfg: got {'type': 'IterBasedTrainLoop'}, which fails on random images (in build_train_loop): TypeError: "),
    'half a validation': (
        dict(val_cfg=dict(type='ValLoop')), 'step 0: the config: val_dataloader, val_cfg, and val_evaluator should be either'),
    'later step': (
        dict(next_steps=dict(optim_wrapper=dict(optimizer=dict(lr=-1.)))),
        "step 1: optim_wrapper: got {'type': 'OptimWrapper', 'optimizer': {'type': 'SGD', 'lr': -1.0, 'momentum': 0.9}}, which "
        'fails on random images (in build_optim_wrapper): ValueError: '),
    'schedule': (
        dict(param_scheduler=[dict(type='PolyLR', begin=20, by_epoch=False), dict(type='PolyLR', begin=5, end=3)]),
        'step 0: param_scheduler: end should be larger than begin, but got begin=5, end=3'),
    'setting of a hook': (
        dict(default_hooks=dict(logger=dict(type='LoggerHook', intervall=1))),
        "step 0: default_hooks.logger.intervall: there is no such setting, did you mean 'interval'?; valid are interval, "),
    'hook': (
        dict(custom_hooks=[dict(type='EMAHook', momentun=1)]),
        "step 0: custom_hooks[0]: got {'type': 'EMAHook', 'momentun': 1}, which fails on random images (in before_run): "
        "TypeError: ExponentialMovingAverage.__init__() got an unexpected keyword argument 'momentun'"),
    'visualizer': (
        dict(visualizer=dict(type='SegLocalVisualizer', vis_backends=[dict(type='WandbBackend')])),
        "step 0: visualizer.vis_backends[0].type: got 'WandbBackend', which is not in the registry of this kind (vis_backend), "
        "did you mean 'WandbVisBackend'?"),
    'head': (
        dict(model=dict(tiny().model, decode_head=dict(tiny().model.decode_head, in_channels=63))),
        "step 0: model.decode_head: got {'type': 'FCNHead', 'in_channels': 63, "),
    'slide without stride': (
        dict(model=dict(tiny().model, test_cfg=dict(mode='slide', crop_size=(32, 32)))), 'step 0: model: got {'),
    'part': (
        dict(continual=dict(PLOP, losses=dict(pod=dict(type='LocalPOD', fold='nonsense')))),
        'continual.losses.pod'),
}


@pytest.mark.parametrize('name', FAULTS)
def test_faults_are_told_with_their_key(name):
    changes, expected = FAULTS[name]
    told = message(tiny(**changes))
    assert told.startswith(expected)
    if 'on random images' in told:
        assert told.endswith('skip this check with --no-rehearsal (run.rehearsal=False).')


def test_a_full_disk_is_told_as_such(monkeypatch):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr('mmcss.hooks.hand_over_hook.save_hand_over', full)
    with pytest.raises(OSError, match='no space left on the disk'):
        rehearsed()


@MODELS.register_module(force=True)
class OwnBackbone(ResNetV1c):
    """Has a setting that no signature tells."""

    def __init__(self, **kwargs):
        self.flavour = kwargs.pop('flavour')
        super().__init__(**kwargs)


def test_what_takes_any_setting_may_use_it_itself():
    backbone = dict(tiny().model.backbone, type='OwnBackbone', flavour='sweet')
    assert rehearsed(model=dict(tiny().model, backbone=backbone)) == []
    cfg = tiny(model=dict(tiny().model, backbone=backbone))
    check_components([step_config(cfg, build_scenario(cfg), 0)])
    cfg.model.backbone.stridess = (1, 1, 1, 1)
    assert message(cfg).startswith("step 0: model.backbone.stridess: there is no such setting, did you mean 'strides'?")


def test_a_sharded_optimizer_is_rehearsed_without_its_processes():
    wrapper = dict(type='OptimWrapper', optimizer=dict(type='ZeroRedundancyOptimizer', optimizer_type='SGD', lr=0.1))
    assert rehearsed(optim_wrapper=wrapper) == [
        'ZeroRedundancyOptimizer shares work between processes: its optimizer was rehearsed without it.']
    cfg = tiny(optim_wrapper=wrapper)
    check_components([step_config(cfg, build_scenario(cfg), 0)])


def test_folders_that_can_not_be_written(tmp_path):
    (tmp_path / 'file').touch()
    hook = dict(type='CheckpointHook', interval=1, out_dir=str(tmp_path / 'file' / 'below'))
    assert message(tiny(default_hooks=dict(checkpoint=hook))) == (
        f"step 0: default_hooks.checkpoint.out_dir: got '{tmp_path}/file/below', expected a writable folder; "
        f'{tmp_path}/file is none.')


@pytest.mark.parametrize('role', ['train', 'test'])
def test_loaders_and_their_transforms_are_built(role):
    def told(**changes):
        cfg = tiny()
        loader = cfg[f'{role}_dataloader']
        pipeline = [*loader.dataset.pipeline]
        pipeline[1:1] = changes.pop('transforms', [])
        loader.dataset.pipeline = pipeline
        loader.update(changes)
        return message(cfg)

    key = f'step 0: {role}_dataloader'
    assert told(num_worker=1).startswith(f"{key}.num_worker: there is no such setting, did you mean 'num_workers'?")
    assert told(prefetch_factor=2).startswith(f'{key}: got {{')
    assert told(transforms=[dict(type='RandomFlipp')]).startswith(
        f"{key}.dataset.pipeline[1].type: got 'RandomFlipp', which is not in the registry of this kind (transform), did you "
        "mean 'RandomFlip'?")
    assert told(transforms=[dict(type='RandomCrop', crop_size=(0, 0))]).startswith(
        f"{key}.dataset.pipeline[1]: got {{'type': 'RandomCrop', 'crop_size': (0, 0)}}, which fails on random images: Assertion")


def test_workers_that_live_on_need_workers():
    cfg = tiny()
    cfg.test_dataloader.persistent_workers = True
    assert message(cfg).endswith('which cannot be built: ValueError: persistent_workers option needs num_workers > 0.')


def test_schedules_have_the_length_of_the_step():
    """A warm-up longer than a step of few images, which trains 3 epochs of 2 batches."""
    cfg = tiny(param_scheduler=[dict(type='LinearLR', start_factor=0.1, end=6, by_epoch=False),
                                dict(type='PolyLR', begin=6, by_epoch=False)])
    scenario = build_scenario(cfg)
    two, three = Batches((4, ) * 2), Batches((4, ) * 3)
    assert rehearse(cfg, scenario, {0: three, 1: three, 2: three}) == []
    expected = 'param_scheduler: end should be larger than begin, but got begin=6, end=6'
    assert message(cfg, batches={0: three, 1: two}).startswith(f'step 1: {expected}')
    assert message(cfg, batches={0: three, 1: three, 2: two}).startswith(f'step 2: {expected}')


HEAD = {key: value for key, value in tiny().model.decode_head.items() if key != 'num_convs'}
ASPP = dict(HEAD, type='ASPPHead', dilations=(1, 2))
LONE = Batches((4, 4, 1))


@pytest.mark.parametrize('model, key', [
    (dict(decode_head=ASPP), 'model.decode_head'),
    (dict(decode_head=dict(HEAD, type='PSPHead', pool_scales=(1, 2))), 'model.decode_head'),
    (dict(auxiliary_head=[dict(HEAD, type='FCNHead'), ASPP]), 'model.auxiliary_head.1'),
])
def test_norms_behind_a_pooling_over_a_lone_image(model, key):
    cfg = tiny(model=dict(tiny().model, **model))
    scenario = build_scenario(cfg)
    assert rehearse(cfg, scenario, {0: Batches((4, 4))}) == []
    told = message(cfg, batches={0: LONE})
    assert told.startswith(f'step 0: {key}') and 'take train_dataloader.drop_last=True' in told


@pytest.mark.parametrize('head, method', [
    (tiny().model.decode_head, {}), (dict(ASPP, norm_cfg=dict(type='GN', num_groups=4)), {}), (ASPP, dict(frozen=['norms']))])
def test_what_trains_on_a_lone_image(head, method):
    cfg = tiny(model=dict(tiny().model, decode_head=head), continual=method)
    assert rehearse(cfg, build_scenario(cfg), {1: LONE}) == []


@pytest.mark.parametrize('gpus, processes, others', [(True, 2, True), (True, 1, False), (False, 2, False)])
def test_norms_that_see_all_processes(monkeypatch, gpus, processes, others):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: gpus)
    assert norms_see_others(tiny().model, processes) is others
    assert not norms_see_others(dict(type='BN'), processes)


def test_how_a_step_would_be_trained_that_comes_from_elsewhere_is_no_matter():
    cfg = tiny(first_step=dict(optim_wrapper=dict(optimizer=dict(type='Nothing')), param_scheduler=[dict(type='Nothing')]))
    scenario = build_scenario(cfg)
    check_components([step_config(cfg, scenario, step) for step in range(3)], taken=[0])
    assert rehearse(cfg, scenario, taken=[0]) == []
    assert 'Nothing' in message(cfg)


@pytest.mark.skipif(torch.cuda.is_available(), reason='of a machine without accelerator')
def test_mixed_precision_is_left_out_where_there_is_no_accelerator():
    wrapper = dict(type='AmpOptimWrapper', loss_scale='dynamic', optimizer=dict(type='SGD', lr=0.1))
    assert rehearsed(optim_wrapper=wrapper) == ['this machine has no accelerator: mixed precision was not rehearsed.']


@HOOKS.register_module(force=True)
class MakesLogger(Hook):
    """Has a logger of Python's own, for ever."""

    def before_run(self, runner):
        logging.getLogger('of a hook').handlers = [logging.StreamHandler()]


def test_the_process_is_left_as_it_was(capsys):
    OPTIM_WRAPPERS.get('OptimWrapper')
    logger, hub = MMLogger.get_instance('kept', logger_name='kept'), MessageHub.get_instance('kept')
    random.seed(3), np.random.seed(4), torch.manual_seed(5)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = True  # of which a deterministic run tells the current logger
    before, environment, filters = random_state(), dict(os.environ), list(warnings.filters)
    scopes = dict(DefaultScope._instance_dict)
    rehearsed(randomness=dict(seed=1, deterministic=True), custom_hooks=[dict(type='MakesLogger')])
    with pytest.raises(ValueError):
        rehearsed(test_evaluator=[dict(type='IoUMetric', iou_metrics=['mIOU'])])
    after = random_state()
    assert before['python'][2] == after['python'][2] and torch.equal(before['python'][1], after['python'][1])
    assert torch.equal(before['numpy'][1], after['numpy'][1]) and before['numpy'][2:] == after['numpy'][2:]
    assert torch.equal(before['torch'], after['torch'])
    assert dict(os.environ) == environment and list(warnings.filters) == filters
    assert (MMLogger.get_current_instance(), MessageHub.get_current_instance()) == (logger, hub)
    assert dict(DefaultScope._instance_dict) == scopes and torch.get_num_threads() == 2
    assert torch.is_deterministic_algorithms_warn_only_enabled() and gc.get_freeze_count() == 0
    assert capsys.readouterr() == ('', '')
    logging.getLogger('of a hook').warning('it goes on')
    assert capsys.readouterr() == ('', 'it goes on\n')
    assert torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(threads)


@pytest.mark.parametrize('changes', [
    {}, dict(continual=dict(PLOP, memory=dict(size=4)), custom_hooks=[dict(type='EMAHook')])], ids=['plop', 'memory, average'])
def test_a_run_is_the_same_with_it(tiny_data, tmp_path, changes):
    for rehearsal in (True, False):
        cfg = tiny_config(tiny_data, tmp_path / str(rehearsal), run=dict(steps='0-1', rehearsal=rehearsal), **changes)
        ContinualRunner.from_cfg(cfg).train()
    for step in (0, 1):
        assert_equal_states(state(tmp_path / 'True', step), state(tmp_path / 'False', step))


def test_a_run_begins_with_it_unless_it_is_switched_off(tiny_data, tmp_path):
    wrong = dict(test_evaluator=[dict(type='IoUMetric', iou_metrics=['mIOU'])])
    for run in (dict(rehearsal=True), dict(rehearsal=False)):
        runner = ContinualRunner.from_cfg(tiny_config(tiny_data, tmp_path, run=dict(run, steps='0'), **wrong))
        if run['rehearsal']:
            for job in (runner.train, runner.describe):
                with pytest.raises(ValueError, match=r'step 0: test_evaluator\[0\]'):
                    job()
            assert not any(tmp_path.iterdir())
        else:
            assert 'config against' in runner.describe()


def in_processes(rank):
    """What each of two processes finds."""
    def rehearse_both(**changes):
        settings = read_settings(tiny(run=dict(rehearsal=True), **changes))
        scenario = build_scenario(settings)
        rehearse_plans(settings, scenario, [StepPlan(split, 8, 4, True, None) for split in scenario])

    torch.distributed.init_process_group('gloo')
    rehearse_both(continual=REMINDER_M)
    with pytest.raises(ValueError, match='step 0: optim_wrapper: got .*lrr') as caught:
        rehearse_both(optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lrr=0.1)))
    assert str(caught.value).startswith('process 0 on ') is (rank == 1)
    assert torch.distributed.is_initialized()


def test_processes_hear_of_it_together():
    spawn(in_processes)
