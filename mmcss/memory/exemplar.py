"""What is remembered of a scenario's images: a value, and the file ``memory.json`` that holds it."""
from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Dict, List, Optional, Tuple

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from ..arguments import ABSENT, Number
from ..files import PathLike, read_json, short, write_json
from ..scenario import Split

_STRICT = ConfigDict(extra='forbid', strict=True)
LabelValues = Dict[str, Annotated[int, Field(ge=0, le=255)]]  # of each class in a label map


@dataclass(frozen=True)
class Source:
    """An image in the data set it was chosen from, and what distinguishes it from others of that name.

    Args:
        image: Its file, as the data set named it.
        labels: Its label map.
        digest: Of the bytes of both (:func:`mmcss.memory.places.digest_of`).
        values: The value in the label map of each class of the data set.
        saliency: Its saliency map, if the method had one.
    """

    __pydantic_config__ = _STRICT

    image: str
    labels: str
    digest: str
    values: LabelValues
    saliency: Optional[str] = None


@dataclass(frozen=True)
class Exemplar:
    """One remembered image.

    Args:
        leaf: Number of the stock data set that has it; None if the step's
            have it no longer.
        name: Its file below that data set's image folder.
        labelled: The foreground classes whose labels it carries: those that
            were new when it was stored. Its other pixels are background, as
            they were then.
        holds: Those of them that it shows.
        image: File of a self-contained copy, relative to the folder of
            ``memory.json``; None for a reference into the data set.
        labels: Its label map, in learning order; None for a reference.
        saliency: Its saliency map, if there is one.
        source: The image in its data set; absent until it is written.

    Raises:
        ValueError: Only one of ``image`` and ``labels`` is there.
    """

    __pydantic_config__ = _STRICT

    leaf: Optional[Number]
    name: str
    labelled: Tuple[str, ...]
    holds: Tuple[str, ...]
    image: Optional[str] = None
    labels: Optional[str] = None
    saliency: Optional[str] = None
    source: Source = ABSENT

    def __post_init__(self) -> None:
        if (self.image is None) != (self.labels is None):
            raise ValueError('it names a copy of only its image or only its label map, expected both or neither')


@dataclass
class Memory:
    """The remembered images at the end of a step.

    Args:
        exemplars: The images.
        images_seen: How many images all steps have had so far.
        classes_seen: How many of them held each class.
        confidence: How sure the model was of each class, in 0 to 1, if
            replayed images are drawn by that (online EM).
    """

    __pydantic_config__ = _STRICT

    exemplars: List[Exemplar] = field(default_factory=list)
    images_seen: Number = 0
    classes_seen: Dict[str, Number] = field(default_factory=dict)
    confidence: Dict[str, Optional[float]] = field(default_factory=dict)

    def save(self, path: PathLike) -> None:
        """Write the memory of exemplars with sources as JSON, atomically, with the label values of each data set once."""
        written = asdict(self)
        data_sets: List[Dict[str, int]] = []
        for exemplar in written['exemplars']:
            values = exemplar['source'].pop('values')
            if values not in data_sets:
                data_sets.append(values)
            exemplar['source']['data_set'] = data_sets.index(values)
        write_json(path, dict(written, data_sets=data_sets))

    @classmethod
    def load(cls, path: PathLike, split: Optional[Split] = None) -> Memory:
        """Read what :meth:`save` wrote.

        Args:
            path: The file.
            split: The step that replays it, to check the names of classes.

        Raises:
            FileNotFoundError: The step before left no memory.
            ValueError: The file is damaged, of other classes, or names files
                outside its folder.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f'{path} is missing: the step before was trained without continual.memory. Run it with '
                                    'this config, or import step 0 by --first-step-from.')
        try:
            memory = _parsed(read_json(path))
            for exemplar in memory.exemplars:
                _check_files(path.parent, exemplar)
            if split is not None:
                _check_classes(memory, split)
        except ValueError as error:
            step = path.parent.name.rpartition('step_')[2]
            raise ValueError(f'{path} can not be used: {error}. Restore the file that the step wrote, or train that step '
                             f'again (--step {step} --overwrite).') from error
        return memory


def _parsed(values: Dict[str, Any]) -> Memory:
    missing = [key for key in ('exemplars', 'images_seen', 'classes_seen') if key not in values]
    if missing:
        raise ValueError(f'it lacks {", ".join(missing)}')
    try:
        _insert_values(values['exemplars'], values.pop('data_sets', None))
        # As JSON, whose lists may be tuples.
        return TypeAdapter(Memory).validate_json(json.dumps(values))
    except ValidationError as error:
        first_error = error.errors(include_url=False)[0]
        place = ''.join(f'[{step}]' if isinstance(step, int) else f'.{step}' for step in first_error['loc'])
        raise ValueError(f'{place.lstrip(".") or "it"} is {short(first_error["input"], 60)}: {first_error["msg"]}') from None


def _insert_values(exemplars: Any, data_sets: Any) -> None:
    """Put the label values of its data set into each source, in place; other mistakes are left to pydantic."""
    for number, exemplar in enumerate(exemplars if isinstance(exemplars, list) else []):
        source = exemplar.get('source') if isinstance(exemplar, dict) else None
        if isinstance(source, dict) and 'data_set' in source:
            data_set = source.pop('data_set')
            if not isinstance(data_sets, list) or data_set not in range(len(data_sets)):
                raise ValueError(f'exemplars[{number}].source.data_set is {short(data_set, 60)}, but '
                                 f'data_sets is {short(data_sets, 60)}')
            source['values'] = data_sets[data_set]


def _check_files(folder: Path, exemplar: Exemplar) -> None:
    """Make sure that an exemplar has a source, and that its copies lie in the folder of the file, links followed."""
    if exemplar.source is None:
        raise ValueError(f'{exemplar.name} has no source')
    for key in ('image', 'labels', 'saliency'):
        name = getattr(exemplar, key)
        if name is not None and folder.resolve() not in (folder / name).resolve().parents:
            raise ValueError(f'the {key} of {exemplar.name} is {name}, which lies outside of its folder (links are followed)')


def _check_classes(memory: Memory, split: Split) -> None:
    """Make sure that all names are those of classes seen by now."""
    seen = split.foreground(split.seen)
    tables: Dict[str, Any] = {f'{key} of {exemplar.name}': getattr(exemplar, key)
                              for exemplar in memory.exemplars for key in ('labelled', 'holds')}
    tables.update(classes_seen=memory.classes_seen, confidence=memory.confidence)
    for place, names in tables.items():
        unknown = [name for name in names if name not in seen]
        if unknown:
            raise ValueError(f'{place} names the classes {unknown}, but those seen at step {split.step} are {list(seen)}')
