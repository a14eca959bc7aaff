import os

os.environ.setdefault('OMP_NUM_THREADS', '1')  # before torch is imported: sums of several threads have other last digits

import mmengine.config.config as config_module
import pytest
import yapf.yapflib.yapf_api as yapf_module
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


@pytest.fixture(scope='session', autouse=True)
def plain_configs():
    """Configs are written as they are: yapf takes half a second to make one pretty."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (yapf_module, config_module):  # the originals have imported it
            if hasattr(module, 'FormatCode'):
                patch.setattr(module, 'FormatCode', lambda text, **options: (text, True))
        yield


@pytest.fixture(autouse=True)
def default_scope():
    """Types are looked up in MMSegmentation's registries, whatever a test before has left."""
    init_default_scope('mmseg')
