"""An experiment with another scenario, model or profile than its file says."""
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
from .profiles import PROFILES

# Folders of the parts of an experiment.
PARTS = ('models', 'scenarios', 'schedules', 'methods')


def compose(path: PathLike, scenario: Optional[str] = None, model: Optional[str] = None,
            profile: Optional[str] = None) -> Config:
    """Read an experiment's config, with another scenario, model or profile in it.

    An experiment's file lists its parts in ``_base_``: files of ``models``,
    ``scenarios``, ``schedules`` and ``methods``, and a runtime. Those named
    here take the place of its own. With them goes what the table of the parts'
    folder (``combinations.py``) says of the new combination: its schedule,
    runtime, variant of the method, and settings. A part that is another one
    than the table's for the file's own combination was chosen, and stays.

    What the file says besides is merged last, as ever, and so is what files say
    that inherit from it. Only where a file reads as the table makes its
    combination, what it says comes from the table and is not its own.

    Args:
        path: The experiment's config; it may inherit from one.
        scenario: A file of ``scenarios`` by its name, or the path of a file.
        model: The same of ``models``.
        profile: 'paper' or 'official'.

    Returns:
        A config that goes by the name that its file would have: in ``path``'s
        own name scenario and model are exchanged, or put behind it, and so
        ``_official``.

    Raises:
        ValueError: There is no such file (names the nearest), the config lists
            none of that kind, or the table excludes the combination.
    """
    path = Path(path)
    if scenario is None and model is None and profile is None:
        return Config.fromfile(path)
    if profile not in (None, *PROFILES):
        raise ValueError(f'profile: got {profile!r}, valid are {", ".join(PROFILES)}.')
    cfg, name = (Config.fromfile(path), path.stem) if scenario is None and model is None else _exchanged(path, scenario, model)
    if profile is not None:
        cfg.profile = profile
        name = name.removesuffix('_official') + ('_official' if profile == 'official' else '')
    return Config(cfg._cfg_dict, cfg_text=cfg.text, filename=str(path.with_name(f'{name}.py')))


@dataclass(frozen=True)
class _File:
    """A config file; what it inherits, by absolute paths; its lines before and behind ``_base_``, and whether it has others."""

    path: Path
    bases: Tuple[str, ...]
    before: str
    behind: str
    has_own: bool

    def on(self, bases: Sequence[str]) -> str:
        """Its text, with other files to inherit from."""
        return f'{self.before}_base_ = {list(bases)!r}\n{self.behind}'


def _read(path: Path) -> _File:
    text = path.read_text()
    statements = ast.parse(text, str(path)).body
    node = next((node for node in statements if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == '_base_'), None)
    if node is None:
        return _File(path, (), text, '', bool(statements))
    inherited = ast.literal_eval(node.value)
    bases = tuple(base if '::' in base else str((path.parent / base).resolve())
                  for base in ([inherited] if isinstance(inherited, str) else inherited))
    lines = text.splitlines(keepends=True)
    return _File(path, bases, ''.join(lines[:node.lineno - 1]), ''.join(lines[node.end_lineno:]), len(statements) > 1)


def _kind(base: str) -> str:
    return Path(base).parent.name


def _lineage(path: Path, kinds: Collection[str]) -> List[_File]:
    """A file, and what it inherits down to the one that lists parts of these kinds; empty where none does."""
    if path.suffix != '.py':
        return []
    file = _read(path)
    if any(_kind(base) in kinds for base in file.bases):
        return [file]
    below = next(filter(None, (_lineage(Path(base), kinds) for base in file.bases if '::' not in base)), None)
    return [file, *below] if below else []


def _stem(parts: Mapping[str, str], kind: str) -> str:
    """What the table calls a part; '' where there is none, which only rows for all know."""
    return Path(parts.get(kind, '')).stem


def _find(name: str, folder: Path, option: str) -> str:
    """The file that a name or path means."""
    if name.endswith('.py'):
        if not Path(name).is_file():
            raise ValueError(f'{option}: there is no file {name}.')
        return str(Path(name).resolve())
    names = sorted(path.stem for path in folder.glob('*.py'))
    if name not in names:
        raise ValueError(f'{option}: there is no {name!r} in {folder}{did_you_mean(name, names)}; '
                         f'valid are {", ".join(names)}, or the path of a file.')
    return str(folder / f'{name}.py')


def _put(parts: Mapping[str, str], choice: Choice, chosen: Choice) -> Dict[str, str]:
    """The parts of ``choice`` where those of ``chosen`` stand: by their kinds, and ``others`` by their paths."""
    names = {'schedules': (chosen.schedule, choice.schedule), 'methods': (chosen.method, choice.method)}

    def put(kind: str, base: str) -> str:
        before, after = names.get(kind, (chosen.runtime, choice.runtime) if kind not in PARTS else (None, None))
        return str(Path(base).with_name(f'{after}.py')) if after and Path(base).stem == before else base

    return {kind: put(kind, base) for kind, base in parts.items()}


def _exchanged(path: Path, scenario: Optional[str], model: Optional[str]) -> Tuple[Config, str]:
    """An experiment with another scenario or model, and its name."""
    chosen_parts = {kind: value for kind, value in (('models', model), ('scenarios', scenario)) if value is not None}
    files = _lineage(path.absolute(), chosen_parts)
    parts = {_kind(base) if _kind(base) in PARTS else base: base for base in files[-1].bases} if files else {}
    missing = [kind for kind in chosen_parts if kind not in parts]
    if missing:
        raise ValueError(f'{path}: its _base_ lists no file of {" and of ".join(missing)} to be exchanged.')
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
        if files[-1].has_own and Config.fromfile(files[-1].path)._cfg_dict != Config.fromfile(layers.of(parts, chosen))._cfg_dict:
            below = layers.add(files[-1].on([below]))
        for file, inherited in zip(files[-2::-1], files[:0:-1]):
            below = layers.add(file.on([below if base == str(inherited.path) else base for base in file.bases]))
        return Config.fromfile(below), name


class _Layers:
    """Config files in a folder, each inheriting from the one before, all called by the experiment's name."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name, self.number = folder, name, 0

    def add(self, text: str) -> str:
        """Write a file, and give its path."""
        path = self.folder / str(self.number) / f'{self.name}.py'
        path.parent.mkdir()
        path.write_text(text)
        self.number += 1
        return str(path)

    def of(self, parts: Mapping[str, str], choice: Choice) -> str:
        """A file that lists parts, and one for each of the settings that go with them."""
        path = self.add(f'_base_ = {list(parts.values())!r}\n')
        for settings in choice.settings:
            assignments = '\n'.join(f'{key} = {value!r}' for key, value in settings.items())
            path = self.add(f'_base_ = {path!r}\n{assignments}\n')
        return path
