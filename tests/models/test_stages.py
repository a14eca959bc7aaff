"""Which maps are a model's stages: the backbone's by default, or those of named modules."""
import pytest
import torch
import torch.nn as nn
from mmseg.registry import MODELS

from mmcss.losses import LocalPOD
from mmcss.models import predict, watch_training
from mmcss.models.taps import check_modules, watch_features
from mmcss.parts import Needs, StepBatch
from tests.models.makers import build, encoder_decoder, make_split, student_and_teacher, with_classes
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
    seen = student.predict_batch(*batch(), student.method.needs).teacher
    assert [stage.shape[1] for stage in seen.stages] == [64, 8]
    losses = student.train().loss(*batch())
    assert losses['loss_pod'] > 0


def test_names_that_are_no_modules_are_answered_with_those_that_are(tmp_path):
    method = dict(losses=dict(pod=dict(type='LocalPOD')), stages=['backbone.layer5'])
    with pytest.raises(ValueError, match=r"continual.stages: got \['backbone.layer5'\], which are no modules") as error:
        student_and_teacher(tmp_path, encoder_decoder(auxiliary=True), 4, 1, method)
    assert 'backbone.layer4' in str(error.value) and 'decode_head.conv_seg' in str(error.value)
    assert 'auxiliary_head' not in str(error.value)
    check_modules(make(), (), 'continual.stages')  # none named: the backbone's


def test_a_stage_that_gives_no_tensor():
    model = make()
    model.tapped_stages = ('decode_head.dropout', 'decode_head.loss_decode')
    with pytest.raises(ValueError, match='stage 1 of this model returns NoneType, expected a tensor; name other modules'):
        predict(model.eval(), batch()[0], (32, 32), STAGES)


def test_a_stage_of_tokens():
    """They are kept as they are; a part that wants maps says so."""
    model, tokens = build(with_classes(SEGMENTER, CLASSES)).eval(), []
    model.tapped_stages = ('decode_head.patch_proj', 'decode_head.classes_proj')
    model.decode_head.patch_proj.register_forward_hook(lambda module, inputs, output: tokens.append(output))
    found = predict(model, batch()[0], (32, 32), STAGES)
    assert [tuple(stage.shape) for stage in found.stages] == [(2, 16, 16), (2, CLASSES, 16)]
    assert torch.equal(found.stages[0], tokens[0])
    with pytest.raises(ValueError, match=r'stage 0 of this model: got a tensor of shape \(2, 16, 16\), expected a map'):
        LocalPOD().loss(StepBatch(make_split(3, 2), None, None, student=found, teacher=found))


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


@pytest.mark.parametrize('training', [False, True])
def test_inputs_and_outputs_of_named_modules(training):
    """Also those of a decode head as a whole, which is never called; values are those of a pass without taps."""
    needs = Needs(outputs=('decode_head.conv_seg', 'backbone.layer2.0.bn1', 'decode_head', 'nowhere'),
                  inputs=('decode_head.conv_seg', 'decode_head'))
    model, (inputs, data) = make('ASPP').train(training), batch()
    expected = {name: [] for name in ('backbone.layer2.0.bn1', 'decode_head.conv_seg')}
    for name, kept in expected.items():
        model.get_submodule(name).register_forward_hook(lambda module, inputs, output, kept=kept: kept.append(output.clone()))
    losses = []
    for asked in (Needs(), needs):
        torch.manual_seed(3)
        with watch_training(model, asked, (32, 32), None) as seen:
            losses.append(model.loss(inputs, data))
    assert all(torch.equal(losses[0][name], losses[1][name]) for name in losses[0])
    found = seen.prediction((32, 32), False)
    assert set(found.outputs) == {'decode_head.conv_seg', 'backbone.layer2.0.bn1', 'decode_head'}
    for name, (without, within) in expected.items():
        assert torch.equal(found.outputs[name], without) and torch.equal(without, within)
    assert found.outputs['decode_head'] is found.head_logits and found.inputs['decode_head'].dim() == 4
    assert found.inputs['decode_head.conv_seg'].requires_grad


def test_a_module_that_returns_no_tensor():
    model = make()
    model.decode_head.dropout = nn.Module()
    model.decode_head.dropout.forward = lambda x: dict(x=x)
    model.decode_head.conv_seg = nn.Module()
    model.decode_head.conv_seg.forward = lambda found: found['x']
    with pytest.raises(ValueError, match='decode_head.dropout returns dict, expected a tensor; name other modules in Needs'):
        predict(model, batch()[0], (32, 32), Needs(outputs=('decode_head.dropout', )))


def test_named_modules_of_a_frozen_body(tmp_path, monkeypatch):
    """One pass of it serves student and teacher, unless something within it is asked for."""
    for name, shared in (('decode_head.conv_seg', True), ('backbone.layer4', False)):
        (tmp_path / name).mkdir()
        method = dict(losses=dict(kd=dict(type='KnowledgeDistillation')), frozen=['backbone'])
        student, _ = student_and_teacher(tmp_path / name, encoder_decoder(), 4, 1, method)
        student.method.needs |= Needs(outputs=(name, ))
        runs, predictions = [], []
        for model in (student, student.teacher.build('cpu')):
            model.backbone.stem.register_forward_hook(lambda *_: runs.append(1))
        monkeypatch.setattr(student.method, 'losses', lambda batch: predictions.extend((batch.student, batch.teacher)) or {})
        student.train().loss(*batch())
        assert len(runs) == (1 if shared else 2) and all(name in prediction.outputs for prediction in predictions)
