"""Makes the plain config of one step from the user's config."""
from __future__ import annotations

import copy
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Union

from mmengine.config import Config

from ..files import plain as plain_dict
from ..memory.samplers import remembered_share
from ..models.part_configs import DECODE_LOSSES, PARTS
from ..scenario import IGNORE, Scenario, Split
from .class_settings import follow_classes
from .config_nodes import walk, with_settings
from .deploy import deployed
from .first_step import first_step_training
from .folders import StepFolder
from .model_config import STUDENTS, extended_model, replace_cross_entropy, stock_model, teacher_model, without_pretrained
from .outline import OWN_KEYS
from .settings import read_settings, step_classes
from .stated_classes import leaf_configs, stated_names, with_clean_names
from .typed_settings import MemorySettings, Settings


def step_config(cfg: Union[Config, Settings], scenario: Scenario, step: int, work_dir: Optional[str] = None,
                world_size: int = 1) -> Config:
    """The plain mmengine config of one step. A pure function.

    Args:
        cfg: The user's config.
        scenario: Its scenario.
        step: Number of the step.
        work_dir: Folder of all steps, in place of the config's; the step works in ``step_k`` below it.
        world_size: Number of processes.

    Returns:
        A config for an ordinary Runner, without resume. At step 0 it starts from the user's ``load_from``, if any.

    Raises:
        ValueError: Settings are invalid or contradict one another. Names the key.
    """
    settings = read_settings(cfg)
    if work_dir is not None:
        settings = replace(settings, work_dir=Path(work_dir))
    folder, method = StepFolder(settings.work_dir, step), settings.method(step)
    plain: Dict[str, Any] = copy.deepcopy(settings.config(step)._cfg_dict.to_dict())
    for key in OWN_KEYS:
        plain.pop(key, None)
    plain.update(work_dir=str(folder.path), load_from=plain.get('load_from') if step == 0 else None, resume=False)
    plain['custom_imports'] = _with_mmcss(plain.get('custom_imports') or {})
    plain['default_scope'] = plain.get('default_scope') or 'mmseg'
    plain['experiment_name'] = f'{str(settings.run_name).replace("/", "_")}_step_{step}'
    # Visualizers are global by name: with one name for all, all steps would write into step 0's folder.
    plain['visualizer'] = dict(plain.get('visualizer') or dict(type='SegLocalVisualizer'), name=plain['experiment_name'])
    plain['model'] = _model(settings, scenario, scenario[step])
    if plain.get('compile') and method.parts:
        raise ValueError(f'compile: torch.compile would compile the model again at each iteration, because '
                         f'{", ".join(method.parts)} of continual hook into it. Remove compile; it works with methods that '
                         'have neither targets nor losses.')
    _set_data(plain, settings, scenario, scenario[step], world_size)
    _set_hooks(plain, settings, scenario, folder)
    plain.setdefault('model_wrapper_cfg', dict(
        type='DeviceAwareDDP', broadcast_buffers=False,
        find_unused_parameters=plain.get('find_unused_parameters', False)))
    return with_settings(settings.cfg, plain)


def training_settings(config: Config) -> Dict[str, Any]:
    """Settings of a step's training besides its method and images, as JSON; users may change them before they resume."""
    plain = config._cfg_dict.to_dict()
    settings = {key: plain.get(key) for key in ('optim_wrapper', 'param_scheduler', 'train_cfg', 'load_from')}
    settings['model'] = {key: value for key, value in plain['model'].items() if key != 'continual'}
    settings['batch_size'] = plain['train_dataloader'].get('batch_size')
    return json.loads(json.dumps(settings, default=str))


def deploy_config(cfg: Union[Config, Settings], scenario: Scenario, step: int) -> Config:
    """A config of a step's model for stock MMSegmentation.

    It imports mmcss only where the model has modules of mmcss. See :func:`deployed`.
    """
    settings = read_settings(cfg)
    test_set = next(leaf_configs(_test_loader(settings.cfg)['dataset']))
    raw_ids = stated_names(test_set, 'test').raw_ids
    return deployed(_step_model(settings, scenario, step, step), test_set, settings.cfg.get('custom_imports') or {},
                    [raw_ids.get(name, IGNORE) for name in scenario[step].seen])


def _with_mmcss(custom_imports: Mapping[str, Any]) -> Dict[str, Any]:
    """The user's imports and mmcss, so that MMSegmentation's tools can read a step's config."""
    imports = custom_imports.get('imports') or []
    imports = [imports] if isinstance(imports, str) else list(imports)
    return {'allow_failed_imports': False, **custom_imports, 'imports': imports if 'mmcss' in imports else ['mmcss', *imports]}


def _model(settings: Settings, scenario: Scenario, split: Split) -> Dict[str, Any]:
    step, method = split.step, settings.method(split.step)
    model = _step_model(settings, scenario, step, step)
    continual: Dict[str, Any] = dict(
        split=split.to_dict(), previous=None, teacher=None, targets=method.targets, losses=dict(method.losses),
        new_rows=method.new_rows, frozen=list(method.frozen), row_lr=dict(method.row_lr), stages=list(method.stages),
        over_processes=method.over_processes)
    if step > 0:
        model = without_pretrained(model)
        continual['previous'] = str(StepFolder(settings.work_dir, step - 1).hand_over)
        if any(PARTS.class_of(part).uses_teacher for part in method.parts.values()):
            continual['teacher'] = teacher_model(_step_model(settings, scenario, step, step - 1))
    if method.loss_decode and (step > 0 or DECODE_LOSSES.class_of(method.loss_decode).from_first_step):
        loss_decode = dict(dict(average=method.average), **plain_dict(method.loss_decode))
        follow_classes(loss_decode, 'continual.loss_decode', step_classes(settings, scenario, step), in_loss=True)
        model = replace_cross_entropy(model, loss_decode, split.num_old)
    return dict(model, type=STUDENTS[model['type']], continual=plain_dict(continual))


def _step_model(settings: Settings, scenario: Scenario, step: int, last: int) -> Dict[str, Any]:
    """The model of a step, with the classes up to step ``last``, without the method that trains it."""
    method, classes = settings.method(step), step_classes(settings, scenario, last)
    model = stock_model(settings.config(step).model, classes, method.average)
    steps = [len(split.foreground(split.new)) for split in scenario][:last + 1]
    scores = method.unknown.scores if method.unknown else None
    return extended_model(model, scores, method.classifier, steps)


def _set_data(plain: Dict[str, Any], settings: Settings, scenario: Scenario, split: Split, world_size: int) -> None:
    loader, method = plain['train_dataloader'], settings.method(split.step)
    view = dict(role='train', regime=scenario.regime, ignore_as_background=method.ignore_as_background,
                keep_old_labels=method.keep_old_labels, unknown=method.unknown.of if method.unknown else None)
    chosen = dict(scenario.images(split.step), skip_broken=settings.run.skip_broken)
    # A step of few images repeats them to fill one batch of each process.
    loader['dataset'] = dict(type='StepDataset', dataset=with_clean_names(loader['dataset']), split=split.to_dict(),
                             view=view, min_length=world_size * loader.get('batch_size', 1), **chosen)
    if method.unknown and method.unknown.of == 'saliency':
        loader['dataset']['saliency'] = method.unknown.folder
    if method.memory:
        loader['dataset']['type'] = 'WithMemory'
    if method.memory and split.step > 0:
        replay = _set_stream if method.online else _set_replay
        replay(plain, method.memory, StepFolder(settings.work_dir, split.step - 1), world_size)
    loader.setdefault('worker_init_fn', dict(type='seed_worker'))
    # The random states of persistent workers are in no checkpoint.
    loader['persistent_workers'] = False
    plain['test_dataloader'] = _test_loader(settings.config(split.step))
    for role in ('val', 'test'):
        loader = plain.get(f'{role}_dataloader')
        if not loader:
            continue
        plain[f'{role}_dataloader'] = loader = copy.deepcopy(loader)
        if chosen.get('test_share'):
            loader['dataset'] = _training_images(settings, split.step, loader['dataset'])
        loader['dataset'] = dict(type='StepDataset', dataset=with_clean_names(loader['dataset']), split=split.to_dict(),
                                 view=dict(role='test', **asdict(settings.protocol)), **chosen)
        if (loader.get('sampler') or {}).get('type') == 'DefaultSampler':
            loader['sampler']['round_up'] = False  # no image is counted twice
        plain[f'{role}_evaluator'] = _with_continual_metric(plain.get(f'{role}_evaluator') or [])
    plain['test_cfg'] = plain.get('test_cfg') or dict(type='TestLoop')


def _training_images(settings: Settings, step: int, tested: Mapping[str, Any]) -> Config:
    """The training data set of a step, with the pipeline that tests have."""
    dataset, leaf = copy.deepcopy(settings.config(step).train_dataloader.dataset), next(leaf_configs(tested))
    for inner in leaf_configs(dataset):
        inner['pipeline'] = copy.deepcopy(leaf['pipeline'])
    return dataset


def _with_continual_metric(evaluator: Any) -> Any:
    """A config of metrics, or of an evaluator that has metrics, with a ContinualIoUMetric."""
    if isinstance(evaluator, Mapping) and 'metrics' in evaluator:
        return dict(evaluator, metrics=_with_continual_metric(evaluator['metrics']))
    metrics = list(evaluator) if isinstance(evaluator, (list, tuple)) else [evaluator]
    if any(metric.get('type') == 'ContinualIoUMetric' for metric in metrics):
        return metrics
    return [*metrics, dict(type='ContinualIoUMetric')]


def _set_replay(plain: Dict[str, Any], memory: MemorySettings, previous: StepFolder, world_size: int) -> None:
    """Have the training loader replay the memory of the step before."""
    loader = plain['train_dataloader']
    if loader.get('batch_sampler'):
        raise ValueError('train_dataloader.batch_sampler: continual.memory has its own; remove it.')
    remembered_share(loader.get('batch_size', 1), memory.share)
    loader['dataset'].update(path=str(previous.memory), labels=memory.labels)
    loader['batch_sampler'] = dict(type='ReplayBatchSampler', drop_last=loader.pop('drop_last', False), share=memory.share,
                                   iterations=memory.iterations)


def _set_stream(plain: Dict[str, Any], memory: MemorySettings, previous: StepFolder, world_size: int) -> None:
    """Have the training loader load each image once."""
    loop, loader = plain['train_cfg'], plain['train_dataloader']
    if loop.get('type') != 'EpochBasedTrainLoop' or loop.get('max_epochs') != 1:
        raise ValueError(f'continual.online: each image is trained on once, but next_steps.train_cfg is {loop}; take '
                         "dict(type='EpochBasedTrainLoop', max_epochs=1), or a schedule *_online.py.")
    if loader.get('batch_sampler'):
        raise ValueError('train_dataloader.batch_sampler: continual.online has its own; remove it.')
    if any(node.get('type') == 'RepeatDataset' for node in walk(loader['dataset'])):
        raise ValueError('continual.online: each image is trained on once, but train_dataloader.dataset repeats them; '
                         'remove RepeatDataset.')
    if loader.pop('drop_last', False):
        raise ValueError('train_dataloader.drop_last: online steps train on each image once; set it to False in next_steps.')
    if not _checkpoints(plain).get('by_epoch', True):
        raise ValueError('default_hooks.checkpoint.by_epoch: got False, but an online step trains on each image once, so '
                         'that it cannot be resumed in the middle; set it to True.')
    loader['dataset'].update(min_length=world_size, path=str(previous.memory), labels=memory.labels, add_new_labels=False)
    loader['batch_sampler'] = dict(type='StreamBatchSampler')


def _checkpoints(plain: Mapping[str, Any]) -> Mapping[str, Any]:
    """The settings of the hook that saves checkpoints; empty where there is none."""
    return plain.get('default_hooks', {}).get('checkpoint') or {}


def _test_loader(cfg: Config) -> Dict[str, Any]:
    loader = cfg.get('test_dataloader') or cfg.get('val_dataloader')
    if not loader:
        raise ValueError('test_dataloader: got None, and no val_dataloader; set one of them, on which steps are evaluated.')
    return copy.deepcopy(loader.to_dict())


def _set_hooks(plain: Dict[str, Any], settings: Settings, scenario: Scenario, folder: StepFolder) -> None:
    method, split = settings.method(folder.step), scenario[folder.step]
    about: Dict[str, Any] = dict(step=folder.step, num_steps=len(scenario), regime=scenario.regime,
                                 images=scenario.images(folder.step))
    if split.domains is not None:
        about['domains'] = list(split.domains.new)
    previous = str(StepFolder(folder.work_dir, folder.step - 1).hand_over) if folder.step else None
    hooks: List[Dict[str, Any]] = [
        dict(type='FiniteHook'),
        dict(type='ContinualHook'),
        dict(type='HandOverHook', path=str(folder.hand_over), previous=previous,
             meta=about if folder.step else dict(about, first_step=first_step_training(settings))),
        dict(type='ResultHook', path=str(folder.result), hand_over=str(folder.hand_over),
             meta=dict(about, protocol=asdict(settings.protocol))),
        dict(type='RandomStateHook'),
    ]
    if settings.run.hand_over == 'best':
        if not _checkpoints(plain).get('save_best') or not plain.get('val_dataloader'):
            raise ValueError("run.hand_over='best' needs save_best in default_hooks.checkpoint, and val_dataloader, "
                             'val_evaluator and val_cfg, by which the best weights are chosen.')
        hooks.append(dict(type='BestWeightsHook'))
    if method.frozen or method.row_lr:
        if 'optimizer' not in plain['optim_wrapper']:
            raise ValueError('continual.frozen and row_lr: got an optim_wrapper with several optimizers, expected one.')
        hooks.append(dict(type='RowRatesHook'))
    if method.memory:
        replay = dict(replay=plain_dict(method.online)) if method.online and folder.step else {}  # step 0 is no stream
        hooks.append(dict(type='MemoryHook', path=str(folder.memory), size=method.memory.size,
                        policy=plain_dict(method.memory.policy), export=method.memory.export, **replay))
    plain['custom_hooks'] = list(plain.get('custom_hooks') or []) + hooks
