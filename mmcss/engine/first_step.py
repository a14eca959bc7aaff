"""A trained step 0 from elsewhere: the hand-over of another run, or a checkpoint of MMSegmentation itself."""
from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence

import torch
from mmengine.fileio import list_from_file
from torch import Tensor

from ..datasets import BACKGROUND
from ..files import PathLike, plain, written_whole
from ..models import load_hand_over, save_hand_over
from ..models.hand_over import NoHandOver, tensors_id
from ..models.part_configs import DECODE_LOSSES, PARTS
from ..scenario import Scenario
from ..session.part_states import part_file
from .distributed import print_once
from .folders import StepFolder
from .plain_checkpoints import load_from_plain_file
from .typed_settings import Settings

RECIPE = ("A model trained by MMSegmentation becomes step 0 if the classes of the scenario's step 0 are in the order of its "
          'channels (scenario.steps=[[...], [...]]), the first of them is the background or it has none, and the model is the '
          'same. Its class names are read from the checkpoint, or given by --classes.')
CLASSIFIER = re.compile(r'(^|\.)conv_seg\.(weight|bias)$')


def find_first_step(source: PathLike) -> Path:
    """The hand-over: a file itself, that of a work_dir, or the last checkpoint in a work_dir of MMSegmentation's own."""
    source = Path(source)
    pointer = source / 'last_checkpoint'
    if pointer.is_file() and not (source / 'step_0').is_dir():
        return source / Path(pointer.read_text(errors='replace').strip()).name
    return StepFolder(source, 0).hand_over if source.is_dir() else source


def load_first_step(source: Path, classes: Sequence[str], names: Optional[Sequence[str]] = None) -> Dict[str, Any]:
    """The hand-over, or checkpoint of MMSegmentation, of a trained step 0.

    Args:
        classes: The classes of step 0, in learning order.
        names: The classes of a checkpoint that does not contain them, in the
            order of its channels; or a file with one name per line.

    Returns:
        As :func:`load_hand_over`; with a background (:func:`with_background`) if the checkpoint has none.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: It can't be taken over.
    """
    try:
        return load_hand_over(source, classes)
    except NoHandOver:
        checkpoint = load_from_plain_file(str(source), 'cpu')
    state = _state_dict(source, checkpoint)
    meta = checkpoint.get('meta') if isinstance(checkpoint.get('meta'), Mapping) else {}
    known = _listed_names(names) or _names_in(meta)
    if not known:
        raise ValueError(f'{source} is a checkpoint of MMSegmentation or another tool, and does not contain the names '
                         f'of its classes. Give them: --classes {" ".join(classes)} (those of step 0). {RECIPE}')
    if classes[0] == BACKGROUND and known == list(classes[1:]):
        warnings.warn(f'{source} has no background. It gets one, the mean of the other logits, which is never predicted before '
                      'the next step has learned it.')
        state, known = with_background(state, len(known)), list(classes)
    if known != list(classes):
        raise ValueError(f'{source}, a checkpoint of MMSegmentation: got {len(known)} classes, {known}, expected the '
                         f'{len(classes)} of step 0, {list(classes)}. {RECIPE}')
    return dict(state_dict=state, meta=dict(id=tensors_id(state), classes=known))


def _state_dict(source: Path, checkpoint: Any) -> Dict[str, Tensor]:
    state = checkpoint.get('state_dict', checkpoint) if isinstance(checkpoint, Mapping) else None
    if not isinstance(state, Mapping) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f'{source} is neither a hand-over of mmcss nor a checkpoint of MMSegmentation: it has no '
                         'state_dict.')
    return {name.removeprefix('module.'): value for name, value in state.items()}


def _listed_names(names: Optional[Sequence[str]]) -> List[str]:
    if isinstance(names, str) or names is not None and len(names) == 1 and Path(names[0]).is_file():
        names = list_from_file(names if isinstance(names, str) else names[0])
    return [name.strip() for name in names or () if name.strip()]


def _names_in(meta: Mapping[str, Any]) -> List[str]:
    """The class names in the metadata of a checkpoint of MMSegmentation, 1.x or older."""
    dataset_meta = meta.get('dataset_meta') or {}
    return list(dataset_meta.get('classes') or dataset_meta.get('CLASSES') or meta.get('CLASSES') or [])


def read_first_step(source: Path, settings: Settings, scenario: Scenario, model: Mapping[str, Tensor]) -> Dict[str, Any]:
    """A trained step 0 that a run may go on from.

    Args:
        source: The hand-over file, or a checkpoint of MMSegmentation.
        settings, scenario: Those of the run.
        model: State dict of the run's model at step 0.

    Returns:
        As :func:`load_hand_over`.

    Raises:
        ValueError: It has other classes or another model, or was trained on
            other images or in another way.
        FileNotFoundError: It, or the state of one of its parts, is missing.
    """
    hand_over = load_first_step(source, scenario[0].seen, settings.run.classes)
    check_fits(source, hand_over['state_dict'], model)
    check_first_step(source, hand_over['meta'], settings, scenario)
    missing = [str(path) for path in _part_files(source, settings) if not path.is_file()]
    if missing:
        raise FileNotFoundError(f'{", ".join(missing)}, gathered while step 0 was trained, is not beside {source.name}; '
                                'leave --first-step-from out, or name a complete folder.')
    return hand_over


def with_background(state: Mapping[str, Tensor], num_classes: int) -> Dict[str, Tensor]:
    """The state dict of a model without background, with a first row for it.

    The mean of the other rows gives the mean of their logits, which is never the largest: the model predicts what it did.
    Rows are those of the classifiers (``conv_seg``); other heads stay as they are, and don't fit the config's model then.
    """
    return {name: torch.cat((tensor.mean(0, keepdim=True), tensor))
            if CLASSIFIER.search(name) and len(tensor) == num_classes else tensor for name, tensor in state.items()}


def write_first_step(source: Path, hand_over: Mapping[str, Any], folder: StepFolder, settings: Settings) -> None:
    """Copy what :func:`read_first_step` gave into a folder, so that a work_dir needs no other."""
    for path in _part_files(source, settings):
        with written_whole(part_file(folder.hand_over, path.stem)) as file:
            file.write(path.read_bytes())
    save_hand_over(folder.hand_over, hand_over['state_dict'], dict(hand_over['meta'], parent=None))


def _part_files(source: Path, settings: Settings) -> List[Path]:
    return [part_file(source, part) for part in first_step_training(settings)['watching']]


def check_fits(source: Path, state: Mapping[str, Tensor], model: Mapping[str, Tensor]) -> None:
    """Raise ValueError unless the tensors of a step 0 have the names and shapes of the config's ``model``."""
    shapes, expected = ({name: tuple(value.shape) for name, value in tensors.items()} for tensors in (state, model))
    wrong = [f'{name} {shapes.get(name, "missing")}, expected {expected.get(name, "none")}'
             for name in sorted(shapes.keys() | expected.keys()) if shapes.get(name) != expected.get(name)]
    if wrong:
        more = f' and {len(wrong) - 4} more' if len(wrong) > 4 else ''
        raise ValueError(f"{source} does not fit the config's model at step 0: {'; '.join(wrong[:4])}{more}. {RECIPE}")


def check_first_step(source: Path, meta: Mapping[str, Any], settings: Settings, scenario: Scenario) -> None:
    """Make sure that a run may continue from a trained step 0, by its metadata; print notes on minor differences.

    Raises:
        ValueError: It was trained on other images, or in another way.
    """
    if meta.get('regime', scenario.regime) != scenario.regime:
        raise ValueError(f"{source} was trained in the regime '{meta['regime']}', this scenario is "
                         f"'{scenario.regime}': their steps 0 have different images.")
    domains = list(scenario[0].entering)
    if meta.get('domains', domains) != domains:
        raise ValueError(f"{source} was trained on the domains {meta['domains']}, step 0 of this scenario has {domains}.")
    images = plain(scenario.images(0))
    if meta.get('step') == 0 and meta.get('images', images) != images:
        raise ValueError(f"{source} was trained on images that were chosen by {meta['images'] or 'the regime'}, those of "
                         f"this scenario's step 0 are by {images or 'the regime'}.")
    if meta.get('first_step'):
        _compare_training(source, meta['first_step'], first_step_training(settings))


def _compare_training(source: Path, trained: Mapping[str, Any], expected: Dict[str, Any]) -> None:
    """Refuse a step 0 of other losses, or without a part that has to gather there; print notes on minor differences."""
    watching = expected.pop('watching')
    for key, value in expected.items():
        if trained.get(key) == value:
            continue
        difference = f'{source} was trained with {key}={trained.get(key)!r}, this method trains step 0 with {value!r}'
        if key in ('loss_decode', 'losses', 'unknown', 'classifier'):
            raise ValueError(f'{difference}; leave --first-step-from out, or name a run of the same method.')
        print_once(f'note: {difference}')
    for name, part in watching.items():
        if trained.get('watching', {}).get(name) != part:
            raise ValueError(f'{source} was trained without {name}={part!r}, which gathers at step 0 what later steps '
                             'need; leave --first-step-from out, or name a run that has it.')


def first_step_training(settings: Settings) -> Dict[str, Any]:
    """How a method trains step 0, which runs that share a step 0 should have in common.

    ``watching`` are the parts that gather something there and change nothing,
    without their ``loss_weight``, which matters only in later steps.
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
