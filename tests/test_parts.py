import torch

from mmcss.parts import Part, StepBatch
from mmcss.scenario import Split

SPLIT = Split(0, (), ('background', 'a'), (), ('background', 'a'), 'background')


def test_a_part_does_nothing_by_itself():
    part = Part()
    target = torch.zeros(1, 2, 2, dtype=torch.long)
    batch = StepBatch(SPLIT, target, target)

    def batches():
        raise AssertionError('no part asked for a pass over the data')
        yield

    assert part.before_step(SPLIT, batches()) is None
    assert part.targets(batch) is None and batch.target is target
    assert part.loss(batch) is None
    assert part.after_step(SPLIT, batches()) is None
    assert part.state_dict() == {} and part.load_state_dict({}) is None
    assert part.from_first_step is False
