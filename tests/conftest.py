import pytest
from mmengine.registry import init_default_scope

from tests.tiny import make_data


@pytest.fixture(scope='session')
def tiny_data(tmp_path_factory):
    """Folder of the tiny data set."""
    return make_data(tmp_path_factory.mktemp('tiny'))


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """Presence tables of tests stay out of the user's cache."""
    monkeypatch.setenv('MMCSS_CACHE', str(tmp_path_factory.getbasetemp() / 'cache'))


@pytest.fixture(autouse=True)
def default_scope():
    """Types are looked up in MMSegmentation's registries, whatever a test before has left."""
    init_default_scope('mmseg')
