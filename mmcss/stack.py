"""The OpenMMLab stack under mmcss: which distributions and versions, and the quirks of importing them.

Two distributions provide ``mmengine``, ``mmcv`` and ``mmseg``: the originals, and a maintained fork (onedl).

Only the standard library is imported at module level: ``setup.py`` reads ``STACKS`` and ``tools/setup.sh`` runs this
file, both before anything else is installed.
"""

from __future__ import annotations

import contextlib
import re
import runpy
import sys
import warnings
from collections.abc import Iterator
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Mapping, TextIO

STACKS: dict[str, dict[str, str]] = {
    'onedl': {
        'mmengine': 'onedl-mmengine>=0.10.12',
        'mmcv': 'onedl-mmcv>=2.3.6',
        'mmseg': 'onedl-mmsegmentation>=1.4.2',
    },
    'openmmlab': {
        'mmengine': 'mmengine>=0.10.7,<0.11',
        'mmcv': 'mmcv>=2.0.0rc4,<2.2.0',
        'mmseg': 'mmsegmentation>=1.2.2,<1.3',
    },
}
"""Stack name -> module -> requirement. The names are also those of the pip extras."""

NOISY_LINE = 'Could not import OneDL'
"""The fork prints this twice: a debug message about an optional data set, printed whatever the log level."""

NOISY_WARNINGS = (
    # mmcv without compiled ops (the fork's wheels); only a few heads need them, and they say so themselves.
    (UserWarning, 'Fail to import ``MultiScaleDeformableAttention``'),
    # mmcv with compiled ops, about its own re-export of the same module.
    (ImportWarning, '``MultiScaleDeformableAttention`` has been moved'),
    # torch about its own modules, which mmengine imports.
    (DeprecationWarning, r'`torch\.jit\.\w+` is deprecated'),
)


def installed_stack() -> str | None:
    """Name the stack whose distributions are installed.

    Returns:
        A key of ``STACKS``, or None when there is no distribution of either stack.

    Raises:
        ImportError: Both are there. They own the same files, so whichever came last has overwritten the other.
    """
    installed = {stack: [name for name in map(_name, requirements.values()) if _metadata_version(name)]
                 for stack, requirements in STACKS.items()}
    if all(installed.values()):
        raise ImportError(
            f'two OpenMMLab stacks are installed in one environment and overwrite each other: {installed}. Uninstall '
            f'both (pip uninstall {" ".join(sum(installed.values(), []))}), then install one: {_advice()}')
    return next((stack for stack, names in installed.items() if names), None)


def check_stack() -> str:
    """Make sure that mmengine, mmcv and mmseg are there, in versions that mmcss supports.

    Returns:
        The stack's name, a key of ``STACKS``.

    Raises:
        ImportError: Names the installed versions, the supported ones and the pip command to install these.
    """
    stack = installed_stack()
    wrong = _unsupported(stack)
    if stack is None and len(wrong) < len(STACKS['openmmlab']):
        stack = 'openmmlab'
    if wrong or stack is None:
        raise ImportError(_message(wrong, stack))
    return stack


def prepare_stack() -> None:
    """Make ``_base_ = ['mmseg::...']`` and ``['mmcss::...']`` work under both stacks, and import them without their noise.

    Runs when mmcss is imported, which must be before a config is parsed.
    """
    with _quiet_imports():
        from mmengine.config.utils import MODULE2PACKAGE
        import mmseg.datasets
        import mmseg.models  # noqa: F401
    MODULE2PACKAGE['mmcss'] = 'mmcss'
    if installed_stack() == 'onedl':
        # mmengine looks for a distribution 'mmsegmentation'; given a module's name it finds the module.
        MODULE2PACKAGE['mmseg'] = 'mmseg'


@contextlib.contextmanager
def _quiet_imports() -> Iterator[None]:
    """Drop ``NOISY_LINE`` and ``NOISY_WARNINGS``, and nothing else."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(_WithoutLine(sys.stdout, NOISY_LINE)):
        for category, message in NOISY_WARNINGS:
            warnings.filterwarnings('ignore', message, category)
        yield


class _WithoutLine:
    """A text stream that passes everything on at once, except one line.

    It passes on instead of collecting because a log handler made during an import keeps the stream it found.
    """

    def __init__(self, stream: TextIO, line: str) -> None:
        self._stream = stream
        self._line = line
        self._dropping = False

    def write(self, text: str) -> int:
        # print() writes the line and its end separately.
        drop = text.rstrip('\n') == self._line or (self._dropping and text == '\n')
        self._dropping = drop and not text.endswith('\n')
        return len(text) if drop else self._stream.write(text)

    def flush(self) -> None:
        self._stream.flush()

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


def _name(requirement: str) -> str:
    """'mmcv>=2.0,<2.2' -> 'mmcv'."""
    return re.split(r'[^\w-]', requirement)[0]


def _metadata_version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _version(module: str, requirement: str) -> str | None:
    """The version of a module, from its metadata or else its ``version.py``; None when it can't be imported.

    The module itself is not imported: mmseg's own version assertion would come before our message.
    """
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        return None
    version_file = Path(spec.origin).with_name('version.py')
    return _metadata_version(_name(requirement)) or (
        runpy.run_path(str(version_file))['__version__'] if version_file.exists() else 'an unknown version')


def _unsupported(stack: str | None) -> dict[str, str | None]:
    """Module -> version found (None: not installed), of the modules that are not as ``STACKS`` asks."""
    # Without metadata it can only be a source tree of the originals: the fork does not import without its metadata.
    requirements = STACKS[stack or 'openmmlab']
    versions = {module: _version(module, requirement) for module, requirement in requirements.items()}
    return {module: version for module, version in versions.items()
            if version is None or not _fits(version, requirements[module])}


def _fits(version: str, requirement: str) -> bool:
    from packaging.specifiers import SpecifierSet
    from packaging.version import InvalidVersion
    try:
        return SpecifierSet(requirement[len(_name(requirement)):]).contains(version, prereleases=True)
    except InvalidVersion:
        return False


def _message(wrong: Mapping[str, str | None], stack: str | None) -> str:
    lines = ['mmcss needs MMSegmentation and the libraries below it:']
    for module, version in wrong.items():
        supported = ' or '.join(STACKS[name][module] for name in ([stack] if stack else STACKS))
        lines.append(f'  {module}: found {version or "nothing"}, supported: {supported}')
    return '\n'.join([*lines, f'Install it with {_advice(stack)}'])


def _advice(stack: str | None = None) -> str:
    """The command that mends the stack; without a stack, the choice of both."""
    commands = ' or '.join(f"`pip install 'mmcss[{name}]'`" for name in ([stack] if stack else STACKS))
    return f'{commands}; in a checkout, with -e .[...] in place of mmcss[...], or by tools/setup.sh, which does everything.'


def _main() -> None:
    """For tools/setup.sh: print the installed stack's name, or fail where set-up would have to change it."""
    try:
        stack = installed_stack()
    except ImportError as error:
        sys.exit(str(error))
    wrong = {module: version for module, version in _unsupported(stack).items() if version} if stack else {}
    if wrong:
        sys.exit(_message(wrong, stack))
    print(stack or 'none')


if __name__ == '__main__':
    _main()
