import pytest

from mmcss.engine.teardown import tear_down
from mmcss.hooks import MemoryHook
from tests.hooks.runners import leave_first_step, stream_config
from tests.hooks.streams import MEMORY, build


@pytest.fixture(scope='package')
def stream_dir(tiny_data, tmp_path_factory):
    """Where an untrained step 0 has left its model and six images."""
    folder = tmp_path_factory.mktemp('stream')
    leave_first_step(stream_config(tiny_data, folder, MEMORY), MemoryHook)
    return folder


@pytest.fixture
def runner(tiny_data, stream_dir):
    """Step 1 before its first batch, with an optimizer without momentum."""
    made = build(tiny_data, stream_dir, optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=.05)))
    yield made
    tear_down(made)
