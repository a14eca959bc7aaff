import pytest

from tests.tiny import make_data


@pytest.fixture(scope='session')
def tiny_data(tmp_path_factory):
    """Folder of the tiny data set."""
    return make_data(tmp_path_factory.mktemp('tiny'))


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """Presence tables of tests stay out of the user's cache."""
    monkeypatch.setenv('MMCSS_CACHE', str(tmp_path_factory.getbasetemp() / 'cache'))
