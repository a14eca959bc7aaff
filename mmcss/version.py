"""The version of mmcss; ``setup.py`` reads it from here."""

from contextlib import suppress
from importlib import metadata
from typing import Dict

__version__ = '0.1.0'

LIBRARIES = ('torch', 'mmengine', 'onedl-mmengine', 'mmcv', 'onedl-mmcv', 'mmsegmentation', 'onedl-mmsegmentation')


def versions() -> Dict[str, str]:
    """Versions of mmcss and what it stands on."""
    installed = {'mmcss': __version__}
    for name in LIBRARIES:
        with suppress(metadata.PackageNotFoundError):
            installed[name] = metadata.version(name)
    return installed
