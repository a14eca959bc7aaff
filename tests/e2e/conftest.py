import pytest

from tests.e2e.running import run
from tests.tiny import tiny_config


@pytest.fixture(scope='session')
def plop_run(tiny_data, tmp_path_factory):
    """Three steps of PLOP in one process."""
    work_dir = tmp_path_factory.mktemp('plop')
    results = run(tiny_config(tiny_data, work_dir))
    return work_dir, results
