from contextlib import ExitStack

import torch
import torch.nn as nn

from mmcss.models.overriding import override_attribute, tap


def test_an_attribute_comes_back():
    module = nn.Sequential(nn.ReLU())
    module.other, inner = 'mine', module[0]
    with ExitStack() as stack:
        override_attribute(module, 'other', 'overridden', stack)
        override_attribute(module, '0', nn.Identity(), stack)  # a registered module
        override_attribute(module, 'forward', lambda x: 'overridden', stack)  # a method
        assert module.other == 'overridden' and module(1) == 'overridden'
    assert module.other == 'mine' and module[0] is inner
    assert set(module.__dict__) & {'forward', '0'} == set()


def test_overridden_attributes_come_back_one_by_one():
    module = nn.ReLU()
    with ExitStack() as outer:
        override_attribute(module, 'inplace', 1, outer)
        with ExitStack() as inner:
            override_attribute(module, 'inplace', 2, inner)
            assert module.inplace == 2
        assert module.inplace == 1
    assert module.inplace is False


def test_a_tap_gets_arguments_and_output_of_each_call():
    module, calls = nn.Bilinear(2, 3, 1), []
    x, y = torch.ones(2), torch.ones(3)
    with ExitStack() as stack:
        tap(module, lambda inputs, output: calls.append((*inputs, output)), stack)
        outputs = [module(x, input2=y), module.forward(x, y)]
    module(x, y)
    assert [[id(value) for value in call] for call in calls] == [[id(x), id(y), id(output)] for output in outputs]
