"""What is remembered of a scenario's images."""
from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

from ..files import PathLike, read_json, write_json

LABELS = ('stored', 'seen', 'unshifted')


@dataclass(frozen=True)
class Exemplar:
    """One remembered image.

    Args:
        leaf: Number of the stock data set that it is of.
        name: Its file below that data set's image folder.
        labelled: The foreground classes whose labels it carries: those that
            were new when it was stored. Its other pixels are background, as
            they were then.
        holds: Those of them that it shows.
        image: File of a self-contained copy, relative to the folder of
            ``memory.json``; None for a reference into the data set.
        labels: Its label map, in learning order; None for a reference.
        saliency: Its saliency map, if there is one.
    """

    leaf: int
    name: str
    labelled: Tuple[str, ...]
    holds: Tuple[str, ...]
    image: Optional[str] = None
    labels: Optional[str] = None
    saliency: Optional[str] = None


@dataclass
class ExemplarMemory:
    """The remembered images at the end of a step.

    Args:
        exemplars: The images.
        images_seen: How many images all steps have brought so far.
        classes_seen: How many of them held each class.
        confidence: How sure the model was of each class, in 0 to 1, where
            the images to replay are drawn by that (online EM).
    """

    exemplars: List[Exemplar] = field(default_factory=list)
    images_seen: int = 0
    classes_seen: Dict[str, int] = field(default_factory=dict)
    confidence: Dict[str, float] = field(default_factory=dict)

    def save(self, path: PathLike) -> None:
        """Write the memory as JSON, atomically."""
        write_json(path, asdict(self))

    @classmethod
    def load(cls, path: PathLike) -> 'ExemplarMemory':
        """Read what :meth:`save` wrote.

        Raises:
            FileNotFoundError: The step before left no memory.
        """
        if not Path(path).is_file():
            raise FileNotFoundError(f'{path} is missing: the step before was trained without continual.memory. Run it with '
                                    'this config, or take step 0 over with --first-step-from.')
        values: Dict[str, Any] = read_json(path)
        values['exemplars'] = [
            Exemplar(**{key: tuple(value) if isinstance(value, list) else value for key, value in one.items()})
            for one in values['exemplars']
        ]
        return cls(**values)
