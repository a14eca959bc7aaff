import pytest

from tests.untrained import write_step

# Learned in another order than that of the data set's numbers.
STEPS = dict(steps=[['white', 'blue'], ['red'], ['green']])


@pytest.fixture(scope='session')
def work_dir(tiny_data, tmp_path_factory):
    """A run with steps 0 and 1; don't change it."""
    folder = tmp_path_factory.mktemp('run')
    for step in (0, 1):
        write_step(tiny_data, folder, step, scenario=STEPS)
    return folder
