"""Which maps are a model's stages: the backbone's by default, or those of named modules."""
import pytest
import torch
import torch.nn as nn
from mmseg.registry import MODELS

from mmcss.models import predict, watch_training
from mmcss.models.taps import check_stages, watch_features
from mmcss.parts import Needs
from tests.models.makers import build, encoder_decoder, student_and_teacher, with_classes
from tests.models.test_heads import SEGMENTER
from tests.models.test_taps import CLASSES, batch, make
from tests.models.test_weighting import DDR, PID, small_batch

STAGES = Needs(stages=True)


@pytest.mark.parametrize('config', [DDR, PID], ids=['DDRNet', 'PIDNet'])
def test_a_backbone_that_returns_more_in_training(config):
    """Student and teacher compare the same map, though one trains and the other does not."""
    model = build(with_classes(config, CLASSES))
    inputs, data = small_batch()
    with watch_training(model.train(), STAGES, (64, 64), None) as seen:
        model.loss(inputs, data)
    trained = seen.prediction((64, 64), False)
    evaluated = predict(model.eval(), inputs, (64, 64), STAGES)
    assert len(trained.stages) == len(evaluated.stages) == 1
    assert trained.stages[0].shape == evaluated.stages[0].shape
    # Without batch statistics and dropout it is one and the same.
    for module in model.modules():
        module.training = 'Norm' not in type(module).__name__ and 'Dropout' not in type(module).__name__
    with watch_training(model, STAGES, (64, 64), None) as seen:
        model.loss(inputs, data)
    torch.testing.assert_close(seen.prediction((64, 64), False).stages[0], evaluated.stages[0])


def test_named_stages():
    model = make('ASPP').eval()
    model.tapped_stages = ('backbone.layer2', 'decode_head.bottleneck')
    outputs = []
    for name in model.tapped_stages:
        model.get_submodule(name).register_forward_hook(lambda module, inputs, output: outputs.append(output))
    found = predict(model, batch()[0], (32, 32), STAGES).stages
    assert len(found) == 2 and all(map(torch.equal, found, outputs))


def test_student_and_teacher_tap_the_same_names(tmp_path):
    method = dict(losses=dict(pod=dict(type='LocalPOD')), stages=['backbone.layer4', 'decode_head.convs'])
    student, _ = student_and_teacher(tmp_path, encoder_decoder(auxiliary=True), 4, 1, method)
    seen = student.look(*batch(), student.method.needs).teacher
    assert [stage.shape[1] for stage in seen.stages] == [64, 8]
    losses = student.train().loss(*batch())
    assert losses['loss_pod'] > 0


def test_names_that_are_no_modules_are_answered_with_those_that_are(tmp_path):
    method = dict(losses=dict(pod=dict(type='LocalPOD')), stages=['backbone.layer5'])
    with pytest.raises(ValueError, match=r"continual.stages: \['backbone.layer5'\] are no modules") as error:
        student_and_teacher(tmp_path, encoder_decoder(auxiliary=True), 4, 1, method)
    assert 'backbone.layer4' in str(error.value) and 'decode_head.conv_seg' in str(error.value)
    assert 'auxiliary_head' not in str(error.value)
    check_stages(make(), ())  # none named: the backbone's


def test_a_stage_that_is_no_map():
    model = make()
    model.tapped_stages = ('decode_head.dropout', 'decode_head.loss_decode')
    with pytest.raises(ValueError, match='stage 1 of this model gives no map .* but NoneType; name the modules'):
        predict(model.eval(), batch()[0], (32, 32), STAGES)
    model = build(with_classes(SEGMENTER, CLASSES)).eval()
    model.tapped_stages = ('backbone.layers.0', )
    with pytest.raises(ValueError, match=r'gives no map \[N, C, h, w\] but a tensor of shape \(2, 17, 16\)'):
        predict(model, batch()[0], (32, 32), STAGES)


def test_the_embedding_of_segmenter_is_a_map():
    model, tokens = build(with_classes(SEGMENTER, CLASSES)).eval(), []
    model.decode_head.patch_proj.register_forward_pre_hook(lambda module, inputs: tokens.append(inputs[0]))
    found = predict(model, batch()[0], (32, 32), Needs(embedding=True)).embedding
    assert found.shape == (2, 16, 4, 4)
    assert torch.equal(found[:, :, 1, 2], tokens[0][:, 6])  # row-major


def test_a_class_token_beside_a_map_is_left_out():
    settings = dict(SEGMENTER['backbone'], output_cls_token=True, with_cls_token=True, out_indices=(0, 1))
    backbone = MODELS.build(settings)
    outputs = backbone(batch()[0])
    with watch_features(nn.ModuleDict(dict(backbone=backbone)), STAGES) as seen:
        backbone(batch()[0])
    assert [len(output) for output in outputs] == [2, 2]
    assert all(torch.equal(stage, output[0]) for stage, output in zip(seen.stages, outputs))
    assert [stage.shape for stage in seen.stages] == [(2, 16, 4, 4)] * 2
