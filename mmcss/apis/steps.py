"""The files of a trained step."""
from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Mapping, NamedTuple, Optional

import numpy as np
from mmengine.config import Config

from ..engine.stated_classes import leaf_configs, stated_names
from ..files import PathLike
from ..models import check_hand_over
from ..scenario import IGNORE
from ..visualization import trained_steps


class StepFiles(NamedTuple):
    """What a trained step is loaded from: a config for stock MMSegmentation, and the hand-over."""

    config: Path
    hand_over: Path


def find_step(source: PathLike, step: Optional[int] = None) -> StepFiles:
    """The files of a trained step.

    Args:
        source: The work_dir of a run; or a hand-over, ``step_k.pth``, beside which its ``deploy.py`` is, or the config that
            was exported with it (``step_k.py``).
        step: Its number in the work_dir; None for the last one that is trained.

    Raises:
        FileNotFoundError: It is not there.
        ValueError: A step of a single file is asked for.
    """
    source = Path(source)
    if source.is_file():
        if step is not None:
            raise ValueError(f'step: got {step} beside {source}, which is the file of one step. Leave the step out, or give '
                             'the work_dir of the run.')
        configs = [source.with_suffix('.py'), source.with_name('deploy.py')]
        config = next((path for path in configs if path.is_file()), None)
        if config is None:
            raise FileNotFoundError(f'{source} has no config beside it, expected {configs[1].name} (which its run has '
                                    f'written into the folder of the step) or {configs[0].name}. Copy it there, or give the '
                                    'work_dir of the run.')
        return StepFiles(config, source)
    folders = trained_steps(source)
    if step is not None and step not in folders:
        raise FileNotFoundError(f'{source} has no trained step {step}; the trained ones are '
                                f'{", ".join(map(str, folders))}. Choose one of them, or train step {step} first.')
    folder = folders[max(folders) if step is None else step]
    return StepFiles(folder / 'deploy.py', folder / f'{folder.name}.pth')


class TrainedStep(NamedTuple):
    """A trained step, read from its files.

    Attributes:
        config: For stock MMSegmentation.
        state_dict: The tensors that are handed over.
        meta: ``classes`` in the order of the model's channels, the RGB ``palette`` of them, and ``label_values``: what the
            files of the data set have for each, 255 for a class that they don't label.
    """

    config: Config
    state_dict: Mapping[str, Any]
    meta: Dict[str, Any]


def read_step(files: StepFiles) -> TrainedStep:
    """Read a trained step.

    Raises:
        ValueError: The hand-over is damaged.
    """
    hand_over, config = check_hand_over(files.hand_over), Config.fromfile(files.config)
    classes = list(hand_over['meta']['classes'])
    palette = (hand_over['meta'].get('dataset_meta') or {}).get('palette') or _some_colours(len(classes))
    values = config.get('label_values') or _stated_values(config, classes)
    return TrainedStep(config, hand_over['state_dict'], dict(
        classes=classes, palette=[list(colour) for colour in palette], label_values=list(values)))


def _stated_values(config: Config, classes: List[str]) -> List[int]:
    """The label values of classes by the data set of a config that was written before it had them.

    Their positions in the model where it does not have its data set either (one of the user's own type).
    """
    dataset = next(leaf_configs(config.test_dataloader.dataset))
    try:
        raw_ids = stated_names(dataset, 'test').raw_ids
    except ValueError:
        return list(range(len(classes)))
    return [raw_ids.get(name, IGNORE) for name in classes]


def _some_colours(number: int) -> List[List[int]]:
    """Colours for a model that came without: black for the first class, the others by chance, the same ones each time."""
    return [[0, 0, 0], *np.random.default_rng(0).integers(40, 256, (number - 1, 3)).tolist()]
