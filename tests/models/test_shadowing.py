from contextlib import ExitStack

import torch.nn as nn

from mmcss.models.shadowing import shadow


def test_an_attribute_comes_back():
    module = nn.Sequential(nn.ReLU())
    module.other, inner = 'mine', module[0]
    with ExitStack() as stack:
        shadow(module, 'other', 'shadow', stack)
        shadow(module, '0', nn.Identity(), stack)  # a registered module
        shadow(module, 'forward', lambda x: 'shadow', stack)  # a method
        assert module.other == 'shadow' and module(1) == 'shadow'
    assert module.other == 'mine' and module[0] is inner
    assert set(module.__dict__) & {'forward', '0'} == set()


def test_shadows_of_shadows_come_back_one_by_one():
    module = nn.ReLU()
    with ExitStack() as outer:
        shadow(module, 'inplace', 1, outer)
        with ExitStack() as inner:
            shadow(module, 'inplace', 2, inner)
            assert module.inplace == 2
        assert module.inplace == 1
    assert module.inplace is False
