"""Holds the order of the rooms (who may import whom), and the limits of size and silence."""
from __future__ import annotations

import ast
import importlib
import inspect
import sys
import types
from pathlib import Path

import pytest

import mmcss

PACKAGE = Path(mmcss.__file__).parent
FILES = sorted(PACKAGE.rglob('*.py'))
ROOT = PACKAGE / '__init__.py'

# What each room may import of the package. Arrows point one way; the root, which imports all, stands outside.
MAY_IMPORT = {
    'scenario': set(),
    'stack': set(),
    'version': set(),
    'batches': {'scenario', 'arguments'},
    'parts': {'scenario', 'arguments', 'batches'},
    'files': set(),
    'random_state': set(),
    'arguments': {'files'},
    'losses': {'scenario', 'parts', 'arguments'},
    'datasets': {'scenario', 'files', 'arguments'},
    'evaluation': {'scenario', 'files'},
    'models': {'scenario', 'parts', 'losses', 'files', 'arguments'},
    'memory': {'scenario', 'parts', 'files', 'arguments', 'random_state', 'losses', 'datasets', 'evaluation', 'models', 'session'},
    'official': {'scenario', 'memory'},
    'session': {'scenario', 'parts', 'files', 'arguments', 'random_state', 'models', 'datasets', 'evaluation'},
    'hooks': {'scenario', 'parts', 'files', 'random_state', 'models', 'evaluation', 'datasets', 'losses', 'arguments', 'session',
              'memory'},
    'visualization': {'scenario', 'files', 'evaluation', 'models'},
    'report': {'files', 'evaluation', 'visualization'},
}
MAY_IMPORT['engine'] = {*MAY_IMPORT, 'engine'}
MAY_IMPORT['tables'] = {'files', 'arguments', 'version', 'evaluation', 'engine'}
MAY_IMPORT['checks'] = {'files', 'arguments', 'datasets', 'evaluation', 'engine'}
MAY_IMPORT['apis'] = {'scenario', 'files', 'models', 'visualization', 'engine'}
MAY_IMPORT['commands'] = {*MAY_IMPORT, 'commands'}
MAY_IMPORT['__main__'] = set()

MOST_LINES_OF_A_FILE = 300
MOST_LINES_OF_A_FUNCTION = 50  # without its docstring


def relative(path: Path) -> str:
    """A file's place in the package, which names its test."""
    return str(path.relative_to(PACKAGE))


def parts_of(path: Path) -> list[str]:
    """['mmcss', 'losses', 'mib'] of mmcss/losses/mib.py; a package goes by the name of its folder."""
    names = ['mmcss', *path.relative_to(PACKAGE).with_suffix('').parts]
    return names[:-1] if names[-1] == '__init__' else names


def room_of(path: Path) -> str:
    """The room that a file stands in."""
    return path.relative_to(PACKAGE).with_suffix('').parts[0]


def imported(source: str, module: list[str], is_package: bool) -> set[str]:
    """Full names of all that a module imports, wherever in it; of ``from a import b`` both a and a.b."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = module[:len(module) - node.level + is_package] if node.level else []
            start = '.'.join([*base, *([node.module] if node.module else [])])
            names.add(start)
            names.update(f'{start}.{alias.name}' for alias in node.names)
    return names


def imports_of(path: Path) -> set[str]:
    """Full names of all that a file imports."""
    return imported(path.read_text(), parts_of(path), path.name == '__init__.py')


def rooms_in(names: set[str]) -> set[str]:
    """The rooms of the package among imported names."""
    return {name.split('.')[1] for name in names if name.startswith('mmcss.')}


def test_the_reader_of_imports():
    source = '''
import numpy, mmcss.engine.plan as plan
from . import hand_over
from .growth import grow
from ..parts import Part
from ... import beyond
def late():
    from mmcss.hooks import ContinualHook
'''
    module = ['mmcss', 'models', 'targets', 'pseudo']
    names = imported(source, module, is_package=False)
    assert {'numpy', 'mmcss.engine.plan', 'mmcss.models.targets.hand_over', 'mmcss.models.targets.growth.grow',
            'mmcss.models.parts.Part', 'mmcss.beyond', 'mmcss.hooks.ContinualHook'} <= names
    assert rooms_in(names) == {'engine', 'models', 'beyond', 'hooks'}
    assert 'mmcss.models.targets.growth.grow' in imported(source, module[:-1], is_package=True)
    assert rooms_in(imported('from . import parts', ['mmcss'], is_package=True)) == {'parts'}


def test_every_room_has_its_place():
    rooms = {room_of(path) for path in FILES if path != ROOT}
    assert rooms - set(MAY_IMPORT) == set(), 'say in MAY_IMPORT what it may import'
    assert {'scenario', 'losses', 'models', 'hooks', 'engine'} <= rooms


@pytest.mark.parametrize('path', [path for path in FILES if path != ROOT], ids=relative)
def test_arrows_point_one_way(path):
    room, names = room_of(path), imports_of(path)
    assert rooms_in(names) - {room} - MAY_IMPORT[room] == set(), f'{room} may import {sorted(MAY_IMPORT[room])}'
    assert not {name.split('.')[0] for name in names} & {'tools', 'tests', 'configs'}
    assert 'mmcss' not in names, 'import from the room, not from the package'


def test_the_table_has_no_circle():
    """Only the rooms above it import engine, and rooms can be put in a row."""
    assert [room for room, others in MAY_IMPORT.items() if 'engine' in others] == [
        'engine', 'tables', 'checks', 'apis', 'commands']
    left = {room: others - {room} for room, others in MAY_IMPORT.items()}
    while left:
        free = [room for room, others in left.items() if not others & set(left)]
        assert free, f'a circle among {sorted(left)}'
        left = {room: others for room, others in left.items() if room not in free}


@pytest.mark.parametrize('path', [path for path in FILES if room_of(path) == 'scenario'], ids=relative)
def test_scenarios_are_plain_python_and_numpy(path):
    foreign = {name.split('.')[0] for name in imports_of(path)} - set(sys.stdlib_module_names)
    assert foreign <= {'numpy', 'mmcss'}


@pytest.mark.parametrize('path', FILES, ids=relative)
def test_files_stay_short(path):
    assert len(path.read_text().splitlines()) <= MOST_LINES_OF_A_FILE


def lines_without_docstring(function: ast.AST) -> int:
    """Lines of a function but for those of its docstring."""
    lines = function.end_lineno - function.lineno + 1
    if ast.get_docstring(function) is not None:
        lines -= function.body[0].end_lineno - function.body[0].lineno + 1
    return lines


@pytest.mark.parametrize('path', FILES, ids=relative)
def test_functions_stay_short(path):
    functions = [node for node in ast.walk(ast.parse(path.read_text()))
                 if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    lengths = {function.name: lines_without_docstring(function) for function in functions}
    assert {name: length for name, length in lengths.items() if length > MOST_LINES_OF_A_FUNCTION} == {}


def test_the_count_of_lines():
    function = ast.parse('def f(\n    x):\n    """One.\n\n    Two.\n    """\n    y = x\n    return y\n').body[0]
    assert lines_without_docstring(function) == 4


def undocumented(module: types.ModuleType) -> list[str]:
    """Public functions, classes and methods of a module without docstring; that of an overridden method counts."""
    found = [] if module.__doc__ else [module.__name__]
    for name, member in vars(module).items():
        if name.startswith('_') or getattr(member, '__module__', None) != module.__name__:
            continue
        if inspect.isfunction(member) and not member.__doc__:
            found.append(name)
        if inspect.isclass(member):
            found += [] if has_own_docstring(member) else [name]
            found += [f'{name}.{key}' for key, method in vars(member).items()
                      if not key.startswith('_') and inspect.isfunction(method)
                      and not any(getattr(vars(base).get(key), '__doc__', None) for base in member.__mro__)]
    return found


def has_own_docstring(cls: type) -> bool:
    """Whether a class says what it is; dataclasses get a signature for a docstring when they don't."""
    own = vars(cls).get('__doc__')
    return bool(own) and not own.startswith(f'{cls.__name__}(')


@pytest.mark.parametrize('path', FILES, ids=relative)
def test_all_that_is_public_has_a_docstring(path):
    missing = undocumented(importlib.import_module('.'.join(parts_of(path))))
    assert missing == []


def test_what_counts_as_documented():
    source = '''
from dataclasses import dataclass
@dataclass
class Silent:
    x: int
    def method(self): pass
    def _own(self): pass
class Good:
    """Says it."""
    def method(self):
        """Says it."""
class Child(Good):
    """Says it too."""
    def method(self): pass
def silent(): pass
def _own(): pass
'''
    module = types.ModuleType('shown', 'Says it.')
    exec(compile(source, 'shown', 'exec', dont_inherit=True), module.__dict__)
    assert undocumented(module) == ['Silent', 'Silent.method', 'silent']
    assert undocumented(types.ModuleType('shown')) == ['shown']
