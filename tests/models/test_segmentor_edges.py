"""Steps of the methods at their edges: odd batches, autocast, cascades, stock losses."""
import pytest
import torch

from tests.losses import loops
from tests.models.makers import (MODEL_CONFIGS, cascade, encoder_decoder, gradients, images, labels, samples, segformer,
                                 student_and_teacher, total)
from tests.models.test_segmentors import METHODS, NEW, OLD, TOLERANCE, make_plop, upsampled

EDGES = {
    'ignored only': ([255], 2, (32, 32)),
    'no background': ([3, 4, 255], 2, (32, 32)),
    'no new class': ([0, 255], 2, (32, 32)),
    'background only': ([0], 2, (32, 32)),
    'one image': ([0, 3, 4, 255], 1, (32, 32)),
    'wide': ([0, 3, 4, 255], 2, (32, 64)),
    'odd': ([0, 3, 4, 255], 2, (45, 37)),
}


@pytest.mark.parametrize('make', METHODS.values(), ids=METHODS)
@pytest.mark.parametrize('edge', EDGES)
def test_edges(tmp_path, make, edge):
    classes, number, size = EDGES[edge]
    student, _ = make(tmp_path)
    student.train(number > 1)  # batch statistics need two images
    raw = labels(classes, number, size)
    losses = student.loss(images(number, size), samples(raw))
    assert all(value.isfinite().all() for value in losses.values())
    total(losses).backward()
    found = gradients(student)
    assert all(gradient.isfinite().all() for gradient in found.values())
    assert sum(gradient.abs().sum() for gradient in found.values()) > 0
    if edge == 'ignored only':
        assert [losses[key].item() for key in losses if key.startswith('decode.loss')] == [0]


@pytest.mark.parametrize('threshold', [1e-9, 9.])
def test_edges_of_the_thresholds(tmp_path, threshold):
    """None or all of the background accepted."""
    student, _ = make_plop(tmp_path, threshold=threshold)
    losses = student.loss(images(), samples(labels([0])))
    total(losses).backward()
    assert all(value.isfinite().all() for value in losses.values())
    assert all(gradient.isfinite().all() for gradient in gradients(student).values())
    assert (losses['decode.loss_ce'] > 0) == (threshold > 1)


def test_a_student_that_is_its_teacher(tmp_path):
    """At the first iteration all distances are 0 but those of the logits; 0, not NaN, is their gradient."""
    method = dict(losses=dict(pod=dict(type='LocalPOD', logits_weight=0.)))
    student, _ = student_and_teacher(tmp_path, encoder_decoder('ASPP'), OLD, NEW, method, moved=0)
    loss = student.eval().loss(images(), samples(labels([0, 4])))['loss_pod']
    loss.backward()
    assert loss.item() == 0
    for parameter in student.parameters():
        assert parameter.grad is None or torch.equal(parameter.grad, torch.zeros_like(parameter))


@pytest.mark.parametrize('make', METHODS.values(), ids=METHODS)
@pytest.mark.parametrize('config', [encoder_decoder('ASPP', auxiliary=True), cascade(), segformer()],
                         ids=['ASPP', 'OCR', 'Segformer'])
def test_autocast(tmp_path, make, config):
    student, _ = make(tmp_path, config)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        losses = student.loss(images(), samples(labels([0, 3, 4, 255])))
    for key, value in losses.items():
        assert value.isfinite().all(), key
        assert 'loss' not in key or value.dtype == torch.float32
    total(losses).backward()
    assert all(gradient.isfinite().all() for gradient in gradients(student).values())
    assert student.teacher.model.training is False


@pytest.mark.parametrize('make', METHODS.values(), ids=METHODS)
@pytest.mark.parametrize('name', list(MODEL_CONFIGS))
def test_training_lowers_the_loss(tmp_path, make, name):
    """Of cascades, heads of several outputs and transformers too."""
    student, _ = make(tmp_path, MODEL_CONFIGS[name])
    student.eval()  # without dropout, so that losses compare
    data, optimizer = samples(labels([0, 3, 4, 255])), torch.optim.Adam(student.parameters(), lr=2e-4)
    values = []
    for _ in range(3):
        loss = total(student.loss(images(), data))
        optimizer.zero_grad()
        loss.backward()
        assert all(gradient.isfinite().all() for gradient in gradients(student).values())
        optimizer.step()
        values.append(loss.item())
    assert values == sorted(values, reverse=True) and values[-1] < values[0]


def test_pseudo_labels_and_weights_reach_both_heads_of_a_cascade(tmp_path):
    student, teacher = make_plop(tmp_path, cascade())
    student.eval()
    raw = labels([0, 0, 3, 4, 255])
    with torch.no_grad():
        features, old = student.extract_feat(images()), teacher._forward(images())
        first = student.decode_head[0].forward(features)
        logits = [first, student.decode_head[1].forward(features, first)]
    entropy = torch.from_numpy(loops.entropy(upsampled(old, (32, 32))))
    limit = entropy.median().item() + 1e-5
    student.method.parts['targets'].thresholds = torch.full((1, OLD), limit)
    accepted = (raw == 0) & (entropy < limit)
    target = torch.where(raw == 0, torch.where(accepted, upsampled(old, (32, 32)).argmax(dim=1), 255), raw)
    nu = (accepted.sum(dim=(1, 2), keepdim=True) / (raw == 0).sum(dim=(1, 2), keepdim=True)).double()
    losses = student.loss(images(), samples(raw))
    for number, one in enumerate(logits):
        per_pixel = loops.cross_entropy(upsampled(one, (32, 32)), target) * nu.numpy()
        expected = per_pixel.sum() / (target != 255).sum().item()
        assert losses[f'decode_{number}.loss_ce'].item() == pytest.approx(expected, rel=TOLERANCE)


@pytest.mark.filterwarnings('ignore:``build_pixel_sampler``')
def test_ohem_of_a_stock_config_keeps_working(tmp_path):
    """Its choice of pixels, times PLOP's weights."""
    config = encoder_decoder('FCN')
    config['decode_head']['sampler'] = dict(type='OHEMPixelSampler', thresh=.5, min_kept=50)
    student, _ = make_plop(tmp_path, config)
    student.eval()
    raw = labels([0, 0, 3, 4, 255])
    losses = student.loss(images(), samples(raw))
    batch = student.predict_batch(images(), samples(raw), student.method.needs)
    student.method.complete_targets(batch)
    with torch.no_grad():
        logits = upsampled(student._forward(images()), (32, 32))
    kept = student.decode_head.sampler.sample(logits, batch.target[:, None])
    valid = (batch.target != 255).sum().item()
    assert 0 < kept.sum().item() < valid
    weighted = loops.cross_entropy(logits, batch.target) * (kept * batch.pixel_weight).double().numpy()
    assert losses['decode.loss_ce'].item() == pytest.approx(weighted.sum() / valid, rel=TOLERANCE)
