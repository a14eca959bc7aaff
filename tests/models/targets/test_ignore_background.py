import torch

from mmcss.models import IgnoreBackground
from mmcss.parts import StepBatch
from tests.models.makers import make_split


def test_background_is_ignored_and_raw_labels_stay():
    target = torch.tensor([[[0, 3, 255], [4, 0, 0]]])
    batch = StepBatch(make_split(3, 2), target, target)
    IgnoreBackground().targets(batch)
    assert batch.target.tolist() == [[[255, 3, 255], [4, 255, 255]]]
    assert batch.raw_target.tolist() == [[[0, 3, 255], [4, 0, 0]]]
