"""What a run is going to do, and whether it can, found out before it starts."""
from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass
from typing import Any, Container, Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.dist import get_world_size, is_main_process
from mmengine.registry import init_default_scope
from prettytable import PrettyTable

from ..datasets import LabelledImages, build_view, check_saliency
from ..datasets.sources import leaves_of, open_dataset
from ..files import plain, short
from ..scenario import Scenario, Split
from .checks import Batches, check_testing, check_training
from .components import check_components, check_weights, under_key
from .distributed import agree, together
from .ignored_labels import check_ignored_labels


@dataclass(frozen=True)
class StepPlan:
    """What a run does at one step.

    Args:
        num_train, num_test: Numbers of images; None for a step that is
            trained already, and whose data can't be opened.
        trained: Whether the run trains the step itself.
        batches: Those of an epoch then; None if they can't be known.
    """

    split: Split
    num_train: Optional[int]
    num_test: Optional[int]
    trained: bool
    batches: Optional[Batches]


def make_plan(configs: Sequence[Config], scenario: Scenario, trained: Container[int],
              roles: Sequence[str] = ('train', 'test'), taken: Container[int] = ()) -> List[StepPlan]:
    """Select the images of all steps, and find errors that would stop a later step.

    Each data set is opened once for all steps that use it.

    Args:
        configs: The plain config of each step of the scenario (:func:`step_config`).
        trained: The steps to be trained; the data of others may be gone.
        roles: The data sets to open; without 'train' no training images are counted.
        taken: Those of ``trained`` that come from elsewhere, so that their
            training settings don't matter.

    Raises:
        ValueError: A step or class without images, unknown label values, a
            component that does not exist or does not take its settings, a
            loader or loop without end.
    """
    init_default_scope('mmseg')
    check_components(configs, taken)
    _warn_of_small_memory(configs[-1], scenario)
    for split, config in zip(scenario, configs):
        check_ignored_labels(config, split)
    sources: Dict[str, LabelledImages] = {}
    plans, maps = [], set()
    for split, config in zip(scenario, configs):
        needed = split.step in trained
        opened = [*roles, *(['val'] if needed and config.get('val_dataloader') else [])]
        images = {role: _select(sources, config, role, split, needed, needed or role == 'test') for role in opened}
        train_images = images.get('train')
        num_train, num_test = (None if indices is None else len(indices) for indices in (train_images, images['test']))
        if not num_test:
            raise ValueError(f'step {split.step} has no test image with a class of {list(split.seen)}; '
                             'check test_dataloader and protocol.images.' if split.domains is None else
                             f'step {split.step} has no test image of the domains {list(split.domains.seen)}; '
                             'check test_dataloader and scenario.test_share.')
        check_testing(config, num_test)
        trained_here = needed and split.step not in taken
        if trained_here:
            check_weights(config, split.step)
        batches = check_training(config, split.step, num_train) if trained_here and num_train else None
        plans.append(StepPlan(split, num_train, num_test, trained_here, batches))
        dataset = config.train_dataloader.dataset
        if dataset.get('saliency') is not None and needed and train_images is not None:
            maps.update(_source(sources, dataset).saliency_maps(train_images, dataset['saliency']))
    check_saliency(sorted(maps))
    return plans


def _warn_of_small_memory(config: Config, scenario: Scenario) -> None:
    """Warn of a memory that can't hold an image of each class, which is allowed."""
    last = scenario[len(scenario) - 1]
    classes = last.foreground(last.seen)
    for hook in config.get('custom_hooks', []):
        if hook['type'] == 'MemoryHook' and 0 < hook['size'] < len(classes) and is_main_process():
            warnings.warn(f"continual.memory.size: {hook['size']} images can not represent {len(classes)} classes.")


def _source(opened: Dict[str, LabelledImages], dataset: Mapping[str, Any]) -> LabelledImages:
    """The images of the stock data set in a step's config, opened once."""
    key = repr(plain((dataset['dataset'], dataset.get('skip_broken', False))))
    if key in opened:
        return opened[key]
    # An error on one machine must not leave the others waiting; labels are read by all together.
    stock = together(lambda: open_dataset(dataset['dataset']))
    if get_world_size() > 1:
        agree(f"the images of {dataset['dataset']['type']}", _fingerprint(stock),
              'Each machine needs all of the data, the same everywhere.')
    source = opened[key] = LabelledImages(stock, dataset.get('skip_broken', False))
    if source.broken and is_main_process():
        listed = '\n'.join(f'  {path} {reason}' for path, reason in source.broken)
        warnings.warn(f'--skip-broken: images are left out, because of these files ({len(source.broken)}):\n{listed}')
    return source


def _fingerprint(dataset: BaseDataset) -> str:
    """The number of images of a data set, and a digest of their paths."""
    digest = hashlib.sha256()
    for leaf in {id(leaf): leaf for leaf in leaves_of(dataset)}.values():
        for i in range(len(leaf)):
            digest.update(f"{leaf.get_data_info(i).get('img_path')}\n".encode())
    return f'{len(dataset)} images, digest {digest.hexdigest()[:8]}'


def _select(opened: Dict[str, LabelledImages], config: Config, role: str, split: Split, complete: bool,
            needed: bool) -> Optional[np.ndarray]:
    dataset, settings = config[f'{role}_dataloader'].dataset, plain(config._cfg_dict)
    try:
        with under_key(f'{role}_dataloader.dataset', settings[f'{role}_dataloader']['dataset']['dataset'], settings):
            source = _source(opened, dataset)
    except (ValueError, FileNotFoundError):
        if needed:
            raise
        return None
    return source.select(build_view(dataset['view']), split, complete, dataset.get('domains'), dataset.get('listed'),
                         dataset.get('test_share', 0.0))


def plan_table(plans: Sequence[StepPlan], intents: Sequence[str]) -> str:
    """A table of the steps: what the run does (``intents``), numbers of images, and classes or domains."""
    brings = 'new classes' if plans[0].split.domains is None else 'new domains'
    table = PrettyTable(['step', 'to do', 'train images', 'test images', 'classes', brings], align='r')
    table.align.update({'to do': 'l', brings: 'l'})
    for plan, intent in zip(plans, intents):
        new = ', '.join(plan.split.entering)
        counts = ['-' if count is None else count for count in (plan.num_train, plan.num_test)]
        table.add_row([plan.split.step, intent, *counts, plan.split.num_seen,
                       new if len(new) <= 60 else f'{len(plan.split.entering)}: {new[:50]}...'])
    return table.get_string()


def config_difference(before: Config, after: Config) -> List[str]:
    """The differences between two configs, one line per key."""
    old, new = (dict(_flatten(config._cfg_dict.to_dict())) for config in (before, after))
    pairs = ((key, old.get(key, '(none)'), new.get(key, '(none)')) for key in sorted({*old, *new}))
    return [f'{key}: {short(value, 80)} -> {short(changed, 80)}' for key, value, changed in pairs if value != changed]


def _flatten(node: Any, prefix: str = '') -> List[Tuple[str, Any]]:
    if isinstance(node, dict) and node:
        return [pair for key, value in node.items() for pair in _flatten(value, f'{prefix}{key}.')]
    return [(prefix[:-1], node)]
