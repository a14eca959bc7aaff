"""Checkpoints of MMSegmentation itself, taken for what a step 0 hands over."""
from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence

from mmengine.fileio import list_from_file
from torch import Tensor

from ..models.hand_over import NoHandOver, load_hand_over, tensors_id
from .plain_checkpoints import load_from_plain_file

RECIPE = ("A model that MMSegmentation trained becomes step 0 where the scenario's step 0 brings its classes in the order of "
          'its channels (scenario.steps=[[...], [...]]), the first one is the background, and the model is the same. Its '
          'class names are read from the checkpoint, or given by --classes.')


def load_first_step(source: Path, classes: Sequence[str], names: Optional[Sequence[str]] = None) -> Dict[str, Any]:
    """The hand-over, or checkpoint of MMSegmentation, of a trained step 0.

    Args:
        source: The file.
        classes: The classes of step 0, in learning order.
        names: The classes of the checkpoint, in the order of its channels, if
            it does not contain them; or a file with one name a line.

    Returns:
        As :func:`load_hand_over`.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It can't be taken over; says what to do.
    """
    try:
        return load_hand_over(source, classes)
    except NoHandOver:
        checkpoint = load_from_plain_file(str(source), 'cpu')
    state = _state_dict(source, checkpoint)
    meta = checkpoint.get('meta') if isinstance(checkpoint.get('meta'), Mapping) else {}
    known = _names(names) or _written_classes(meta)
    if not known:
        raise ValueError(f'{source} is a checkpoint of MMSegmentation or another tool, and does not say the names of its '
                         f'classes. Give them: --classes {" ".join(classes)} (these are the classes of step 0). {RECIPE}')
    if known != list(classes):
        raise ValueError(f'{source}, a checkpoint of MMSegmentation: got {len(known)} classes, {known}, expected the '
                         f'{len(classes)} of step 0, {list(classes)}. {RECIPE}')
    return dict(state_dict=state, meta=dict(id=tensors_id(state), classes=known))


def check_fits(source: Path, state: Mapping[str, Tensor], model: Mapping[str, Tensor]) -> None:
    """Make sure that a step 0's tensors are those of the config's model.

    Args:
        source: Where they are from.
        state: They.
        model: State dict of the model of step 0.

    Raises:
        ValueError: They are not.
    """
    shapes, expected = ({name: tuple(value.shape) for name, value in tensors.items()} for tensors in (state, model))
    wrong = [f'{name} {shapes.get(name, "missing")}, expected {expected.get(name, "none")}'
             for name in sorted(shapes.keys() | expected.keys()) if shapes.get(name) != expected.get(name)]
    if wrong:
        more = f' and {len(wrong) - 4} more' if len(wrong) > 4 else ''
        raise ValueError(f"{source} does not fit the config's model at step 0: {'; '.join(wrong[:4])}{more}. {RECIPE}")


def _state_dict(source: Path, checkpoint: Any) -> Dict[str, Tensor]:
    state = checkpoint.get('state_dict', checkpoint) if isinstance(checkpoint, Mapping) else None
    if not isinstance(state, Mapping) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f'{source} is neither a hand-over of mmcss nor a checkpoint of MMSegmentation: it has no state_dict.')
    return {name[len('module.'):] if name.startswith('module.') else name: value for name, value in state.items()}


def _names(names: Optional[Sequence[str]]) -> List[str]:
    if names is None:
        return []
    if isinstance(names, str) or len(names) == 1 and Path(names[0]).is_file():
        names = list_from_file(names if isinstance(names, str) else names[0])
    return [name.strip() for name in names if name.strip()]


def _written_classes(meta: Mapping[str, Any]) -> List[str]:
    """The class names that MMSegmentation, of this or an earlier age, has written into a checkpoint."""
    noted = meta.get('dataset_meta') or {}
    return list(noted.get('classes') or noted.get('CLASSES') or meta.get('CLASSES') or [])
