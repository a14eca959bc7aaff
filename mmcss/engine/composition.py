"""Replaces the scenario, model or profile of an experiment."""
from __future__ import annotations

import ast
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Collection, Dict, List, Mapping, Optional, Sequence, Tuple

from mmengine.config import Config

from ..arguments import did_you_mean
from ..files import PathLike
from .combinations import Choice, Combinations
from .packaged_files import config_path, without_own_scope
from .profiles import PROFILES

# Folders of the parts of an experiment.
PARTS = ('models', 'scenarios', 'schedules', 'methods')


def compose(path: PathLike, scenario: Optional[str] = None, model: Optional[str] = None,
            profile: Optional[str] = None) -> Config:
    """Read an experiment's config, with another scenario, model or profile in it.

    An experiment's file lists its parts in ``_base_``: files of ``models``, ``scenarios``, ``schedules`` and ``methods``,
    and a runtime. ``scenario`` and ``model`` replace the file's, and the table of combinations (``combinations.py`` in the
    parts' folder) adapts schedule, runtime, variant of the method, and settings. A part of the file that differs from the
    table's for its combination was chosen on purpose, and stays.

    Settings of the file itself, and of files that inherit from it, are merged last. Only where they equal those of the
    table for the file's combination they are taken for the table's, and replaced.

    Args:
        path: The experiment's config, or one that inherits from it; 'mmcss::plop/deeplabv3_r101_voc_15-1.py' is that of the
            package.
        scenario: Name of a file of ``scenarios``, or path of a file.
        model: Likewise, of ``models``.
        profile: 'paper' or 'official'.

    Returns:
        A config under the name that its file would have: that of ``path`` with scenario and model replaced or appended,
        and ``_official`` behind it.

    Raises:
        ValueError: There is no such file (names the nearest), the config lists
            none of that kind, or the table excludes the combination.
    """
    path = config_path(path)
    if profile not in (None, *PROFILES):
        raise ValueError(f'profile: got {profile!r}, valid are {", ".join(PROFILES)}.')
    exchanged = scenario is not None or model is not None
    cfg, name = _exchanged(path, scenario, model) if exchanged else (without_own_scope(Config.fromfile(path)), path.stem)
    if not exchanged and profile is None:
        return cfg
    if profile is not None:
        cfg.profile = profile
        name = name.removesuffix('_official') + ('_official' if profile == 'official' else '')
    return Config(cfg._cfg_dict, cfg_text=cfg.text, filename=str(path.with_name(f'{name}.py')))


@dataclass(frozen=True)
class _File:
    """A config file: absolute paths of its bases, its text before and behind ``_base_``, and whether it has settings."""

    path: Path
    bases: Tuple[str, ...]
    before: str
    behind: str
    has_settings: bool

    def on(self, bases: Sequence[str]) -> str:
        """Its text with other bases."""
        return f'{self.before}_base_ = {list(bases)!r}\n{self.behind}'


def _read(path: Path) -> _File:
    text = path.read_text()
    statements = ast.parse(text, str(path)).body
    node = next((node for node in statements if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == '_base_'), None)
    if node is None:
        return _File(path, (), text, '', bool(statements))
    inherited = ast.literal_eval(node.value)
    bases = tuple(_base(path, base) for base in ([inherited] if isinstance(inherited, str) else inherited))
    lines = text.splitlines(keepends=True)
    return _File(path, bases, ''.join(lines[:node.lineno - 1]), ''.join(lines[node.end_lineno:]), len(statements) > 1)


def _base(path: Path, base: str) -> str:
    """Absolute path of what a file inherits from; names of other packages' configs stay."""
    base = str(config_path(base))
    return base if '::' in base else str((path.parent / base).resolve())


def _kind(base: str) -> str:
    return Path(base).parent.name


def _lineage(path: Path, kinds: Collection[str]) -> List[_File]:
    """A file and its bases down to the one that lists parts of these kinds; empty where none does."""
    if path.suffix != '.py':
        return []
    file = _read(path)
    if any(_kind(base) in kinds for base in file.bases):
        return [file]
    below = next(filter(None, (_lineage(Path(base), kinds) for base in file.bases if '::' not in base)), None)
    return [file, *below] if below else []


def _stem(parts: Mapping[str, str], kind: str) -> str:
    """Name of a part in the table; '' where there is none, which only rows with '*' match."""
    return Path(parts.get(kind, '')).stem


def _find(name: str, folder: Path, option: str) -> str:
    """Path of the file for a name or path."""
    if name.endswith('.py'):
        if not Path(name).is_file():
            raise ValueError(f'{option}: got {name}, which is no file.')
        return str(Path(name).resolve())
    names = sorted(path.stem for path in folder.glob('*.py'))
    if name not in names:
        raise ValueError(f'{option}: got {name!r}, which is not in {folder}{did_you_mean(name, names)}; '
                         f'valid are {", ".join(names)}, or the path of a file.')
    return str(folder / f'{name}.py')


def _put(parts: Mapping[str, str], choice: Choice, chosen: Choice) -> Dict[str, str]:
    """Parts with those of ``chosen`` replaced by those of ``choice``; bases of no kind may be the runtime."""
    replaced = {'schedules': (chosen.schedule, choice.schedule), 'methods': (chosen.method, choice.method)}
    result = dict(parts)
    for kind, base in parts.items():
        before, after = replaced.get(kind, (None, None) if kind in PARTS else (chosen.runtime, choice.runtime))
        if after and Path(base).stem == before:
            result[kind] = str(Path(base).with_name(f'{after}.py'))
    return result


def _exchanged(path: Path, scenario: Optional[str], model: Optional[str]) -> Tuple[Config, str]:
    """An experiment with another scenario or model, and its new name."""
    chosen_parts = {kind: value for kind, value in (('models', model), ('scenarios', scenario)) if value is not None}
    files = _lineage(path.absolute(), chosen_parts)
    parts = {_kind(base) if _kind(base) in PARTS else base: base for base in files[-1].bases} if files else {}
    missing = [kind for kind in chosen_parts if kind not in parts]
    if missing:
        raise ValueError(f'{path}: _base_ lists no file of {" and of ".join(missing)} to replace.')
    folder = next(Path(parts[kind]).parent.parent for kind in PARTS if '::' not in parts.get(kind, '::'))
    table = Combinations(folder)
    new = dict(parts, **{kind: _find(value, folder / kind, f'--{kind[:-1]}') for kind, value in chosen_parts.items()})
    method = table.method_of(_stem(parts, 'methods'))
    chosen, choice = (table.choose(_stem(of, 'scenarios'), method, _stem(of, 'models')) for of in (parts, new))
    if choice.excluded:
        raise ValueError(f"{method} on {_stem(new, 'scenarios')} with {_stem(new, 'models')}: {choice.excluded}.")
    name = path.stem
    for kind in chosen_parts:
        before, after = _stem(parts, kind), _stem(new, kind)
        if before != after:
            name = name.replace(before, after) if before in name else f'{name}_{after}'
    with tempfile.TemporaryDirectory() as temporary:
        layers = _Layers(Path(temporary), name)
        below = layers.of(_put(new, choice, chosen), choice)
        lowest, from_table = files[-1], layers.of(parts, chosen)
        if lowest.has_settings and Config.fromfile(lowest.path)._cfg_dict != Config.fromfile(from_table)._cfg_dict:
            below = layers.add(lowest.on([below]))
        for file, inherited in zip(files[-2::-1], files[:0:-1]):
            below = layers.add(file.on([below if base == str(inherited.path) else base for base in file.bases]))
        return Config.fromfile(below), name


class _Layers:
    """Config files under the experiment's name, each of which inherits from the one before."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name, self.number = folder, name, 0

    def add(self, text: str) -> str:
        """Write a file and return its path."""
        path = self.folder / str(self.number) / f'{self.name}.py'
        path.parent.mkdir()
        path.write_text(text)
        self.number += 1
        return str(path)

    def of(self, parts: Mapping[str, str], choice: Choice) -> str:
        """A file that lists parts, below one for each of the choice's settings."""
        path = self.add(f'_base_ = {list(parts.values())!r}\n')
        for settings in choice.settings:
            assignments = '\n'.join(f'{key} = {value!r}' for key, value in settings.items())
            path = self.add(f'_base_ = {path!r}\n{assignments}\n')
        return path
