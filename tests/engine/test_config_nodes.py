"""Walks through nested configs, and what their types name."""
from mmengine.config import Config, ConfigDict
from mmseg.models.decode_heads import FCNHead
from mmseg.registry import MODELS

from mmcss.engine.config_nodes import class_of, values_of, with_settings


def test_values_have_their_places():
    config = ConfigDict(a=dict(b=1), c=[dict(type='x'), (2, )])
    assert dict(values_of(config)) == {
        '': config, 'a': config.a, 'a.b': 1, 'c': config.c, 'c[0]': config.c[0], 'c[0].type': 'x', 'c[1]': (2, ), 'c[1][0]': 2}
    assert dict(values_of(dict(b=1), 'a')) == {'a': dict(b=1), 'a.b': 1}


def test_keys_are_left_out_wherever_they_stand():
    assert [place for place, _ in values_of(dict(a=dict(b=1, c=2), b=[3]), skip=('b', ))] == ['', 'a', 'a.c']


def test_what_a_type_names():
    assert class_of(MODELS, 'FCNHead') is class_of(MODELS, FCNHead) is FCNHead
    assert class_of(MODELS, 'NoSuchHead') is class_of(MODELS, None) is None


def test_other_settings_under_the_name_of_a_file_that_is_not_there():
    cfg = Config(dict(a=1), cfg_text='a = 1', filename='nowhere/mine.py')
    other = with_settings(cfg, dict(b=2))
    assert (other._cfg_dict, other.filename, other.text) == (dict(b=2), 'nowhere/mine.py', 'a = 1')
    assert with_settings(Config(dict(a=1)), dict(b=2)).filename is None
