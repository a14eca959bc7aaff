"""A trained step 0 that several runs share."""
from __future__ import annotations

import shutil
import uuid
from pathlib import Path
from typing import Any, Mapping

from mmengine.config import Config
from mmengine.dist import is_main_process

from ..files import PathLike, plain
from ..models import hand_over_meta, load_hand_over, save_hand_over
from ..scenario import Scenario
from .distributed import say
from .folders import StepFolder
from .settings import first_step_training


def find_first_step(source: PathLike) -> Path:
    """The hand-over file, of a work_dir or itself."""
    source = Path(source)
    return StepFolder(source, 0).hand_over if source.is_dir() else source


def take_first_step(source: Path, folder: StepFolder, cfg: Config, scenario: Scenario, about: Mapping[str, Any]) -> None:
    """Copy a trained step 0, so that a work_dir stands alone.

    Args:
        source: The hand-over file.
        folder: Where to.
        cfg: The config of this run.
        scenario: Its scenario.
        about: See :meth:`StepFolder.begin`.

    Raises:
        ValueError: It was trained on other images, or in another way.
        FileNotFoundError: It is missing, or what a part gathered while it
            was trained.
    """
    hand_over = load_hand_over(source, scenario[0].seen)
    check_first_step(source, cfg, scenario)
    if source.resolve() == folder.hand_over.resolve():
        raise ValueError(f'--first-step-from: {source} is this run itself; leave the option out and start with '
                         '--step 1 or --resume.')
    gathered = [source.with_name(f'{name}.npz') for name in first_step_training(cfg)['watching']]
    missing = [str(path) for path in gathered if not path.is_file()]
    if missing:
        raise FileNotFoundError(f'{", ".join(missing)}, gathered while step 0 was trained, is not beside {source.name}; '
                                'leave --first-step-from out, or name a whole folder.')
    if is_main_process():
        folder.begin(about)
        for path in gathered:
            shutil.copy(path, folder.path)
        meta = dict(hand_over['meta'], id=hand_over['meta'].get('id') or uuid.uuid4().hex, parent=None)
        save_hand_over(folder.hand_over, hand_over['state_dict'], meta)


def check_first_step(source: Path, cfg: Config, scenario: Scenario) -> None:
    """Make sure that a trained step 0 is one that a method may go on from, and tell of smaller differences.

    Raises:
        ValueError: It was trained on other images, or in another way.
    """
    meta, asked = hand_over_meta(source) or {}, first_step_training(cfg)
    watching = asked.pop('watching')
    _compare_images(source, meta, scenario)
    if meta.get('first_step'):
        _compare_training(source, meta['first_step'], asked)
        _compare_watching(source, meta['first_step'].get('watching', {}), watching)


def _compare_images(source: Path, meta: Mapping[str, Any], scenario: Scenario) -> None:
    """Refuse a step 0 that saw other images."""
    if meta.get('regime', scenario.regime) != scenario.regime:
        raise ValueError(f"{source} was trained in the regime '{meta['regime']}', this scenario is "
                         f"'{scenario.regime}': their steps 0 saw different images.")
    brings = list(scenario[0].brings)
    if meta.get('domains', brings) != brings:
        raise ValueError(f"{source} was trained on the domains {meta['domains']}, step 0 of this scenario is {brings}.")
    images = plain(scenario.images(0))
    if meta.get('step') == 0 and meta.get('images', images) != images:
        raise ValueError(f"{source} was trained on images that were chosen by {meta['images'] or 'the regime'}, those of "
                         f"this scenario's step 0 are by {images or 'the regime'}.")


def _compare_training(source: Path, trained: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """Refuse a step 0 of other losses; tell of smaller differences."""
    for key in asked:
        if trained.get(key) == asked[key]:
            continue
        told = f'{source} was trained with {key}={trained.get(key)!r}, this method trains step 0 with {asked[key]!r}'
        if key in ('loss_decode', 'losses', 'unknown', 'classifier'):
            raise ValueError(f'{told}; leave --first-step-from out, or name a run of the same method.')
        say(f'note: {told}')


def _compare_watching(source: Path, trained: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """Refuse a step 0 at which a part did not gather what it needs."""
    for name, part in asked.items():
        if trained.get(name) != part:
            raise ValueError(f'{source} was trained without {name}={part!r}, which gathers at step 0 what later steps '
                             'need; leave --first-step-from out, or name a run that has it.')
