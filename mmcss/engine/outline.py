"""The keys of a config, and the kinds of their values.

The rehearsal tries the settings of the stack; here are found those that would
not get that far, or be ignored without a word.
"""
from __future__ import annotations

import inspect
import math
from difflib import get_close_matches
from multiprocessing import get_all_start_methods
from os.path import commonprefix
from pathlib import Path
from typing import Annotated, Any, Callable, Collection, Dict, Literal, Mapping, Optional, Sequence, Tuple, Union

from mmengine.config import Config
from mmengine.registry import MODELS
from mmengine.runner import Runner
from mmengine.utils import import_modules_from_strings
from pydantic import Field

from ..arguments import Count, Finite, Number, Positive, arguments_of, check_arguments, check_names, check_value, one_of
from ..scenario import SCENARIOS, Protocol
from .config_nodes import values_of
from .model_config import STUDENTS
from .profiles import Profile
from .typed_settings import MethodSettings, RunSettings

# Keys of the user's config that no step's config has.
OWN_KEYS = ('scenario', 'continual', 'protocol', 'profile', 'official', 'first_step', 'next_steps', 'run', 'runner_type')
NEEDED = ('model', 'scenario', 'train_dataloader', 'optim_wrapper', 'train_cfg')
# What Runner.from_cfg takes.
STACK_KEYS = (*list(inspect.signature(Runner.__init__).parameters)[1:-1], 'custom_imports', 'compile',
              'model_wrapper_cfg', 'find_unused_parameters', 'tta_model', 'tta_pipeline')
DEFAULT_HOOKS = ('runtime_info', 'timer', 'sampler_seed', 'logger', 'param_scheduler', 'checkpoint', 'visualization')

Section = Mapping[str, Any]
SCOPES = MODELS.children  # those of the imported libraries
Colour = Annotated[int, Field(ge=0, le=255)]
Level = Literal['CRITICAL', 'FATAL', 'ERROR', 'WARNING', 'WARN', 'INFO', 'DEBUG', 'NOTSET']
Filled = Annotated[Section, Field(min_length=1)]
Heads = Union[Section, Sequence[Section]]
KINDS: Dict[str, Any] = {
    **dict.fromkeys(('model', 'scenario', 'continual', 'first_step', 'next_steps', 'run', 'train_dataloader', 'optim_wrapper',
                     'train_cfg', 'default_hooks', 'env_cfg', 'model.backbone'), Section),
    **dict.fromkeys(('val_dataloader', 'test_dataloader', 'val_cfg', 'test_cfg', 'visualizer', 'model.data_preprocessor',
                     'log_processor', 'randomness', 'tta_model', 'custom_imports', 'official'), Optional[Section]),
    'protocol': Union[str, Section], 'profile': Profile, 'scenario.type': Annotated[str, one_of(SCENARIOS)],
    'model.decode_head': Heads, 'model.auxiliary_head': Optional[Heads],
    'model.train_cfg': Optional[Section], 'model.test_cfg': Optional[Section],
    'test_evaluator': Optional[Heads], 'val_evaluator': Optional[Heads],
    'param_scheduler': Union[Filled, Sequence[Section], None],
    'log_level': Union[Number, Level], 'custom_hooks': Optional[Sequence[Section]],
    **{f'continual.{key}': Optional[Section] for key in ('losses', 'targets', 'loss_decode', 'online')},
    'optim_wrapper.optimizer': Section, 'continual.classifier': Union[str, type, Section, None],
    **{f'model.{head}.loss_decode': Union[Filled, Sequence[Filled]] for head in ('decode_head', 'auxiliary_head')},
    **{f'default_hooks.{name}': Optional[Section] for name in DEFAULT_HOOKS},
    'visualizer.vis_backends': Optional[Sequence[Filled]],
    'randomness.seed': Optional[Number], 'randomness.deterministic': bool, 'randomness.diff_rank_seed': bool,
    'model.data_preprocessor.mean': Optional[Sequence[Finite]], 'model.data_preprocessor.std': Optional[Sequence[Positive]],
    'model.data_preprocessor.size': Optional[Annotated[Sequence[Count], Field(min_length=2, max_length=2)]],
    'custom_imports.imports': Union[str, Sequence[str], None],
    **{f'train_cfg.{key}': int for key in ('max_epochs', 'max_iters', 'val_begin')}, 'train_cfg.val_interval': Count,
    'env_cfg.mp_cfg': Section, 'env_cfg.mp_cfg.mp_start_method': Annotated[str, one_of(get_all_start_methods())],
    'env_cfg.mp_cfg.opencv_num_threads': int, 'env_cfg.cudnn_benchmark': bool,
    'load_from': Union[str, Path, None], 'work_dir': Union[str, Path, None], 'resume': Optional[bool], 'launcher': str,
    'default_scope': Optional[Annotated[str, one_of(SCOPES)]],
}
OF_LOADERS: Dict[str, Any] = {
    'dataset': Section, 'dataset.metainfo': Optional[Section],
    'dataset.metainfo.classes': Union[str, Sequence[str], None],
    'dataset.metainfo.palette': Optional[Sequence[Sequence[Colour]]],
    'batch_size': Annotated[int, Field(ge=1, le=2**16)], 'num_workers': Number,
    'sampler': Optional[Section], 'batch_sampler': Optional[Section], 'drop_last': bool, 'persistent_workers': bool,
    'num_batch_per_epoch': Optional[Count],
}
KINDS.update({f'{role}_dataloader.{key}': kind for role in ('train', 'val', 'test') for key, kind in OF_LOADERS.items()})
# The sections, and the classes and functions that take their settings.
SECTIONS: Dict[str, Sequence[Callable[..., Any]]] = {
    'continual': [MethodSettings], 'run': [RunSettings], 'protocol': [Protocol],
    'scenario': [kind.from_config for kind in SCENARIOS.values()], 'first_step': [], 'next_steps': [], 'official': []}
# Settings with names that configs use for variables, too.
VARIABLES = ('classes', 'seed', 'scenario.background', 'train_pipeline', 'train_pipelines', 'test_pipeline', 'models')
# Similarity from which a key is taken for a slip of another: configs may have variables of any name.
ALIKE = 0.88


def check_outline(cfg: Config, changed_by: str = '') -> None:
    """Check that a config has the needed keys, no unknown ones, and values of the right kinds.

    Args:
        cfg: The user's config, or one with the changes for some steps.
        changed_by: Key of these changes, for errors.

    Raises:
        ValueError: Names the key, what was got and what is valid.
    """
    changes = cfg.get(changed_by, {})
    for key, kind in KINDS.items():
        is_set, value = _find(cfg, key)
        if is_set:
            check_value(f'{changed_by}.{key}' if _find(changes, key)[0] else key, value, kind)
    needed = [*NEEDED, *(f'{role}_dataloader.dataset' for role in ('train', 'val', 'test') if cfg.get(f'{role}_dataloader'))]
    # Other models are refused by their type.
    needed += ['model.backbone', 'model.decode_head'] if _find(cfg, 'model.type')[1] in STUDENTS else ['model.type']
    needed += [] if 'constructor' in (cfg.get('optim_wrapper') or {}) else ['optim_wrapper.optimizer']
    missing = [key for key in needed if not _find(cfg, key)[1] and (cfg.get(key.split('.')[0]) or '.' not in key)]
    if missing:
        raise ValueError(f'the config lacks {missing}; see the files below configs/_base_.')
    for key in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        if cfg.get(key) and 'sampler' not in cfg[key]:
            raise ValueError(f"{key}: got no sampler; set {key}.sampler=dict(type='DefaultSampler', "
                             f"shuffle={key.startswith('train')}).")
    for place, value in values_of(cfg._cfg_dict):
        if isinstance(value, float) and math.isnan(value):
            raise ValueError(f'{place}: got nan, expected a number.')
    for place, value in values_of(cfg._cfg_dict, skip=('custom_keys', 'metainfo')):  # their keys may be any names
        if place.endswith('.type') and not (isinstance(value, str) and value or callable(value)):
            raise ValueError(f'{place}: got {value!r}, expected the name of a registered class.')
    if not changed_by:
        _check_keys(cfg)


def _check_keys(cfg: Config) -> None:
    known = (*OWN_KEYS, *STACK_KEYS)
    _refuse_slips(cfg, known, '')
    _refuse_misplaced(cfg, known)
    _refuse_slips(cfg.get('default_hooks', {}), DEFAULT_HOOKS, 'default_hooks')
    check_names(cfg.get('custom_imports') or {}, arguments_of(import_modules_from_strings), 'custom_imports')
    if cfg.get('randomness') is not None:
        check_arguments(Runner.set_randomness, cfg.randomness, 'randomness')
    for steps in ('first_step', 'next_steps'):
        settings = {key.split('.')[0] for key in cfg.get(steps, {})}  # of 'optim_wrapper.optimizer.lr' too
        idle = sorted(settings & (set(OWN_KEYS) - {'continual'}))
        if idle:
            raise ValueError(f'{steps}: got {idle}, which are the same at all steps; set them outside of {steps}.')
        check_names(sorted(settings), [*STACK_KEYS, 'continual', *(key for key in cfg if key not in known)], steps)
    check_names(cfg.get('official') or {}, [*known, *(key for key in cfg if key not in known)], 'official')


def _refuse_slips(settings: Mapping[str, Any], known: Collection[str], place: str) -> None:
    for key in settings:
        near = [] if key in (*known, *VARIABLES) else get_close_matches(key, known, n=1, cutoff=ALIKE) or [
            other for other in known if _one_slip(key, other)]
        if near and _fits(settings[key], KINDS.get(near[0], Any)):
            where = f'{place}.{key}' if place else key
            raise ValueError(f'{where}: there is no such setting, did you mean {near[0]!r}? A variable of your own needs '
                             'another name.')


def _one_slip(word: str, other: str) -> bool:
    """Whether two words differ by one letter, or by two that are exchanged."""
    start = len(commonprefix([word, other]))
    end = len(commonprefix([word[start:][::-1], other[start:][::-1]]))
    rest, instead = word[start:len(word) - end], other[start:len(other) - end]
    return max(len(rest), len(instead)) <= 1 or (len(rest) == 2 and rest == instead[::-1])


def _refuse_misplaced(cfg: Config, known: Collection[str]) -> None:
    """Refuse sections of mmcss within those of the stack, and settings of a section outside of it.

    A key that is also set within a section is a variable that is used there.
    """
    for key in STACK_KEYS:
        inside = cfg[key] if isinstance(cfg.get(key), Mapping) else {}
        for name in set(SECTIONS) & set(inside):
            raise ValueError(f'{key}.{name}: there is no such setting; {name} belongs to the top of the config.')
    sections = {section: cfg[section] for section in SECTIONS if isinstance(cfg.get(section), Mapping)}
    for section, owners in SECTIONS.items():
        for name, argument in (pair for owner in owners for pair in arguments_of(owner).items() if pair[0] in cfg):
            used = name in sections.get(section, ()) or any(
                name in settings and settings[name] == cfg[name] for settings in sections.values())
            place = f'{section}.{name}'
            if not used and not {name, place} & {*known, *VARIABLES} and _fits(
                    cfg[name], KINDS.get(place, argument.annotation)):
                raise ValueError(f'{name}: there is no such setting, did you mean {place}? A variable of your own '
                                 'needs another name.')


def _fits(value: Any, kind: Any) -> bool:
    try:
        check_value('', value, kind)
    except ValueError:
        return False
    return True


def _find(node: Any, key: str) -> Tuple[bool, Any]:
    """Whether a config has a (dotted) key, and its value."""
    for name in key.split('.'):
        if not isinstance(node, (Mapping, Config)) or name not in node:
            return False, None
        node = node[name]
    return True, node
