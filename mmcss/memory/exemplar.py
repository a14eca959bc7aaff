"""What is remembered of a scenario's images: a value, and the file ``memory.json`` that holds it."""
from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Dict, List, Mapping, Optional, Tuple

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from ..arguments import Number
from ..files import PathLike, read_json, short, write_json
from ..scenario import Split

_STRICT = ConfigDict(extra='forbid', strict=True)
LabelValues = Dict[str, Annotated[int, Field(ge=0, le=255)]]  # of each class in a label map


@dataclass(frozen=True)
class Source:
    """An image in its data set, and what tells it from others of that name.

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
        leaf: Number of the stock data set that it is of; None where it is of
            none of the step's.
        name: Its file below that data set's image folder.
        labelled: The foreground classes whose labels it carries: those that
            were new when it was stored. Its other pixels are background, as
            they were then.
        holds: Those of them that it shows.
        image: File of a self-contained copy, relative to the folder of
            ``memory.json``; None for a reference into the data set.
        labels: Its label map, in learning order; None for a reference.
        saliency: Its saliency map, if there is one.
        source: The image in its data set; None before it is written, and in
            files of earlier versions, whose images go by leaf and name alone.

    Raises:
        ValueError: It is nowhere to be found.
    """

    __pydantic_config__ = _STRICT

    leaf: Optional[Number]
    name: str
    labelled: Tuple[str, ...]
    holds: Tuple[str, ...]
    image: Optional[str] = None
    labels: Optional[str] = None
    saliency: Optional[str] = None
    source: Optional[Source] = None

    def __post_init__(self) -> None:
        if self.leaf is None and self.source is None:
            raise ValueError('it has neither leaf nor source, expected one of them')
        if (self.image is None) != (self.labels is None):
            raise ValueError('it names a copy of its image or of its label map alone, expected both or neither')

    @property
    def origin(self) -> Source:
        """The image in its data set, where that is none of the step's."""
        if self.source is None:
            raise ValueError(f'the exemplar {self.name} goes by leaf and name alone.')
        return self.source


@dataclass
class Memory:
    """The remembered images at the end of a step.

    Args:
        exemplars: The images.
        images_seen: How many images all steps have brought so far.
        classes_seen: How many of them held each class.
        confidence: How sure the model was of each class, in 0 to 1, where
            the images to replay are drawn by that (online EM).
    """

    __pydantic_config__ = _STRICT

    exemplars: List[Exemplar] = field(default_factory=list)
    images_seen: Number = 0
    classes_seen: Dict[str, Number] = field(default_factory=dict)
    confidence: Dict[str, Optional[float]] = field(default_factory=dict)

    def save(self, path: PathLike) -> None:
        """Write the memory as JSON, atomically; the label values of a data set stand in it once."""
        written = asdict(self)
        data_sets: List[Dict[str, int]] = []
        for exemplar in written['exemplars']:
            if exemplar['source'] is not None:
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
            split: The step that replays them; None leaves the names of
                classes unchecked.

        Raises:
            FileNotFoundError: The step before left no memory.
            ValueError: The file is damaged, of other classes, or names files
                outside of its folder.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f'{path} is missing: the step before was trained without continual.memory. Run it with '
                                    'this config, or take step 0 over with --first-step-from.')
        try:
            memory = _parsed(read_json(path))
            for exemplar in memory.exemplars:
                _check_inside(path.parent, exemplar)
            if split is not None:
                _check_classes(memory, split)
        except ValueError as error:
            step = path.parent.name.rpartition('step_')[2]
            raise ValueError(f'{path} can not be used: {error}. Bring the file back that the step has written, or train '
                             f'that step again (--step {step} --overwrite).') from error
        return memory


def _parsed(values: Dict[str, Any]) -> Memory:
    missing = [key for key in ('exemplars', 'images_seen', 'classes_seen') if key not in values]
    if missing:
        raise ValueError(f'it lacks {", ".join(missing)}')
    try:
        _write_out(values['exemplars'], values.pop('data_sets', []))
        # As JSON, whose lists may be tuples.
        return TypeAdapter(Memory).validate_json(json.dumps(values))
    except ValidationError as error:
        first_error = error.errors(include_url=False)[0]
        place = ''.join(f'[{step}]' if isinstance(step, int) else f'.{step}' for step in first_error['loc'])
        raise ValueError(f'{place.lstrip(".") or "it"} is {short(first_error["input"], 60)}: {first_error["msg"]}') from None


def _write_out(exemplars: Any, data_sets: Any) -> None:
    """Put the label values of its data set into each source, in place; what else is wrong is left to be found."""
    for number, exemplar in enumerate(exemplars if isinstance(exemplars, list) else []):
        source = exemplar.get('source') if isinstance(exemplar, dict) else None
        if isinstance(source, dict) and 'data_set' in source:
            data_set = source.pop('data_set')
            if not isinstance(data_sets, list) or data_set not in range(len(data_sets)):
                raise ValueError(f'exemplars[{number}].source.data_set is {short(data_set, 60)}, but '
                                 f'data_sets is {short(data_sets, 60)}')
            source['values'] = data_sets[data_set]


def _check_inside(folder: Path, exemplar: Exemplar) -> None:
    """See that the copies of an exemplar lie in the folder of the file, links followed."""
    for key in ('image', 'labels', 'saliency'):
        name = getattr(exemplar, key)
        if name is not None and folder.resolve() not in (folder / name).resolve().parents:
            raise ValueError(f'the {key} of {exemplar.name} is {name}, which lies outside of its folder (links are followed)')


def _check_classes(memory: Memory, split: Split) -> None:
    """See that all names are those of classes seen by now."""
    seen = split.foreground(split.seen)
    named: Dict[str, Any] = {f'{key} of {exemplar.name}': getattr(exemplar, key)
                             for exemplar in memory.exemplars for key in ('labelled', 'holds')}
    tables: Mapping[str, Any] = dict(classes_seen=memory.classes_seen, confidence=memory.confidence)
    for where, names in {**named, **tables}.items():
        unknown = [name for name in names if name not in seen]
        if unknown:
            raise ValueError(f'{where} names the classes {unknown}, but those seen at step {split.step} are {list(seen)}')
