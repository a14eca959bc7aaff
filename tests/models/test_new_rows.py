import inspect
import math

import pytest
import torch

from mmcss.models import NEW_ROWS

NEW = slice(3, 5)  # behind three old rows, before a reserved one


def rows(*shape):
    return torch.randn(6, *shape, generator=torch.Generator().manual_seed(0))


def test_the_names_of_initialisers():
    assert list(NEW_ROWS) == ['random', 'background', 'copy_background', 'unknown']
    assert all(list(inspect.signature(one).parameters) == ['name', 'rows', 'new'] for one in NEW_ROWS.values())


@pytest.mark.parametrize('name, shape', [('conv_seg.weight', (4, 1, 1)), ('conv_seg.bias', ())])
def test_random_rows_stay(name, shape):
    found = rows(*shape)
    NEW_ROWS['random'](name, found, NEW)
    assert torch.equal(found, rows(*shape))


@pytest.mark.parametrize('name, shape', [('conv_seg.weight', (4, 1, 1)), ('embedding', (4, )), ('norm.weight', ())])
def test_background_rows_copy_the_background(name, shape):
    found, before = rows(*shape), rows(*shape)
    NEW_ROWS['background'](name, found, NEW)
    assert all(torch.equal(found[row], before[0]) for row in (0, 3, 4))
    assert all(torch.equal(found[row], before[row]) for row in (1, 2, 5))


def test_the_background_s_bias_is_shared_among_it_and_the_new_classes():
    """A reserved row behind them has no share."""
    found, before = rows(), rows()
    NEW_ROWS['background']('conv_seg.bias', found, NEW)
    for row in (0, 3, 4):
        assert found[row].item() == pytest.approx(before[0].item() - math.log(3), abs=1e-6)
    assert all(torch.equal(found[row], before[row]) for row in (1, 2, 5))


@pytest.mark.parametrize('name, shape', [('conv_seg.weight', (4, 1, 1)), ('conv_seg.bias', ())])
def test_unknown_rows_copy_the_last_one(name, shape):
    found, before = rows(*shape), rows(*shape)
    NEW_ROWS['unknown'](name, found, NEW)
    assert all(torch.equal(found[row], before[5]) for row in (3, 4, 5))
    assert all(torch.equal(found[row], before[row]) for row in (0, 1, 2))


def test_unknown_rows_need_an_unknown_class():
    with pytest.raises(ValueError, match=r"'unknown' needs a model with an unknown class \(continual.unknown\)"):
        NEW_ROWS['unknown']('conv_seg.weight', rows(4), slice(3, 6))
