"""What pseudo labels do with old classes that labels tell, as those of remembered images do."""
import pytest
import torch

from mmcss.models import EntropyPseudoLabels
from mmcss.parts import Prediction, StepBatch
from tests.models.makers import make_split

OLD, NEW = 4, 2


def completed(target, logits, **options):
    """Labels after pseudo labels with the same threshold for all classes."""
    target = torch.tensor(target).view(1, 1, -1)
    part = EntropyPseudoLabels(**options)
    part.load_state_dict(dict(thresholds=torch.full((1, OLD), .5)))
    batch = StepBatch(make_split(OLD, NEW), target, target, teacher=Prediction(logits, tuple(target.shape[1:])))
    part.targets(batch)
    return batch


@pytest.mark.parametrize('overwrite, expected, share', [
    (False, [2, 255, 1, 3, 1, 4, 5, 255], 1 / 2), (True, [2, 255, 2, 255, 1, 4, 5, 255], 3 / 5)])
def test_labels_of_old_classes(overwrite, expected, share):
    """The teacher is sure of pixels 0, 2 and 4 and those with other labels."""
    told = [0, 0, 1, 3, 1, 4, 5, 255]
    said, sure = torch.tensor([2, 1, 2, 3, 1, 2, 2, 2]), torch.tensor([1, 0, 1, 0, 1, 1, 1, 1])
    logits = (12. * sure[:, None] * torch.eye(OLD)[said]).T[None, :, None]
    batch = completed(told, logits, overwrite_old=overwrite)
    assert batch.target.flatten().tolist() == expected
    assert batch.pixel_weight.item() == pytest.approx(share)


def test_without_labels_of_old_classes_nothing_changes():
    logits = 4 * torch.randn(1, OLD, 1, 60, generator=torch.Generator().manual_seed(0))
    told = [0, 4, 5, 255, 0, 0] * 10
    found = [completed(told, logits, overwrite_old=overwrite) for overwrite in (False, True)]
    assert torch.equal(found[0].target, found[1].target) and {1, 2, 3} & set(found[0].target.flatten().tolist())
