import torch
from torch import nn

from mmcss.models import CosineClassifier, ExtendedEncoderDecoder, NearestMean, StepHeads
from mmcss.models.growing import GrowingModule, folded, growing, inherits, reserved_rows, unfolded


class Doubled(GrowingModule):
    """Has twice the weight of a stock module."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))

    def folded(self, state, prefix):
        return {f'{prefix}stock': state[f'{prefix}weight'] / 2, **{k: v for k, v in state.items() if k != f'{prefix}weight'}}

    def unfolded(self, state, prefix):
        return {f'{prefix}weight': state[f'{prefix}stock'] * 2, **{k: v for k, v in state.items() if k != f'{prefix}stock'}}


def test_a_growing_module_is_as_every_module_by_itself():
    module, old = GrowingModule(), dict(a=torch.ones(1))
    assert module.inherit(old, '', 'random') is module.folded(old, '') is module.unfolded(old, '') is old
    assert module.group_of('a') is None and not module.predicting and reserved_rows(module) == reserved_rows(nn.Linear(1, 1)) == 0
    assert all(issubclass(cls, GrowingModule) for cls in (CosineClassifier, ExtendedEncoderDecoder, NearestMean, StepHeads))


def test_modules_fold_wherever_they_are():
    model = nn.Sequential(nn.Linear(1, 1), nn.Sequential(Doubled()), Doubled())
    assert list(growing(model)) == ['1.0.', '2.'] and list(growing(model[2])) == ['']
    stock = folded(model, model.state_dict())
    assert set(stock) == {'0.weight', '0.bias', '1.0.stock', '2.stock'} and stock['2.stock'].tolist() == [.5, .5]
    model.load_state_dict(unfolded(model, stock))
    assert not inherits(model) and inherits(nn.Sequential(StepHeads(2, 3, (2, ))))
