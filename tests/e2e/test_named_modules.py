"""A plug-in that looks at what modules of its own choice get and return."""
import pytest
import torch
from mmseg.registry import MODELS

from mmcss.parts import Needs, Part
from tests.e2e.running import run
from tests.tiny import tiny_config

SCORES, LAYER, NORM = 'decode_head.conv_seg', 'backbone.layer3', 'decode_head.convs.0.bn'
LOOKED = []


@MODELS.register_module()
class Mimic(Part):
    """Distils what some modules return."""

    needs = Needs(outputs=(SCORES, NORM, LAYER, 'decode_head.dropout', 'decode_head.convs.0'), inputs=(SCORES, ))

    def __init__(self, body: bool = True):
        if not body:
            self.needs = Needs(outputs=tuple(name for name in self.needs.outputs if name != LAYER), inputs=(SCORES, ))

    def before_step(self, split, batches):
        for batch in batches:
            self.check('before', split.step, batch.teacher)

    def loss(self, batch):
        self.check('loss', batch.split.step, batch.student, batch.teacher)
        return (batch.student.outputs[NORM] - batch.teacher.outputs[NORM]).square().mean()

    def after_step(self, split, batches):
        for batch in batches:
            self.check('after', split.step, batch.student)

    def check(self, moment, step, *predictions):
        LOOKED.append((moment, step))
        for prediction in predictions:
            assert set(prediction.outputs) == set(self.needs.outputs)
            assert torch.equal(prediction.outputs[SCORES], prediction.head_logits)
            assert torch.equal(prediction.inputs[SCORES], prediction.outputs['decode_head.dropout'])
            assert (prediction.outputs[NORM] < 0).any()  # the ReLU behind it works in place
            assert torch.equal(prediction.outputs[NORM].relu(), prediction.outputs['decode_head.convs.0'])


@pytest.fixture(autouse=True)
def looked():
    LOOKED.clear()
    return LOOKED


@pytest.mark.slow
def test_in_training_and_in_passes(tiny_data, tmp_path):
    """With an average of the weights, too, and in each kind of pass."""
    cfg = tiny_config(tiny_data, tmp_path, continual=dict(losses=dict(mimic=dict(type='Mimic'))), scenario=dict(base=3, increment=1),
                      custom_hooks=[dict(type='EMAHook')])
    run(cfg)
    assert set(LOOKED) == {('after', 0), ('before', 1), ('loss', 1), ('after', 1)}


@pytest.mark.slow
def test_behind_a_frozen_body(tiny_data, tmp_path):
    """Whose features student and teacher share."""
    cfg = tiny_config(tiny_data, tmp_path, scenario=dict(base=3, increment=1), continual=dict(
        losses=dict(mimic=dict(type='Mimic', body=False)), frozen=['backbone']))
    run(cfg)
    assert {('before', 1), ('loss', 1)} < set(LOOKED)


@pytest.mark.slow
def test_a_module_that_is_not_there(tiny_data, tmp_path, monkeypatch):
    monkeypatch.setattr(Mimic, 'needs', Needs(outputs=('decode_head.conv_sec', )))
    cfg = tiny_config(tiny_data, tmp_path, continual=dict(losses=dict(mimic=dict(type='Mimic'))), run=dict(rehearsal=True))
    with pytest.raises(ValueError, match=r"the part 'mimic' \(Needs\): got \['decode_head.conv_sec'\], which are no modules of this model, "
                                         "did you mean 'decode_head.conv_seg'"):
        run(cfg)
    assert LOOKED == []
