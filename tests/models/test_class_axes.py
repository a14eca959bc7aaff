"""Growth of layers in which classes are not all that a dimension holds."""
import pytest
import torch
import torch.nn as nn

from mmcss.losses.ewc import ElasticWeightConsolidation
from mmcss.models import class_axes, grow
from mmcss.models.growing import GrowingModule
from mmcss.models.growth import growing_tensors, widening
from mmcss.models.heads import SpecialAxes

OLD, NEW = 4, 2
SEEN = OLD + NEW


class PointHead(nn.Module):
    """Layers as PointRend's: class logits are their last inputs."""

    def __init__(self, classes, features=3):
        super().__init__()
        self.fcs = nn.ModuleList([nn.Conv1d(features + classes, 5, 1), nn.Conv1d(5 + classes, 5, 1)])
        self.fc_seg = nn.Conv1d(5 + classes, classes, 1)

    def forward(self, features, logits):
        for layer in self.fcs:
            features = layer(torch.cat((features, logits), 1)).relu()
        return self.fc_seg(torch.cat((features, logits), 1))


class MaskFormerHead(nn.Module):
    """A classifier of queries, no object last."""

    def __init__(self, classes):
        super().__init__()
        self.cls_embed = nn.Linear(3, classes + 1)


class Segmentor(GrowingModule):
    """A head on nothing."""

    def __init__(self, head, classes, reserved=0):
        super().__init__()
        self.decode_head, self.num_classes, self.reserved_rows = head(classes + reserved), classes + reserved, reserved

    def widening(self, old):
        return widening(self, growing_tensors(self, old, OLD)[1], OLD)


@pytest.mark.parametrize('reserved', [0, 1])
def test_the_inputs_of_a_point_head_grow(reserved):
    """New classes' logits are read with weights of 0, so that old points are judged as before."""
    old, model = (Segmentor(PointHead, classes, reserved) for classes in (OLD, SEEN))
    axes = class_axes(old.state_dict(), model.state_dict(), OLD + reserved, SEEN + reserved, True,
                      SpecialAxes(inputs=('decode_head.', )))
    assert axes.columns == dict.fromkeys(
        ('decode_head.fcs.0.weight', 'decode_head.fcs.1.weight', 'decode_head.fc_seg.weight'), 1)
    assert axes.rows == dict.fromkeys(('decode_head.fc_seg.weight', 'decode_head.fc_seg.bias'), 0)
    grow(model, old.state_dict(), OLD)
    features, logits = torch.randn(2, 3, 7), torch.randn(2, SEEN + reserved, 7)
    kept = [*range(OLD), *range(SEEN, SEEN + reserved)]
    before = old.decode_head(features, logits[:, kept])
    torch.testing.assert_close(model.decode_head(features, logits)[:, kept], before)
    assert not model.decode_head.fcs[0].weight[:, 3 + OLD:3 + SEEN].any()


def test_a_point_head_by_another_name_is_refused():
    states = [PointHead(classes).state_dict() for classes in (OLD, SEEN)]
    with pytest.raises(ValueError, match=r'can not be identified: .*fcs.0.weight \(5, 7, 1\) -> \(5, 9, 1\)'):
        class_axes(*states, OLD, SEEN)


@pytest.mark.parametrize('new_rows', ['random', 'background'])
def test_new_rows_stand_before_no_object(new_rows):
    old, model = (Segmentor(MaskFormerHead, classes) for classes in (OLD, SEEN))
    fresh = model.decode_head.cls_embed.weight.detach().clone()
    grow(model, old.state_dict(), OLD, new_rows)
    before, after = old.decode_head.cls_embed.weight, model.decode_head.cls_embed.weight
    assert torch.equal(after[1:OLD], before[1:OLD]) and torch.equal(after[SEEN], before[OLD])
    expected = fresh[OLD:SEEN] if new_rows == 'random' else before[:1].expand(NEW, 3)
    assert torch.equal(after[OLD:SEEN], expected)
    if new_rows == 'background':  # the softmax is over no object, too
        x = torch.randn(6, 3)
        chances = [one.decode_head.cls_embed(x).softmax(1) for one in (old, model)]
        torch.testing.assert_close(chances[1][:, [0, *range(OLD, SEEN)]], (chances[0][:, :1] / (NEW + 1)).expand(6, NEW + 1))
        torch.testing.assert_close(chances[1][:, SEEN], chances[0][:, OLD])


@pytest.mark.parametrize('head', [MaskFormerHead, PointHead])
def test_weights_are_held_where_growth_has_put_them(head):
    """EWC's penalty is 0 after growth; a move of what was there costs, of what is new it costs nothing."""
    old, model = (Segmentor(head, classes) for classes in (OLD, SEEN))
    grow(model, old.state_dict(), OLD)
    part = ElasticWeightConsolidation(loss_weight=1., normalise=False)
    part.attach(model, old.state_dict())
    part.load_previous({f'fisher/{name}': torch.full_like(value, 2.) for name, value in old.state_dict().items()})
    assert part.loss(None).item() == 0
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 1
    assert part.loss(None).item() == pytest.approx(2 * sum(value.numel() for value in old.state_dict().values()))
