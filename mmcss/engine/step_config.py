"""From the user's one config to the plain config of one step."""
from __future__ import annotations

import copy
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional

from mmengine.config import Config
from mmseg.registry import DATA_SAMPLERS, MODELS

from ..datasets.policies import USES_FEATURES
from ..datasets.replay import remembered_share
from ..files import plain as plain_dict
from ..scenario import Scenario, Split
from .class_settings import follow_classes
from .deploy import deployed
from .folders import StepFolder
from .model_config import (extended_model, replace_cross_entropy, stock_model, student_model, teacher_model, walk,
                           without_pretrained)
from .settings import (OWN_KEYS, acts_at_first_step, classifier_config, first_step_training, protocol, step_classes,
                       with_profile)
from .stated_classes import leaf_configs, with_clean_names

# Which weights of a step the next one starts from.
HANDED_OVER = ('last', 'best')
# What of continual the model itself is given.
MODEL_KEYS = ('targets', 'losses', 'new_rows', 'frozen', 'row_lr', 'stages', 'over_processes')


def step_config(cfg: Config, scenario: Scenario, step: int, work_dir: str, world_size: int = 1) -> Config:
    """The plain mmengine config of one step. A pure function.

    Args:
        cfg: The user's config.
        scenario: Its scenario.
        step: Number of the step.
        work_dir: Folder of all steps; this one works in ``step_k`` below it.
        world_size: Number of processes.

    Returns:
        A config for an ordinary Runner, which resumes nothing. At step 0 it
        begins with the weights of the user's ``load_from``, if there are any.
    """
    cfg = with_profile(cfg)
    split = scenario[step]
    folder = StepFolder(work_dir, step)
    merged = Config(copy.deepcopy(cfg._cfg_dict.to_dict()), filename=cfg.filename)
    merged.merge_from_dict(cfg.get('first_step' if step == 0 else 'next_steps', {}))
    plain: Dict[str, Any] = {key: value for key, value in merged._cfg_dict.to_dict().items() if key not in OWN_KEYS}
    plain.update(work_dir=str(folder.path), load_from=plain.get('load_from') if step == 0 else None, resume=False)
    plain['custom_imports'] = _with_mmcss(plain.get('custom_imports') or {})
    # Bare names of types are MMSegmentation's.
    plain['default_scope'] = plain.get('default_scope') or 'mmseg'
    plain['experiment_name'] = f'{str(run_name(cfg)).replace("/", "_")}_step_{step}'
    # The visualizer is looked up by name in the process: one name a step, or
    # all steps write into the first one's folder.
    plain['visualizer'] = dict(plain.get('visualizer') or dict(type='SegLocalVisualizer'), name=plain['experiment_name'])
    # Where a step has data of its own, with fewer classes, the whole run still has its list of classes.
    merged.train_dataloader.dataset = copy.deepcopy(cfg.train_dataloader.dataset)
    plain['model'] = _model(merged, scenario, split, folder)
    _refuse_compile(plain)
    _set_data(plain, merged, scenario, split, folder.work_dir, world_size)
    _set_hooks(plain, merged, scenario, folder)
    plain.setdefault('model_wrapper_cfg', dict(
        type='DeviceAwareDDP', broadcast_buffers=False,
        find_unused_parameters=plain.get('find_unused_parameters', False)))
    return Config(plain, filename=cfg.filename)


def run_name(cfg: Config) -> Path:
    """What a run is called: its config's folder, which says the method, and name."""
    file = Path(cfg.filename or 'run')
    return Path(file.absolute().parent.name, file.stem) if cfg.filename else file


def training_settings(config: Config) -> Dict[str, Any]:
    """What a step is trained with beside its method and images, as JSON: a run that goes on may have changed it."""
    plain = config._cfg_dict.to_dict()
    settings = {key: plain.get(key) for key in ('optim_wrapper', 'param_scheduler', 'train_cfg', 'load_from')}
    settings['model'] = {key: value for key, value in plain['model'].items() if key != 'continual'}
    settings['batch_size'] = plain['train_dataloader'].get('batch_size')
    return json.loads(json.dumps(settings, default=str))


def deploy_config(cfg: Config, scenario: Scenario, step: int) -> Config:
    """A config of a step's model for stock MMSegmentation.

    No mmcss is in it, unless the model itself is one of mmcss's; it then
    imports mmcss. See :func:`deployed`.
    """
    cfg = with_profile(cfg)
    model = _step_model(cfg, scenario, step)
    return deployed(model, next(leaf_configs(_test_loader(cfg)['dataset'])), cfg.get('custom_imports') or {})


def _with_mmcss(custom_imports: Mapping[str, Any]) -> Dict[str, Any]:
    """Imports by which MMSegmentation's tools can read a step's config, whichever way mmcss was imported here."""
    imports = custom_imports.get('imports') or []
    imports = [imports] if isinstance(imports, str) else list(imports)
    return {'allow_failed_imports': False, **custom_imports, 'imports': imports if 'mmcss' in imports else ['mmcss', *imports]}


def _refuse_compile(plain: Mapping[str, Any]) -> None:
    """Parts of a method watch the model from iteration to iteration anew, at which torch.compile starts over."""
    method = plain['model']['continual']
    parts = [f'losses.{name}' for name, part in (method.get('losses') or {}).items() if part]
    parts += ['targets'] if method.get('targets') else []
    if plain.get('compile') and parts:
        raise ValueError(f'compile: torch.compile can not hold a graph of a model that {", ".join(parts)} of continual watch '
                         'while it trains: it would compile again at each iteration. Take compile out; it works with '
                         'methods that have neither targets nor losses.')


def _model(cfg: Config, scenario: Scenario, split: Split, folder: StepFolder) -> Dict[str, Any]:
    method = dict(cfg.get('continual', {}))
    average = method.get('average', 'valid')
    model = _step_model(cfg, scenario, split.step, average)
    continual = dict(split=split.to_dict(), previous=None, teacher=None,
                     **{key: method[key] for key in MODEL_KEYS if key in method})
    online = _online(cfg, split)
    if split.step > 0:
        model = without_pretrained(model)
        continual['previous'] = str(StepFolder(folder.work_dir, split.step - 1).hand_over)
        parts = [part for part in (method.get('targets'), *(method.get('losses') or {}).values()) if part]
        if any(getattr(MODELS.get(part['type']), 'uses_teacher', True) for part in parts):
            continual['teacher'] = teacher_model(_step_model(cfg, scenario, split.step - 1))
    if online:
        watch = dict(type='StreamWatch', confidence=DATA_SAMPLERS.get(online['type']).wants_confidence,
                     features=method['memory'].get('policy') in USES_FEATURES)
        continual['losses'] = dict(continual.get('losses') or {}, stream=watch)
    loss_decode = method.get('loss_decode')
    if loss_decode and (split.step > 0 or acts_at_first_step(loss_decode)):
        loss_decode = dict(dict(average=average), **plain_dict(loss_decode))
        follow_classes(loss_decode, 'continual.loss_decode', step_classes(cfg, scenario, split.step), in_loss=True)
        model = replace_cross_entropy(model, loss_decode, split.num_old)
    return student_model(model, continual)


def _step_model(cfg: Config, scenario: Scenario, step: int, average: str = 'valid') -> Dict[str, Any]:
    """The model of a step without the method that trains it."""
    method = cfg.get('continual', {})
    unknown, scores = bool(method.get('unknown')), (method.get('unknown') or {}).get('scores', 'sigmoid')
    classes = step_classes(cfg, scenario, step)
    model = stock_model(cfg.model, classes.order, classes.seen, average, unknown, classes.listed)
    steps = [len(split.foreground(split.new)) for split in scenario][:step + 1]
    return extended_model(model, unknown, classifier_config(method.get('classifier')), steps, scores)


def _set_data(plain: Dict[str, Any], cfg: Config, scenario: Scenario, split: Split, work_dir: Path,
              world_size: int) -> None:
    loader = plain['train_dataloader']
    method = cfg.get('continual', {})
    switches = {key: method[key] for key in ('ignore_as_background', 'keep_old_labels') if key in method}
    unknown = method.get('unknown') or {}
    if unknown:
        switches['unknown'] = unknown.get('of')
    view = dict(role='train', regime=scenario.regime, **switches)
    # A step of few images repeats them to fill one batch of each process.
    chosen = scenario.images(split.step)
    if cfg.get('run', {}).get('skip_broken'):
        chosen['skip_broken'] = True
    loader['dataset'] = dict(type='StepDataset', dataset=with_clean_names(loader['dataset']), split=split.to_dict(),
                             view=view, min_length=world_size * loader.get('batch_size', 1), **chosen)
    if unknown.get('of') == 'saliency':
        loader['dataset']['saliency'] = unknown.get('folder', 'saliency_map')
    if _online(cfg, split):
        _set_stream(plain, method['memory'], StepFolder(work_dir, split.step - 1), world_size)
    elif method.get('memory') and split.step > 0:
        _set_replay(loader, method['memory'], StepFolder(work_dir, split.step - 1))
    loader.setdefault('worker_init_fn', dict(type='seed_worker'))
    # Workers that live on keep random numbers that no checkpoint holds.
    loader['persistent_workers'] = False
    plain['test_dataloader'] = _test_loader(cfg)
    for role in ('val', 'test'):
        loader = plain.get(f'{role}_dataloader')
        if not loader:
            continue
        plain[f'{role}_dataloader'] = loader = copy.deepcopy(loader)
        loader['dataset'] = dict(type='StepDataset', dataset=with_clean_names(loader['dataset']), split=split.to_dict(),
                                 view=dict(role='test', **asdict(protocol(cfg))), **chosen)
        if loader.get('sampler', {}).get('type') == 'DefaultSampler':
            loader['sampler']['round_up'] = False  # no image is counted twice
        plain[f'{role}_evaluator'] = _with_own_metric(plain.get(f'{role}_evaluator') or [])
    plain.setdefault('test_cfg', None)
    plain['test_cfg'] = plain['test_cfg'] or dict(type='TestLoop')


def _with_own_metric(evaluator: Any) -> Any:
    """An evaluator, in any of mmengine's forms (metrics, or an evaluator that holds them), that reports on steps too."""
    if isinstance(evaluator, Mapping) and 'metrics' in evaluator:
        return dict(evaluator, metrics=_with_own_metric(evaluator['metrics']))
    metrics = list(evaluator) if isinstance(evaluator, (list, tuple)) else [evaluator]
    own = [] if any(metric['type'] == 'ContinualIoUMetric' for metric in metrics) else [dict(type='ContinualIoUMetric')]
    return metrics + own


def _set_replay(loader: Dict[str, Any], memory: Mapping[str, Any], previous: StepFolder) -> None:
    """Have a training loader replay what the step before has left."""
    if loader.get('batch_sampler'):
        raise ValueError('continual.memory fills batches itself; take batch_sampler out of train_dataloader.')
    remembered_share(loader.get('batch_size', 1), memory.get('share', 0.5))
    loader['dataset']['memory'] = dict(path=str(previous.memory), labels=memory.get('labels', 'stored'))
    loader['batch_sampler'] = dict(
        type='ReplayBatchSampler', drop_last=loader.pop('drop_last', False),
        **{key: memory[key] for key in ('share', 'iterations') if key in memory})


def _online(cfg: Config, split: Split) -> Optional[Dict[str, Any]]:
    """How an online step replays; None for others. Step 0 is trained as ever."""
    return cfg.get('continual', {}).get('online') if split.step > 0 else None


def _set_stream(plain: Dict[str, Any], memory: Mapping[str, Any], previous: StepFolder, world_size: int) -> None:
    """Have a training loader show each image once."""
    loop, loader = plain['train_cfg'], plain['train_dataloader']
    if loop.get('type') != 'EpochBasedTrainLoop' or loop.get('max_epochs') != 1:
        raise ValueError(f'continual.online: each image is seen once, but next_steps.train_cfg is {loop}; take '
                         "dict(type='EpochBasedTrainLoop', max_epochs=1), or a schedule *_online.py.")
    if loader.get('batch_sampler'):
        raise ValueError('continual.online deals out batches itself; take batch_sampler out of train_dataloader.')
    if any(node.get('type') == 'RepeatDataset' for node in walk(loader['dataset'])):
        raise ValueError('continual.online: each image is seen once, but train_dataloader.dataset repeats them; take '
                         'RepeatDataset out.')
    if loader.pop('drop_last', False):
        raise ValueError('train_dataloader.drop_last: online steps show each image once; set it to False in next_steps.')
    if not plain.get('default_hooks', {}).get('checkpoint', {}).get('by_epoch', True):
        raise ValueError('default_hooks.checkpoint.by_epoch: an online step that was stopped starts anew, since images '
                         'come once; set it to True.')
    loader['dataset'].update(
        min_length=world_size, memory=dict(path=str(previous.memory), labels=memory.get('labels', 'stored'), brought=False))
    loader['batch_sampler'] = dict(type='StreamBatchSampler')


def _test_loader(cfg: Config) -> Dict[str, Any]:
    loader = cfg.get('test_dataloader') or cfg.get('val_dataloader')
    if not loader:
        raise ValueError('the config has neither test_dataloader nor val_dataloader to evaluate the steps on.')
    return copy.deepcopy(loader.to_dict())


def _set_hooks(plain: Dict[str, Any], cfg: Config, scenario: Scenario, folder: StepFolder) -> None:
    about = dict(step=folder.step, num_steps=len(scenario), regime=scenario.regime, images=scenario.images(folder.step))
    if scenario[folder.step].domains is not None:
        about['domains'] = list(scenario[folder.step].domains.new)
    previous = str(StepFolder(folder.work_dir, folder.step - 1).hand_over) if folder.step else None
    own: List[Dict[str, Any]] = [
        dict(type='FiniteHook'),
        dict(type='ContinualHook'),
        dict(type='HandOverHook', path=str(folder.hand_over), previous=previous,
             meta=about if folder.step else dict(about, first_step=first_step_training(cfg))),
        dict(type='ResultHook', path=str(folder.result), hand_over=str(folder.hand_over),
             meta=dict(about, protocol=asdict(protocol(cfg)))),
        dict(type='RandomStateHook'),
        *_best_weights(plain, cfg.get('run', {}).get('hand_over', 'last')),
    ]
    method = cfg.get('continual', {})
    if method.get('frozen') or method.get('row_lr'):
        if 'optimizer' not in plain['optim_wrapper']:
            raise ValueError('continual.frozen and row_lr hold rows of one optimizer; this optim_wrapper has several.')
        own.append(dict(type='RowRatesHook'))
    if method.get('memory'):
        choice = {key: method['memory'][key] for key in ('size', 'policy', 'export') if key in method['memory']}
        online = _online(cfg, scenario[folder.step])
        hook = dict(type='OnlineHook', replay=plain_dict(online)) if online else dict(type='MemoryHook')
        own.append(dict(hook, path=str(folder.memory), **choice))
    plain['custom_hooks'] = list(plain.get('custom_hooks') or []) + own


def _best_weights(plain: Mapping[str, Any], handed_over: str) -> List[Dict[str, Any]]:
    """The hook that a step needs to hand over the best weights in place of the last ones."""
    if handed_over not in HANDED_OVER:
        raise ValueError(f'run.hand_over: got {handed_over!r}, valid are {", ".join(HANDED_OVER)}.')
    if handed_over == 'last':
        return []
    if not plain.get('default_hooks', {}).get('checkpoint', {}).get('save_best') or not plain.get('val_dataloader'):
        raise ValueError("run.hand_over='best' needs save_best in default_hooks.checkpoint, and val_dataloader, val_evaluator "
                         'and val_cfg, by which the best weights are found.')
    return [dict(type='BestWeightsHook')]
