import math

import pytest
import torch
import torch.nn.functional as F
from mmengine.structures import PixelData
from mmseg.registry import MODELS

from mmcss.engine.model_config import replace_cross_entropy
from mmcss.models import EntropyPseudoLabels
from mmcss.models.segmentors import with_targets
from mmcss.parts import Needs, Part
from tests.losses import loops
from tests.models.makers import (student_model, MODEL_CONFIGS, build, encoder_decoder, hand_over, images, initialise, labels, make_split,
                                 samples, student_and_teacher, with_classes)

OLD, NEW = 3, 2
SEEN = OLD + NEW
TOLERANCE = 2e-6  # relative; float32 against float64
PLOP = dict(targets=dict(type='EntropyPseudoLabels'), losses=dict(pod=dict(type='LocalPOD')), new_rows='background')
MIB = dict(losses=dict(unkd=dict(type='UnbiasedDistillation', loss_weight=10.)), new_rows='background')


def with_unbiased(config):
    return replace_cross_entropy(config, dict(type='UnbiasedCrossEntropyLoss'), OLD)


def make_plop(folder, config=None, threshold=None, **settings):
    """A student of PLOP; its thresholds let about half of the background through."""
    student, teacher = student_and_teacher(folder, config or encoder_decoder('ASPP', auxiliary=True), OLD, NEW, PLOP,
                                           **settings)
    part = student.method.parts['targets']
    part.thresholds = torch.full((1, OLD), threshold or .5)
    return student, teacher


def make_mib(folder, config=None, **settings):
    return student_and_teacher(folder, config or encoder_decoder('ASPP', auxiliary=True), OLD, NEW, MIB, with_unbiased,
                               **settings)


METHODS = dict(plop=make_plop, mib=make_mib)


def by_hand(model, inputs):
    """Stages before their last ReLU, embedding and logits of an evaluated ResNet model, without taps."""
    x, stages, outputs = model.backbone.maxpool(model.backbone.stem(inputs)), [], []
    for name in model.backbone.res_layers:
        first, last = getattr(model.backbone, name)
        shortcut = first(x)
        stages.append(last.norm2(last.conv2(last.norm1(last.conv1(shortcut)).relu())) + shortcut)
        x = stages[-1].relu()
        outputs.append(x)
    embedding = model.decode_head._forward_feature(outputs)
    auxiliary = model.auxiliary_head(outputs) if model.with_auxiliary_head else None
    return stages, embedding, model.decode_head.conv_seg(embedding), auxiliary


def upsampled(logits, size):
    return F.interpolate(logits, size, mode='bilinear')


def plain_student(config, split=None, **continual):
    return student_model(config, dict(split=(split or make_split(0, SEEN)).to_dict(), previous=None, teacher=None,
                                      **continual))


@pytest.mark.parametrize('name', list(MODEL_CONFIGS))
@pytest.mark.parametrize('step', [0, 1])
def test_without_parts_it_is_the_stock_model(name, step):
    """Losses with dropout and batch statistics, state dict and prediction."""
    config = with_classes(MODEL_CONFIGS[name], SEEN)
    stock = build(config)
    student = build(plain_student(config, make_split(step * OLD, SEEN - step * OLD)))
    assert list(student.state_dict()) == list(stock.state_dict())
    assert all(torch.equal(value, stock.state_dict()[key]) for key, value in student.state_dict().items())
    found = []
    for model in (stock, student):
        torch.manual_seed(4)
        found.append(model.loss(images(), samples(labels([0, 1, 4, 255]))))
    assert list(found[0]) == list(found[1])
    assert all(torch.equal(found[0][key], found[1][key]) for key in found[0])
    with torch.no_grad():
        outputs = [model.eval().encode_decode(images(), [dict(img_shape=(32, 32))] * 2) for model in (stock, student)]
    assert torch.equal(*outputs)


@pytest.mark.parametrize('name', list(MODEL_CONFIGS))
@pytest.mark.parametrize('new_rows', ['random', 'background'])
def test_initialisation_grows_from_the_step_before(tmp_path, name, new_rows):
    config = MODEL_CONFIGS[name]
    student, teacher = student_and_teacher(tmp_path, config, OLD, NEW, dict(new_rows=new_rows), moved=0)
    assert list(student.state_dict()) == list(build(with_classes(config, SEEN)).state_dict())
    for key, old in teacher.state_dict().items():
        new = student.state_dict()[key]
        first = 1 if new_rows == 'background' and new.shape != old.shape else 0
        assert torch.equal(new[first:OLD] if new.shape != old.shape else new, old[first:] if first else old)
    weight = (student.decode_head[-1] if name == 'OCR' else student.decode_head).conv_seg.weight
    assert torch.equal(weight[OLD:], weight[:1].expand_as(weight[OLD:])) is (new_rows == 'background')


def test_initialisation_refuses_the_hand_over_of_another_scenario(tmp_path):
    path = hand_over(tmp_path / 'step_0.pth', build(with_classes(encoder_decoder(), OLD)), ['background', 'x', 'y'])
    config = student_model(with_classes(encoder_decoder(), SEEN),
                           dict(split=make_split(OLD, NEW).to_dict(), previous=str(path), teacher=None))
    with pytest.raises(ValueError, match='another scenario or step'):
        initialise(MODELS.build(config))


@pytest.mark.parametrize('name', ['FCN', 'ASPP'])
@pytest.mark.parametrize('size', [(32, 32), (32, 48)])
def test_plop_by_hand(tmp_path, name, size):
    student, teacher = make_plop(tmp_path, encoder_decoder(name, auxiliary=True))
    inputs, raw = images(size=size), labels([0, 0, 0, 3, 4, 255], size=size)
    with torch.no_grad():
        old_stages, old_embedding, old_logits, _ = by_hand(teacher, inputs)
        new_stages, new_embedding, new_logits, auxiliary = by_hand(student.eval(), inputs)

    entropy = loops.entropy(upsampled(old_logits, size))
    predicted = upsampled(old_logits, size).argmax(dim=1)
    limit = float(sorted(entropy.flatten())[entropy.size // 2])
    student.method.parts['targets'].thresholds = torch.full((1, OLD), limit + 1e-5)
    accepted = torch.from_numpy(entropy < limit + 1e-5) & (raw == 0)
    target = torch.where(raw == 0, torch.where(accepted, predicted, 255), raw)
    nu = accepted.sum(dim=(1, 2)) / (raw == 0).sum(dim=(1, 2))
    assert all(0 < share < 1 for share in nu.tolist())

    valid = (target != 255).sum().item()
    cross_entropy = loops.cross_entropy(upsampled(new_logits, size), target)
    background = torch.cat((new_logits[:, :1], new_logits[:, OLD:]), dim=1).exp().sum(1, keepdim=True).log()
    folded = torch.cat((background, new_logits[:, 1:OLD]), dim=1)
    distances = [.01 * loops.pod(a, b) for a, b in zip([*new_stages, new_embedding], [*old_stages, old_embedding])]
    distances.append(.0005 * loops.pod(folded, old_logits))
    expected = {
        'decode.loss_ce': (cross_entropy * nu[:, None, None].double().numpy()).sum() / valid,
        'aux.loss_ce': .4 * loops.cross_entropy(upsampled(auxiliary, size), target).sum() / valid,
        'loss_pod': math.sqrt(SEEN / NEW) * sum(distances) / 6,
    }
    losses = student.loss(inputs, samples(raw))
    assert {key for key in losses if 'loss' in key} == set(expected)
    for key, value in expected.items():
        assert losses[key].item() == pytest.approx(value, rel=TOLERANCE), key


@pytest.mark.parametrize('size', [(32, 32), (32, 48)])
def test_mib_by_hand(tmp_path, size):
    student, teacher = make_mib(tmp_path)
    inputs, raw = images(size=size), labels([0, 0, 3, 4, 255], size=size)
    with torch.no_grad():
        old_logits = by_hand(teacher, inputs)[2]
        _, _, new_logits, auxiliary = by_hand(student.eval(), inputs)
    valid = (raw != 255).sum().item()
    new, old = upsampled(new_logits, size), upsampled(old_logits, size)
    expected = {
        'decode.loss_unce': loops.unbiased_cross_entropy(new, raw, OLD).sum() / valid,
        'aux.loss_unce': .4 * loops.unbiased_cross_entropy(upsampled(auxiliary, size), raw, OLD).sum() / valid,
        'loss_unkd': 10 * loops.unbiased_distillation(new, old).mean(),
    }
    losses = student.loss(inputs, samples(raw))
    assert {key for key in losses if 'loss' in key} == set(expected)
    for key, value in expected.items():
        assert losses[key].item() == pytest.approx(value, rel=TOLERANCE), key


def test_the_look_at_a_batch_before_training(tmp_path):
    """Labels and the teacher's prediction, which thresholds are taken from."""
    student, teacher = make_plop(tmp_path)
    raw = labels([0, 0, 4, 255])
    with torch.no_grad():
        batch = student.predict_batch(images(), samples(raw), student.method.needs)
        expected = upsampled(by_hand(teacher, images())[2], (32, 32))
    assert torch.equal(batch.raw_target, raw) and batch.target is batch.raw_target and batch.student is None
    torch.testing.assert_close(batch.teacher.logits, expected)
    part = EntropyPseudoLabels()
    part.before_step(student.split, [batch])
    assert part.thresholds.shape == (1, OLD) and (part.thresholds > .001).any()


@pytest.mark.parametrize('make', METHODS.values(), ids=METHODS)
def test_one_forward_pass_of_student_and_teacher(tmp_path, make):
    student, _ = make(tmp_path)
    teacher, calls = student.teacher.build(torch.device('cpu')), []
    for name, model in (('student', student), ('teacher', teacher)):
        for child in ('backbone', 'decode_head.bottleneck', 'decode_head.conv_seg'):
            model.get_submodule(child).register_forward_hook(
                lambda module, inputs, output, call=(name, child): calls.append(call))
    tracked = [name for name in student.state_dict() if 'num_batches_tracked' in name]
    before = {name: student.state_dict()[name].item() for name in tracked}
    student.train().loss(images(), samples(labels([0, 3, 4])))
    assert len(calls) == len(set(calls)) == 6
    assert all(student.state_dict()[name].item() == before[name] + 1 for name in tracked)


def test_at_the_first_step_there_is_neither_teacher_nor_part():
    config = student_model(with_classes(encoder_decoder(), SEEN),
                           dict(PLOP, split=make_split(0, SEEN).to_dict(), previous=None, teacher=None))
    student = build(config)
    assert student.teacher is None and student.method.parts == {}
    assert set(student.loss(images(), samples(labels([0, 4])))) == {'decode.loss_ce', 'decode.acc_seg'}


class FromFirstStep(Part):
    """A part that acts at step 0 and keeps what it sees."""

    needs = Needs(stages=True, embedding=True, logits=True)
    from_first_step = True

    def targets(self, batch):
        assert batch.student is None and batch.teacher is None
        batch.target = torch.where(batch.target == 1, 255, batch.target)

    def loss(self, batch):
        self.batch = batch
        return batch.student.embedding.square().mean()


def test_a_part_that_acts_from_the_first_step():
    student = build(plain_student(with_classes(encoder_decoder(), SEEN), losses=dict(own=dict(type=FromFirstStep))))
    raw = labels([0, 1, 4])
    losses = student.loss(images(), samples(raw))
    assert 'loss_own' in losses and losses['loss_own'].requires_grad
    batch = student.method.parts['own'].batch
    assert batch.teacher is None and torch.equal(batch.raw_target, raw)
    assert torch.equal(batch.target, torch.where(raw == 1, 255, raw))
    assert batch.student.logits.shape == (2, SEEN, 32, 32)
    assert len(batch.student.stages) == 4 and batch.student.embedding.shape == (2, 8, 4, 4)
    expected = F.cross_entropy(batch.student.logits, batch.target, ignore_index=255)
    torch.testing.assert_close(losses['decode.loss_ce'], expected)


@pytest.mark.parametrize('make', METHODS.values(), ids=METHODS)
def test_data_samples_stay_as_they_are(tmp_path, make):
    student, _ = make(tmp_path)
    data = samples(labels([0, 3, 4, 255]))
    kept = [(sample.gt_sem_seg, sample.gt_sem_seg.data, sample.gt_sem_seg.data.clone(), set(sample.all_keys()))
            for sample in data]
    student.loss(images(), data)
    for sample, (field, tensor, values, keys) in zip(data, kept):
        assert sample.gt_sem_seg is field and field.data is tensor and torch.equal(tensor, values)
        assert set(sample.all_keys()) == keys


def test_copies_with_other_labels_keep_the_rest():
    target = labels([0, 1])
    data = samples(target)
    for sample in data:
        sample.gt_edge_map = PixelData(data=torch.ones(1, 32, 32))
    copies = with_targets(data, target + 1)
    for sample, changed, one in zip(data, copies, target):
        assert type(changed) is type(sample) and changed.metainfo == sample.metainfo
        assert torch.equal(changed.gt_sem_seg.data, one[None] + 1) and torch.equal(sample.gt_sem_seg.data, one[None])
        assert torch.equal(changed.gt_edge_map.data, sample.gt_edge_map.data)
