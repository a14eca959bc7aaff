from dataclasses import fields
from itertools import product

import pytest
import torch
import torch.nn.functional as F

from mmcss import batches
from mmcss.batches import Needs, Prediction
from mmcss.parts import Part


def test_needs_ask_for_nothing_by_themselves():
    assert Needs() == Part.needs == Needs(stages=False, embedding=False, logits=False)


def test_union_of_needs():
    names = [field.name for field in fields(Needs) if isinstance(field.default, bool)]
    every = [dict(zip(names, flags)) for flags in product((False, True), repeat=len(names))]
    for a, b in product(every, every):
        assert Needs(**a) | Needs(**b) == Needs(**{name: a[name] or b[name] for name in names})
    assert Needs(outputs=('a', 'b')) | Needs(outputs=('c', 'a'), inputs=('d', )) == Needs(outputs=('a', 'b', 'c'), inputs=('d', ))


def test_a_module_that_was_not_seen_is_told():
    prediction = Prediction(torch.zeros(1, 2, 3, 3), (6, 6))
    with pytest.raises(KeyError, match='auxiliary_head.conv_seg has not run in this pass, or was not asked for'):
        prediction.outputs['auxiliary_head.conv_seg']


@pytest.fixture
def interpolations(monkeypatch):
    """Sizes that were upsampled to."""
    sizes = []

    def count(logits, size, **options):
        sizes.append(tuple(size))
        return F.interpolate(logits, size, **options)

    # Not F itself, which other modules share.
    monkeypatch.setattr(batches, 'F', type('F', (), dict(interpolate=staticmethod(count))))
    return sizes


@pytest.mark.parametrize('align_corners', [False, True])
def test_logits_are_upsampled_once(interpolations, align_corners):
    head_logits = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0), requires_grad=True)
    prediction = Prediction(head_logits, (7, 9), align_corners)
    assert interpolations == []
    first, second = prediction.logits, prediction.logits
    assert first is second is prediction.upsampled
    assert interpolations == [(7, 9)]
    grid = F.affine_grid(torch.eye(2, 3).expand(2, 2, 3), (2, 3, 7, 9), align_corners=align_corners)
    expected = F.grid_sample(head_logits, grid, padding_mode='border', align_corners=align_corners)
    torch.testing.assert_close(first, expected, rtol=1e-5, atol=1e-5)
    assert first.requires_grad


def test_logits_that_were_upsampled_elsewhere_are_taken(interpolations):
    upsampled = torch.zeros(1, 3, 8, 8)
    assert Prediction(torch.ones(1, 3, 4, 4), (8, 8), upsampled=upsampled).logits is upsampled
    assert interpolations == []
