import pytest
import torch

from mmcss.models.backbones import evaluated_features, eval_mode_modules
from tests.models.makers import build, student_and_teacher, with_classes
from tests.models.test_taps import make
from tests.models.test_weighting import DDR, PID, small_batch


@pytest.mark.parametrize('config, main', [(DDR, -1), (PID, 1)], ids=['DDRNet', 'PIDNet'])
def test_backbones_that_return_more_in_training(config, main):
    backbone = build(with_classes(config, 5)).backbone
    trained, evaluated = backbone.train()(small_batch()[0]), backbone.eval()(small_batch()[0])
    assert evaluated_features(backbone, trained) is trained[main]
    assert evaluated_features(backbone, evaluated) is evaluated
    assert eval_mode_modules(backbone) == list(backbone.children())


def test_other_backbones():
    backbone = make().backbone
    features = backbone(small_batch()[0])
    assert evaluated_features(backbone, features) is features and eval_mode_modules(backbone) == [backbone]


@pytest.mark.parametrize('config', [DDR, PID], ids=['DDRNet', 'PIDNet'])
def test_a_frozen_one_serves_student_and_teacher_in_one_pass(tmp_path, config):
    """The head in training gets what it needs, though all parts of the backbone stand still."""
    method = dict(losses=dict(kd=dict(type='KnowledgeDistillation')), frozen=['shared'])
    student, teacher = student_and_teacher(tmp_path, config, 4, 1, method, moved=0)
    student.train()
    assert student.backbone.training and not any(part.training for part in student.backbone.children())
    before = {name: value.clone() for name, value in student.backbone.state_dict().items()}
    passes = []
    student.backbone.register_forward_hook(lambda *arguments: passes.append(1))
    losses = student.loss(*small_batch())
    assert len(passes) == 1 and torch.isfinite(losses['loss_kd'])
    assert all(torch.equal(value, before[name]) for name, value in student.backbone.state_dict().items())
    seen = student.teacher.predict(small_batch()[0], (64, 64), student.method.needs)
    torch.testing.assert_close(seen.head_logits, teacher.encode_decode(
        small_batch()[0], [dict(img_shape=(8, 8))] * 2), rtol=1e-4, atol=1e-4)
