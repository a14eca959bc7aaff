"""What is remembered of a scenario's images."""
from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Callable, Dict, List, Literal, Mapping, Optional, Tuple, get_args

from ..files import PathLike, read_json, short, write_json
from ..scenario import Split

Labels = Literal['stored', 'seen', 'unshifted']
LABELS = get_args(Labels)


@dataclass(frozen=True)
class Source:
    """An image in its data set, and what tells it from others of that name.

    Args:
        image: Its file, as the data set named it.
        labels: Its label map.
        digest: Of the bytes of both (:func:`mmcss.datasets.places.digest_of`).
        values: The value in the label map of each class of the data set.
        saliency: Its saliency map, if the method had one.
    """

    image: str
    labels: str
    digest: str
    values: Dict[str, int]
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
    """

    leaf: Optional[int]
    name: str
    labelled: Tuple[str, ...]
    holds: Tuple[str, ...]
    image: Optional[str] = None
    labels: Optional[str] = None
    saliency: Optional[str] = None
    source: Optional[Source] = None

    @property
    def origin(self) -> Source:
        """The image in its data set, where that is none of the step's."""
        if self.source is None:
            raise ValueError(f'the exemplar {self.name} has neither leaf nor source.')
        return self.source


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
        """Write the memory as JSON, atomically; the label values of a data set stand in it once."""
        written = asdict(self)
        data_sets: List[Dict[str, int]] = []
        for one in written['exemplars']:
            if one['source'] is not None:
                values = one['source'].pop('values')
                if values not in data_sets:
                    data_sets.append(values)
                one['source']['data_set'] = data_sets.index(values)
        write_json(path, dict(written, data_sets=data_sets))

    @classmethod
    def load(cls, path: PathLike, split: Optional[Split] = None) -> ExemplarMemory:
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
            for one in memory.exemplars:
                _check_inside(path.parent, one)
            if split is not None:
                _check_classes(memory, split)
        except ValueError as error:
            step = path.parent.name.rpartition('step_')[2]
            raise ValueError(f'{path} can not be used: {error}. Bring the file back that the step has written, or train '
                             f'that step again (--step {step} --overwrite).') from error
        return memory


Check = Callable[[Any], bool]


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _is_optional(check: Check) -> Check:
    return lambda value: value is None or check(value)


def _are(check: Check) -> Check:
    return lambda value: isinstance(value, list) and all(map(check, value))


def _is_table(check: Check) -> Check:
    return lambda value: isinstance(value, dict) and all(map(check, value.values()))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


# What each field holds, and in which words.
_COUNT, _NAME, _NAMES = (_is_count, 'a number from 0 on'), (_is_name, 'a text'), (_are(_is_name), 'a list of texts')
_FILE = (_is_optional(_is_name), 'a text or null')
_MEMORY = dict(
    exemplars=(_are(lambda value: isinstance(value, dict)), 'a list of objects'), images_seen=_COUNT,
    classes_seen=(_is_table(_is_count), 'numbers by class'),
    confidence=(_is_table(_is_optional(_is_number)), 'numbers by class'),
    data_sets=(_are(_is_table(lambda value: _is_count(value) and value < 256)), 'a list of label values by class'))
_EXEMPLAR = dict(
    leaf=(_is_optional(_is_count), 'a number from 0 on, or null'), name=_NAME, labelled=_NAMES, holds=_NAMES, image=_FILE,
    labels=_FILE, saliency=_FILE, source=(_is_optional(lambda value: isinstance(value, dict)), 'an object or null'))
_SOURCE = dict(image=_NAME, labels=_NAME, digest=_NAME, data_set=_COUNT, saliency=_FILE)
_MAY_LACK = ('confidence', 'data_sets', 'source')  # in files of earlier versions


def _check_kinds(where: str, values: Any, kinds: Mapping[str, Tuple[Check, str]]) -> None:
    """Find what is missing or unknown in a part of the file, or of another kind."""
    if not isinstance(values, dict):
        raise ValueError(f'{where} is {short(values, 60)}, expected an object with {", ".join(kinds)}')
    missing = [key for key in kinds if key not in values and key not in _MAY_LACK]
    unknown = sorted(set(values) - set(kinds))
    if missing or unknown:
        raise ValueError(f'{where} lacks the keys {missing} and has the unknown ones {unknown}; valid are '
                         f'{", ".join(kinds)}')
    for key, value in values.items():
        check, expected = kinds[key]
        if not check(value):
            raise ValueError(f'{where}.{key} is {short(value, 60)}, expected {expected}')


def _parsed(values: Any) -> ExemplarMemory:
    _check_kinds('it', values, _MEMORY)
    data_sets = values.pop('data_sets', [])
    exemplars = []
    for number, one in enumerate(values['exemplars']):
        where = f'exemplars[{number}]'
        _check_kinds(where, one, _EXEMPLAR)
        source = one.pop('source', None)
        if source is not None:
            _check_kinds(f'{where}.source', source, _SOURCE)
            data_set = source.pop('data_set')
            if data_set >= len(data_sets):
                raise ValueError(f'{where}.source.data_set is {data_set}, but there are {len(data_sets)} data_sets')
            source = Source(values=data_sets[data_set], **source)
        elif one['leaf'] is None:
            raise ValueError(f'{where} has neither leaf nor source')
        if (one['image'] is None) != (one['labels'] is None):
            raise ValueError(f'{where} names a copy of its image or of its label map alone, expected both or neither')
        known: Dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in one.items()}
        exemplars.append(Exemplar(**known, source=source))
    return ExemplarMemory(**dict(values, exemplars=exemplars))


def _check_inside(folder: Path, one: Exemplar) -> None:
    """See that the copies of an exemplar lie in the folder of the file, links followed."""
    for key in ('image', 'labels', 'saliency'):
        name = getattr(one, key)
        if name is not None and folder.resolve() not in (folder / name).resolve().parents:
            raise ValueError(f'the {key} of {one.name} is {name}, which lies outside of its folder (links are followed)')


def _check_classes(memory: ExemplarMemory, split: Split) -> None:
    """See that all names are those of classes seen by now."""
    seen = split.foreground(split.seen)
    named = {f'{key} of {one.name}': getattr(one, key) for one in memory.exemplars for key in ('labelled', 'holds')}
    for where, names in {**named, 'classes_seen': memory.classes_seen, 'confidence': memory.confidence}.items():
        unknown = [name for name in names if name not in seen]
        if unknown:
            raise ValueError(f'{where} names the classes {unknown}, but those seen at step {split.step} are {list(seen)}')
