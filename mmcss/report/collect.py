"""What runs have left in their work_dirs, read into values."""
from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np
from mmengine.config import Config

from ..evaluation import step_means
from ..files import PathLike, read_json

Colour = Tuple[int, ...]
NamedDir = Tuple[Optional[str], Path]


@dataclass(frozen=True)
class Step:
    """A finished step.

    Attributes:
        step: Its number.
        entering: The classes, or domains, that entered.
        means: ``old``, ``new`` and ``all``, in percent; None where there are no such classes.
        num_test_images: How many images it was tested on.
        classes: The seen classes in learning order.
        iou: IoU of each class in percent; None where it is undefined or not scored.
        accuracy: Likewise, the share of its pixels that were found.
        colours: RGB of each class; empty where the run has stored none.
        confusion: ``[C, C]`` pixels by label (row) and prediction; None where the run has stored none.
        training: What was logged of its iterations, in order; ``step`` is the iteration.
        seconds: How long it took; None where it was trained elsewhere, or by an earlier version.
        versions: Of mmcss and what it stands on.
        config: The text of its config, empty where there is none.
    """

    step: int
    entering: Tuple[str, ...]
    means: Mapping[str, Optional[float]]
    num_test_images: int
    classes: Tuple[str, ...]
    iou: Tuple[Optional[float], ...]
    accuracy: Tuple[Optional[float], ...]
    colours: Tuple[Colour, ...]
    confusion: Optional[np.ndarray]
    training: Tuple[Mapping[str, float], ...]
    seconds: Optional[float]
    versions: Mapping[str, str]
    config: str

    @property
    def memory(self) -> Optional[float]:
        """The most memory of a GPU that was logged, in MiB; None without one."""
        return max((entry['memory'] for entry in self.training if 'memory' in entry), default=None)


@dataclass(frozen=True)
class Run:
    """A run with its finished steps.

    Attributes:
        name: Tells it from the other runs.
        method: The same for runs that differ in their seed or class order alone.
        work_dir: Its folder.
        seed: Of its random numbers; None where it is not stored.
        results: ``results.json``: protocol, scenario, matrix, average, forgetting.
        steps: The finished steps.
    """

    name: str
    method: str
    work_dir: Path
    seed: Optional[int]
    results: Mapping[str, Any]
    steps: Tuple[Step, ...]

    @property
    def last(self) -> Step:
        """The last finished step."""
        return self.steps[-1]

    @property
    def scores(self) -> Dict[str, Optional[float]]:
        """``old``, ``new`` and ``all`` of the last step, ``average`` over steps, and mean ``forgetting``."""
        return dict(self.last.means, average=self.results['average'], forgetting=self.results['mean_forgetting'])

    @property
    def kind(self) -> str:
        """What enters at each step: 'classes' or 'domains'."""
        return 'domains' if self.results['matrix_of'] == 'domain' else 'classes'

    @property
    def scenario(self) -> str:
        """The number of classes (domains) that enter at each step: '5-1-1-1 classes, overlapped'."""
        background = self.results['scenario'][0][0] == 'background'
        entering = [len(names) for names in self.results['scenario']]
        counts = '-'.join(map(str, [entering[0] - background, *entering[1:]]))
        return f'{counts} {self.kind}, {self.results["steps"][0]["regime"]}'

    @property
    def colours(self) -> Dict[str, Colour]:
        """RGB of each class."""
        return dict(zip(self.last.classes, self.last.colours))


def read_runs(work_dirs: Sequence[NamedDir]) -> List[Run]:
    """Read runs.

    Args:
        work_dirs: Each with a name or None, which is then found: runs of one name are of one method.

    Raises:
        FileNotFoundError: A folder has no results.
        ValueError: A folder is given twice, or a file is damaged.
    """
    folders = [work_dir for _, work_dir in work_dirs]
    tails = distinct_tails(folders)
    given = Counter(name for name, _ in work_dirs)
    names = [tail if name is None else name if given[name] == 1 else f'{name} ({tail})'
             for (name, _), tail in zip(work_dirs, tails)]
    methods: Dict[str, str] = {}
    return [read_run(work_dir, name, stated or methods.setdefault(_kind(work_dir), name))
            for (stated, work_dir), name in zip(work_dirs, names)]


def distinct_tails(folders: Sequence[Path]) -> List[str]:
    """The last parts of folders, as many as tell them apart; a ValueError if a folder is there twice."""
    whole = [folder.resolve() for folder in folders]
    twice = [str(folder) for folder, number in Counter(whole).items() if number > 1]
    if twice:
        raise ValueError(f'got {twice[0]} twice; give each run once.')
    length = 1
    while len({folder.parts[-length:] for folder in whole}) < len(whole):
        length += 1
    return ['/'.join(folder.parts[-length:]) for folder in whole]


def read_run(work_dir: PathLike, name: str, method: str) -> Run:
    """Read a run; errors as in :func:`read_runs`."""
    work_dir = Path(work_dir)
    results = _results(work_dir)
    steps = tuple(_read_step(work_dir, results, index) for index in range(len(results['steps'])))
    return Run(name, method, work_dir, _seed(work_dir), results, steps)


def newest_config(folder: Path) -> Optional[Path]:
    """The config of a step's last training or test, as MMEngine has written it; None if there is none."""
    return max(folder.glob('*/vis_data/config.py'), default=None)


def _results(work_dir: Path) -> Dict[str, Any]:
    path = work_dir / 'results.json'
    if not path.is_file():
        raise FileNotFoundError(f'there is no {path}: {work_dir} is no work_dir of a run, or none of its steps is finished.')
    return read_json(path)


def _read_step(work_dir: Path, results: Mapping[str, Any], index: int) -> Step:
    summary, folder = results['steps'][index], work_dir / f'step_{index}'
    record, result = (read_json(path) if path.is_file() else {} for path in (folder / 'step.json', folder / 'result.json'))
    if any(result.get(key) != summary.get(key) for key in ('hand_over', 'protocol')):
        result = {}  # of a later test under another protocol, say
    classes = tuple(summary['classes'])
    undefined = [None] * len(classes)
    scored = result.get('scored', [True] * len(classes))
    ious = result.get('IoU') or [results['matrix'].get(name, undefined)[index] for name in classes]
    confusion = result.get('confusion')
    config = newest_config(folder)
    return Step(
        step=index,
        entering=tuple(results['scenario'][index]),
        means=step_means(summary),
        num_test_images=summary['num_test_images'],
        classes=classes,
        iou=tuple(iou if shown else None for iou, shown in zip(ious, scored)),
        accuracy=tuple(value if shown else None for value, shown in zip(result.get('Acc', undefined), scored)),
        colours=tuple(map(tuple, result.get('palette') or ())),
        confusion=None if confusion is None else np.array(confusion),
        training=_training(folder),
        seconds=record.get('seconds'),
        versions=record.get('versions', {}),
        config=config.read_text() if config else '')


def _training(folder: Path) -> Tuple[Mapping[str, float], ...]:
    """What was logged of a step's iterations; those that were run again after a kill are there once."""
    entries: Dict[int, Mapping[str, float]] = {}
    for path in sorted(folder.glob('*/vis_data/scalars.json')):
        for line in path.read_text().splitlines():
            entry = _entry(line)
            if 'loss' in entry and 'step' in entry:
                entries[entry['step']] = entry
    return tuple(entries[number] for number in sorted(entries))


def _entry(line: str) -> Dict[str, Any]:
    """A line of a log; empty for one that a kill has cut off."""
    try:
        entry = json.loads(line)
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) else {}


def _seed(work_dir: Path) -> Optional[int]:
    path = newest_config(work_dir / 'step_0')
    if path is None:
        return None
    return Config.fromfile(str(path), import_custom_modules=False).get('randomness', {}).get('seed')


def _kind(work_dir: Path) -> str:
    """What runs have in common that differ in their seed or class order alone."""
    results = _results(work_dir)
    path = work_dir / f'step_{len(results["steps"]) - 1}' / 'step.json'
    record = read_json(path) if path.is_file() else dict(method=str(work_dir))  # of an earlier version: a kind of its own
    return json.dumps([record.get(key) for key in ('method', 'settings', 'regime')]
                      + [results['profile'], results['protocol'], list(map(len, results['scenario']))])
