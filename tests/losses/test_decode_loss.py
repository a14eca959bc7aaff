import pytest
import torch

from mmcss.losses.mib import UnbiasedCrossEntropyLoss, unbiased_cross_entropy

LOGITS = torch.randn(2, 4, 3, 5, generator=torch.Generator().manual_seed(0))
TARGET = torch.randint(4, (2, 3, 5), generator=torch.Generator().manual_seed(1))
TARGET[0, 0, :2] = 255
WEIGHTS = [.5, 1., 0., 2.]


@pytest.mark.parametrize('average', ['valid', 'all'])
def test_class_weights_by_loops(average):
    per_pixel = unbiased_cross_entropy(LOGITS, TARGET, 2, 255)
    total = sum(WEIGHTS[TARGET[n, y, x]] * per_pixel[n, y, x].item()
                for n in range(2) for y in range(3) for x in range(5) if TARGET[n, y, x] != 255)
    found = UnbiasedCrossEntropyLoss(2, class_weight=WEIGHTS, average=average)(LOGITS, TARGET)
    assert found.item() == pytest.approx(total / (28 if average == 'valid' else 30), rel=1e-5)


def test_class_weights_of_one_change_nothing_and_stay_out_of_the_checkpoint():
    weighted = UnbiasedCrossEntropyLoss(2, class_weight=[1.] * 4)
    assert torch.equal(weighted(LOGITS, TARGET), UnbiasedCrossEntropyLoss(2)(LOGITS, TARGET))
    assert weighted.state_dict() == {} and weighted.class_weight.dtype == torch.float32


def test_weights_of_pixels_multiply_those_of_classes():
    weight = torch.rand(2, 3, 5)
    loss = UnbiasedCrossEntropyLoss(2, class_weight=WEIGHTS)
    by_hand = torch.tensor(WEIGHTS)[TARGET.clamp(max=3)] * weight
    expected = UnbiasedCrossEntropyLoss(2)(LOGITS, TARGET, weight=by_hand)
    torch.testing.assert_close(loss(LOGITS, TARGET, weight=weight), expected)


def test_losses_of_pixels_for_a_sampler():
    """Which are hard is asked with reduction_override='none'."""
    found = UnbiasedCrossEntropyLoss(2, class_weight=WEIGHTS, loss_weight=3.)(LOGITS, TARGET, reduction_override='none')
    expected = 3 * unbiased_cross_entropy(LOGITS, TARGET, 2, 255) * torch.tensor(WEIGHTS)[TARGET.clamp(max=3)]
    assert torch.equal(found, expected) and not found[0, 0, :2].any()
