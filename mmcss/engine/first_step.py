"""A trained step 0 that several runs share."""
from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Mapping

from torch import Tensor

from ..files import PathLike, plain, written_whole
from ..models import save_hand_over
from ..models.part_configs import DECODE_LOSSES, PARTS
from ..scenario import Scenario
from ..session.part_states import part_file
from .distributed import say
from .folders import StepFolder
from .stock_checkpoint import check_fits, load_first_step
from .typed_settings import Settings


def find_first_step(source: PathLike) -> Path:
    """The hand-over file, of a work_dir or itself; of a folder of MMSegmentation's own its last checkpoint."""
    source = Path(source)
    pointer = source / 'last_checkpoint'
    if pointer.is_file() and not (source / 'step_0').is_dir():
        return source / Path(pointer.read_text(errors='replace').strip()).name
    return StepFolder(source, 0).hand_over if source.is_dir() else source


def read_first_step(source: Path, settings: Settings, scenario: Scenario, model: Mapping[str, Tensor]) -> Dict[str, Any]:
    """A trained step 0 that a run may go on from.

    Args:
        source: The hand-over file, or a checkpoint of MMSegmentation.
        settings: Those of the run.
        scenario: Its scenario.
        model: State dict of its model at step 0.

    Returns:
        As :func:`load_hand_over`.

    Raises:
        ValueError: It is of other classes or another model, or was trained on
            other images or in another way.
        FileNotFoundError: It is missing, or what a part gathered while it
            was trained.
    """
    hand_over = load_first_step(source, scenario[0].seen, settings.run.classes)
    check_fits(source, hand_over['state_dict'], model)
    check_first_step(source, hand_over['meta'], settings, scenario)
    missing = [str(path) for path in _gathered(source, settings) if not path.is_file()]
    if missing:
        raise FileNotFoundError(f'{", ".join(missing)}, gathered while step 0 was trained, is not beside {source.name}; '
                                'leave --first-step-from out, or name a whole folder.')
    return hand_over


def write_first_step(source: Path, hand_over: Mapping[str, Any], folder: StepFolder, settings: Settings) -> None:
    """Copy what :func:`read_first_step` gave into a folder, so that a work_dir stands alone."""
    for path in _gathered(source, settings):
        copied = part_file(folder.hand_over, path.stem)
        copied.parent.mkdir(exist_ok=True)
        with written_whole(copied) as file:
            file.write(path.read_bytes())
    save_hand_over(folder.hand_over, hand_over['state_dict'], dict(hand_over['meta'], parent=None))


def _gathered(source: Path, settings: Settings) -> List[Path]:
    return [part_file(source, part) for part in first_step_training(settings)['watching']]


def check_first_step(source: Path, meta: Mapping[str, Any], settings: Settings, scenario: Scenario) -> None:
    """Make sure that a method may continue from a trained step 0; prints notes on minor differences.

    Args:
        source: Its file.
        meta: Its metadata.
        settings: Those of the run that continues from it.
        scenario: Its scenario.

    Raises:
        ValueError: It was trained on other images, or in another way.
    """
    if meta.get('regime', scenario.regime) != scenario.regime:
        raise ValueError(f"{source} was trained in the regime '{meta['regime']}', this scenario is "
                         f"'{scenario.regime}': their steps 0 saw different images.")
    domains = list(scenario[0].entering)
    if meta.get('domains', domains) != domains:
        raise ValueError(f"{source} was trained on the domains {meta['domains']}, step 0 of this scenario is {domains}.")
    images = plain(scenario.images(0))
    if meta.get('step') == 0 and meta.get('images', images) != images:
        raise ValueError(f"{source} was trained on images that were chosen by {meta['images'] or 'the regime'}, those of "
                         f"this scenario's step 0 are by {images or 'the regime'}.")
    if meta.get('first_step'):
        _compare_training(source, meta['first_step'], first_step_training(settings))


def _compare_training(source: Path, trained: Mapping[str, Any], asked: Dict[str, Any]) -> None:
    """Refuse a step 0 of other losses, or without a part that has to gather there; print notes on minor differences."""
    watching = asked.pop('watching')
    for key in asked:
        if trained.get(key) == asked[key]:
            continue
        difference = f'{source} was trained with {key}={trained.get(key)!r}, this method trains step 0 with {asked[key]!r}'
        if key in ('loss_decode', 'losses', 'unknown', 'classifier'):
            raise ValueError(f'{difference}; leave --first-step-from out, or name a run of the same method.')
        say(f'note: {difference}')
    for name, part in watching.items():
        if trained.get('watching', {}).get(name) != part:
            raise ValueError(f'{source} was trained without {name}={part!r}, which gathers at step 0 what later steps '
                             'need; leave --first-step-from out, or name a run that has it.')


def first_step_training(settings: Settings) -> Dict[str, Any]:
    """How a method trains step 0: what runs that share a step 0 should have in common.

    ``watching`` are the parts that gather something there and change nothing;
    without their ``loss_weight``, which counts in later steps.
    """
    method = settings.method(0)
    parts = {name: plain(part) for name, part in method.losses.items() if PARTS.class_of(part).from_first_step}
    watching = {name: {key: value for key, value in part.items() if key != 'loss_weight'}
                for name, part in parts.items() if PARTS.class_of(part).watches_first_step}
    loss = method.loss_decode
    return dict(
        loss_decode=plain(loss) if loss and DECODE_LOSSES.class_of(loss).from_first_step else None,
        losses={name: part for name, part in parts.items() if name not in watching},
        watching=watching,
        unknown=method.unknown.of if method.unknown else None,
        classifier=plain(method.classifier),
        average=method.average,
        ignore_as_background=method.ignore_as_background)
