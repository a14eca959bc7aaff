"""The papers' numbers in the configs: each stands here once more, with where it was published.

The configs say what they are, this says what they have to be: a slip of a
digit trains as well, and to other results. In brackets the section of the
paper, or the released code.
"""
import pytest

from mmcss.engine.profiles import with_profile
from tests.experiments import METHODS, experiment

VOC, ADE = 'voc_15-1', 'ade_100-50'
SGD = {'optim_wrapper.optimizer.lr': .01, 'optim_wrapper.optimizer.momentum': .9,
       'optim_wrapper.optimizer.weight_decay': 1e-4, 'next_steps.optim_wrapper.optimizer.lr': .001}
STREAM = {'next_steps.train_cfg.max_epochs': 1, 'next_steps.train_dataloader.batch_size': 4, 'continual.online.images': 4,
          'continual.memory.size': 100, 'train_cfg.max_epochs': 60}

PAPER = {
    # MiB, section 4.1: 24 images a batch on all GPUs, here two.
    f'mib/{VOC}': {**SGD, 'train_dataloader.batch_size': 12, 'train_cfg.max_epochs': 30,
                   'continual.losses.unkd.loss_weight': 10., 'continual.new_rows': 'background'},
    f'mib/{ADE}': {'train_cfg.max_epochs': 60},
    # PLOP, section 4.1, and run.py's defaults.
    f'plop/{VOC}': {**SGD, 'train_dataloader.batch_size': 12, 'train_cfg.max_epochs': 30,
                    'continual.losses.local_pod.loss_weight': .01, 'continual.losses.local_pod.logits_weight': .0005},
    'plop/cityscapes_domains_1-1': {'train_dataloader.batch_size': 12, 'train_cfg.max_epochs': 50},
    f'lwf/{VOC}': {'continual.losses.kd.loss_weight': 100.},
    f'lwf_mc/{VOC}': {'continual.losses.bce_kd.loss_weight': 1.},
    f'ilt/{VOC}': {'continual.losses.kd.loss_weight': 100., 'continual.losses.features.loss_weight': 100.},
    # SSUL, section 4.1.
    f'ssul/{VOC}': {'train_dataloader.batch_size': 16, 'train_cfg.max_epochs': 50, 'continual.targets.threshold': .7,
                    'optim_wrapper.optimizer.lr': .01},
    f'ssul_m/{VOC}': {'continual.memory.size': 100, 'continual.memory.share': .5, 'continual.memory.iterations': 'kept'},
    f'ssul_m/{ADE}': {'continual.memory.size': 300, 'train_dataloader.batch_size': 12, 'train_cfg.max_epochs': 60},
    # REMINDER, section 4.1.
    f'reminder/{VOC}': {**SGD, 'continual.losses.csw_kd.loss_weight': .5,
                        'continual.losses.local_pod.loss_weight': .01},
    # SATS, section 4.1: attention 20, distillation 20; the learning rate falls by 0.9 an epoch.
    f'sats/{VOC}': {'continual.losses.attention.loss_weight': 20., 'continual.losses.unkd.loss_weight': 20.,
                         'continual.losses.local_pod': None, 'continual.targets.adaptive_factor': False,
                         'param_scheduler.0.gamma': .9, 'train_dataloader.batch_size': 12},
    f'sats/{ADE}': {'train_dataloader.batch_size': 16},
    f'sats_m/{VOC}': {'continual.memory.size': 100, 'continual.memory.iterations': 'all_new'},
    'sats_m/ade_100-10': {'continual.memory.size': 300},
    # PLOP's code for the three regularisers.
    **{f'{name}/{VOC}': {f'continual.losses.{name}.loss_weight': 100.} for name in ('ewc', 'pi', 'rw')},
    # SDR's code: its presets.
    f'sdr/{VOC}': {'continual.losses.unkd.loss_weight': 100., 'continual.losses.sdr.matching': .01,
                   'continual.losses.sdr.attraction': 1e-3, 'continual.losses.sdr.repulsion': 1e-3,
                   'continual.losses.sdr.sparsity': 1e-3},
    # Online EM, section 4.1 and table 4.
    f'online_em/{VOC}': {**STREAM, **SGD, 'continual.classifier.scale': 12., 'continual.loss_decode.threshold': .8,
                         'continual.loss_decode.gamma': .5, 'continual.memory.policy': 'cbes',
                         'continual.online.eta': 1., 'continual.online.momentum': .9,
                         'next_steps.param_scheduler': []},
    f'online_em/{ADE}': {**STREAM, 'continual.loss_decode.gamma': .1, 'continual.online.eta': 10.,
                         'scenario.regime': 'disjoint'},
    # Its baselines; MIR's 50 candidates are its paper's.
    **{f'{name}/{VOC}': {**STREAM, 'continual.memory.policy': policy} for name, policy in (
        ('er', 'reservoir'), ('a_gem', 'reservoir'), ('mir', 'reservoir'), ('icarl', 'herding'),
        ('coriseg', 'confident'), ('mib_online', 'reservoir'), ('lwf_mc_online', 'reservoir'))},
}
OFFICIAL = {
    # Issue 22 of MiB's repository: 100 on 15-1.
    f'mib/{VOC}_mib_crops': {'continual.losses.unkd.loss_weight': 100., 'continual.loss_decode.old_labels': 'background',
                            'continual.ignore_as_background': True},
    f'plop/{ADE}': {'continual.losses.local_pod.loss_weight': .001, 'continual.losses.local_pod.logits_weight': .00001},
    f'lwf_mc/{VOC}': {'continual.losses.bce_kd.loss_weight': 10., 'continual.loss_decode.classes': 'all'},
    f'ssul/{ADE}': {'train_cfg.max_epochs': 100, 'next_steps.optim_wrapper.optimizer.lr': .05},
    f'ssul_m/{VOC}': {'continual.memory.labels': 'unshifted', 'continual.row_lr.background': 1e-4},
    f'reminder/{VOC}': {'continual.losses.csw_kd.delta': 0., 'continual.losses.csw_kd.weighting': 'batches'},
    f'reminder/{ADE}': {'continual.losses.csw_kd.delta': 1., 'next_steps.optim_wrapper.optimizer.lr': .0008,
                        'next_steps.train_cfg.max_epochs': 70, 'continual.losses.local_pod.logits_weight': .00001},
    f'sats/{VOC}': {'continual.targets.infinite': .005, 'continual.targets.true_background': True,
                         'continual.losses.attention.layout': 'reshape', 'param_scheduler.0.power': .9},
    f'sats_m/{VOC}': {'continual.memory.size': 300, 'continual.memory.policy': 'first',
                           'continual.targets.overwrite_old': True},
    f'ewc/{VOC}': {'continual.losses.ewc.start': 1.}, f'rw/{VOC}': {'continual.losses.rw.start': 1.},
    f'pi/{VOC}': {'continual.losses.pi.damping': 1e-20, 'continual.losses.pi.gradient': 'current'},
    f'sdr/{VOC}': {'continual.new_rows': 'random', 'continual.losses.sdr.background': True,
                   'continual.losses.sdr.first_step': False, 'continual.losses.unkd.loss_weight': 100.},
}


def setting(cfg, path):
    """What stands at ``'a.b.0.c'``, None where nothing does."""
    for key in path.split('.'):
        cfg = cfg[int(key)] if key.isdigit() else cfg.get(key)
        if cfg is None:
            return None
    return cfg


@pytest.mark.parametrize('profile, name', [(profile, name) for profile, table in (('paper', PAPER), ('official', OFFICIAL))
                                           for name in table])
def test_numbers(profile, name):
    cfg = with_profile(experiment(*name.split('/'), profile))
    expected = dict(paper=PAPER, official=OFFICIAL)[profile][name]
    assert {path: setting(cfg, path) for path in expected} == expected


def test_each_method_has_numbers_here():
    methods = set(METHODS) - {'finetune', 'joint', 'ilt_m', 'mib_m', 'plop_m', 'reminder_m'}
    assert methods <= {name.split('/')[0] for name in PAPER}
