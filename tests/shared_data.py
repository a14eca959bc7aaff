"""Where tests find data that is too large or not free to be part of the project."""
import os
from pathlib import Path

import pytest

SHARED = Path(os.environ.get('MMCSS_TEST_DATA', Path(__file__).resolve().parents[2] / 'shared'))


def shared(*parts: str) -> Path:
    """A file or folder below the shared one; skips the test where it is absent."""
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip(f'{path} is absent; set MMCSS_TEST_DATA to the folder that holds {"/".join(parts)}')
    return path
