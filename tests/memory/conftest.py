import pytest
from mmengine.registry import init_default_scope


@pytest.fixture(autouse=True)
def scope_and_cache(monkeypatch, tmp_path):
    """Stock transforms are found, and each test has presence tables of its own."""
    init_default_scope('mmseg')
    monkeypatch.setenv('MMCSS_CACHE', str(tmp_path / 'cache'))
