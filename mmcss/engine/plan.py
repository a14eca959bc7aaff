"""What a run is going to do, found out before it does it."""
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
from .components import check_components, under_key
from .distributed import agree, together
from .ignored_labels import check_ignored_labels


@dataclass(frozen=True)
class StepPlan:
    """A step, its config, and how many images it trains and tests on (None: it is trained, and its data is gone).

    ``trained`` says whether it is going to be trained here, ``batches`` are those of an epoch then, None where they can't
    be known.
    """

    split: Split
    config: Config
    num_train: Optional[int]
    num_test: Optional[int]
    trained: bool
    batches: Optional[Batches]


def make_plan(configs: Sequence[Config], scenario: Scenario, trained: Container[int],
              roles: Sequence[str] = ('train', 'test'), taken: Container[int] = ()) -> List[StepPlan]:
    """Select the images of all steps, and find what would stop a later step.

    Each data set is opened once for all steps that use it.

    Args:
        configs: The plain config of each step (:func:`step_config`).
        scenario: The scenario.
        trained: The steps that are going to be trained; the data of others
            may be gone.
        roles: The data sets to open; without 'train' no training images are counted.
        taken: Those of ``trained`` that come from elsewhere: how they would be
            trained is no matter.

    Raises:
        ValueError: A step or class without images, unknown label values, a
            component that is not there or does not take its settings, a
            loader or loop that would not come to an end.
    """
    init_default_scope('mmseg')
    check_components(configs, taken)
    _warn_of_small_memory(configs[-1], scenario)
    for split, config in zip(scenario, configs):
        check_ignored_labels(config, split)
    sources: Dict[str, LabelledImages] = {}
    plans, maps = [], set()
    for split, config in zip(scenario, configs):
        to_train = split.step in trained
        opened = [*roles, *(['val'] if to_train and config.get('val_dataloader') else [])]
        chosen = {role: _select(sources, config, role, split, to_train, to_train or role == 'test') for role in opened}
        shown = chosen.get('train')
        num_train, num_test = (None if images is None else len(images) for images in (shown, chosen['test']))
        if not num_test:
            raise ValueError(f'step {split.step} has no test image with a class of {list(split.seen)}; '
                             'look at test_dataloader and protocol.images.' if split.domains is None else
                             f'step {split.step} has no test image of the domains {list(split.domains.seen)}; '
                             'look at test_dataloader and scenario.test_share.')
        check_testing(config, num_test)
        here = to_train and split.step not in taken
        batches = check_training(config, split.step, num_train) if here and num_train else None
        plans.append(StepPlan(split, config, num_train, num_test, here, batches))
        saliency = config.train_dataloader.dataset.get('saliency')
        if saliency is not None and to_train and shown is not None:
            source = _source(sources, config.train_dataloader.dataset)
            maps.update(source.saliency_maps(shown, saliency))
    check_saliency(sorted(maps))
    return plans


def _warn_of_small_memory(config: Config, scenario: Scenario) -> None:
    """Tell of a memory that can't hold an image of each class, which is allowed."""
    last = scenario[len(scenario) - 1]
    classes = last.foreground(last.seen)
    for hook in config.get('custom_hooks', []):
        if hook['type'] == 'MemoryHook' and 0 < hook['size'] < len(classes) and is_main_process():
            warnings.warn(f"continual.memory.size: {hook['size']} images can not stand for {len(classes)} classes.")


def _source(opened: Dict[str, LabelledImages], dataset: Mapping[str, Any]) -> LabelledImages:
    """The stock data set below a step's, of those that are open or opened now."""
    key = repr(plain((dataset['dataset'], dataset.get('skip_broken', False))))
    if key in opened:
        return opened[key]
    # Where it can't be opened on one machine, no other one waits for it; looking at labels is for all together.
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
    return source.select(build_view(dataset['view']), split, complete, dataset.get('domains'), dataset.get('listed'))


def plan_table(plans: Sequence[StepPlan], intents: Sequence[str]) -> str:
    """The steps with what is done with each, their classes or domains and numbers of images."""
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
    """What differs between two configs, one line a key."""
    flat = [dict(_flatten(config._cfg_dict.to_dict())) for config in (before, after)]
    lines = []
    for key in sorted(set(flat[0]) | set(flat[1])):
        values = [side.get(key, '(none)') for side in flat]
        if values[0] != values[1]:
            lines.append(f'{key}: {short(values[0], 80)} -> {short(values[1], 80)}')
    return lines


def _flatten(node: Any, prefix: str = '') -> List[Tuple[str, Any]]:
    if isinstance(node, dict) and node:
        return [pair for key, value in node.items() for pair in _flatten(value, f'{prefix}{key}.')]
    return [(prefix[:-1], node)]
