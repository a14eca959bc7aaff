import pytest
import torch
import torch.nn as nn

from mmcss.models import predict, watch_inference, watch_training
from mmcss.models.heads import decode_heads
from mmcss.models.taps import watch_features
from mmcss.parts import Needs
from tests.models.makers import MODEL_CONFIGS, build, encoder_decoder, images, labels, samples, segformer, with_classes

pytestmark = [
    pytest.mark.filterwarnings('ignore:torch.utils.checkpoint'),
    pytest.mark.filterwarnings('ignore:``build_pixel_sampler``'),
]

ALL = Needs(stages=True, embedding=True, logits=True)
NAMES = list(MODEL_CONFIGS)
CLASSES = 5


def make(name='FCN', **changes):
    config = encoder_decoder(name, **changes) if changes else MODEL_CONFIGS[name]
    return build(with_classes(config, CLASSES))


def metas(inputs):
    return [dict(img_shape=tuple(inputs.shape[2:]))] * len(inputs)


def batch(size=(32, 32)):
    return images(size=size), samples(labels([0, 1, 4, 255], size=size))


def forward(model, inputs):
    """All that the final head's ``forward`` returns."""
    return model._forward(inputs)


def main(output):
    return output[0] if isinstance(output, tuple) else output


def state_of(model):
    """Hooks and instance attributes of each module, which nothing may leave behind."""
    hooks = ('_forward_hooks', '_forward_pre_hooks', '_backward_hooks', '_backward_pre_hooks')
    return [(name, [list(getattr(module, hook)) for hook in hooks],
             {key: id(value) for key, value in module.__dict__.items() if callable(value) or key == 'sampler'})
            for name, module in model.named_modules()]


@pytest.mark.parametrize('changes', [{}, dict(depth=50), dict(with_cp=True), dict(type='ResNetV1d'),
                                     dict(out_indices=(2, 3), num_stages=4)])
@pytest.mark.parametrize('training', [False, True])
def test_stages_of_a_resnet_stand_before_the_last_relu(changes, training):
    head_changes = dict(in_channels=256) if 'depth' in changes else {}
    config = encoder_decoder(backbone=changes)
    config['decode_head'].update(head_changes, in_index=-1)
    model = build(with_classes(config, CLASSES)).train(training)
    inputs = images().requires_grad_()
    with watch_features(model, ALL) as seen:
        outputs = model.backbone(inputs)
    assert len(seen.stages) == 4
    indices = changes.get('out_indices', (0, 1, 2, 3))
    for number, output in zip(indices, outputs):
        tap = seen.stages[number]
        assert torch.equal(tap.relu(), output)
        assert (tap < 0).any()  # it is no output of a ReLU
    sum(stage.square().mean() for stage in seen.stages).backward()
    assert inputs.grad.abs().sum() > 0
    reached = [p.grad is not None and p.grad.isfinite().all() for p in model.backbone.parameters()]
    assert all(reached)


def test_gradients_through_taps_and_outputs_add_up():
    """With checkpointed blocks, which run again in the backward pass, as without."""
    found = []
    for with_cp in (False, True):
        model = make('FCN', backbone=dict(with_cp=with_cp)).eval()
        inputs = images().requires_grad_()
        with watch_features(model, ALL) as seen:
            outputs = model.backbone(inputs)
        kept = [stage.clone() for stage in seen.stages]
        (sum(stage.square().mean() for stage in seen.stages) + outputs[-1].sum()).backward()
        assert all(torch.equal(a, b) for a, b in zip(kept, seen.stages))
        found.append(inputs.grad)
    torch.testing.assert_close(*found)

    inputs = images().requires_grad_()
    values, x = [], model.backbone.stem(inputs)
    x = model.backbone.maxpool(x)
    for name in model.backbone.res_layers:
        first, last = getattr(model.backbone, name)
        identity = first(x)
        values.append(last.norm2(last.conv2(last.norm1(last.conv1(identity)).relu())) + identity)
        x = values[-1].relu()
    for value, stage in zip(values, kept):
        torch.testing.assert_close(value, stage)
    (sum(value.square().mean() for value in values) + x.sum()).backward()
    torch.testing.assert_close(inputs.grad, found[0])


def test_stages_of_other_backbones_are_their_outputs():
    model = build(with_classes(segformer(), CLASSES)).eval()
    with watch_features(model, ALL) as seen:
        outputs = model.backbone(images())
    assert len(seen.stages) == len(outputs) == 4
    assert all(tap is output for tap, output in zip(seen.stages, outputs))


def test_the_single_output_of_a_backbone_is_one_stage():

    class Backbone(nn.Conv2d):
        pass

    model = make()
    model.backbone = Backbone(3, 4, 1)
    with watch_features(model, ALL) as seen:
        output = model.backbone(images())
    assert len(seen.stages) == 1 and seen.stages[0] is output


@pytest.mark.parametrize('name', NAMES)
def test_watching_changes_no_output(name):
    model, inputs = make(name).eval(), images(size=(32, 48))
    with torch.no_grad():
        before = model.encode_decode(inputs, metas(inputs))
        with watch_features(model, ALL):
            during = model.encode_decode(inputs, metas(inputs))
        with watch_inference(model, ALL) as seen:
            small = model.encode_decode(inputs, metas(inputs))
        after = model.encode_decode(inputs, metas(inputs))
    assert torch.equal(before, during) and torch.equal(before, after)
    assert small is seen.head_logits and small.shape[2:] == ((8, 12) if name == 'Segformer' else (4, 6))
    assert torch.equal(seen.prediction((32, 48), model.align_corners).logits, before)


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('needs', [Needs(), ALL])
def test_watching_changes_no_loss(name, needs):
    """In training mode, with dropout and batch statistics."""
    model = make(name)
    found = []
    for watch in (False, True):
        torch.manual_seed(3)
        if watch:
            with watch_training(model, needs, (32, 32), None):
                found.append(model.loss(*batch()))
        else:
            found.append(model.loss(*batch()))
    assert list(found[0]) == list(found[1])
    assert all(torch.equal(found[0][key], found[1][key]) for key in found[0])


@pytest.mark.parametrize('name', NAMES)
def test_logits_of_training_are_those_of_a_forward_pass(name):
    model = make(name).eval()
    inputs, data = batch()
    with watch_training(model, Needs(), (32, 32), None) as seen:
        model.loss(inputs, data)
    expected = main(forward(model, inputs))
    assert torch.equal(seen.head_logits, expected)
    assert seen.head_logits.requires_grad
    assert torch.equal(predict(model, inputs, (32, 32), Needs()).head_logits, expected)


@pytest.mark.parametrize('name', [name for name in NAMES if name != 'DA'])
@pytest.mark.parametrize('training', [False, True])
def test_the_embedding_is_what_enters_dropout(name, training):
    model = make(name).train(training)
    final, entered, classified = decode_heads(model)[-1], [], []
    final.dropout.register_forward_pre_hook(lambda module, inputs: entered.append(inputs[0]))
    final.conv_seg.register_forward_pre_hook(lambda module, inputs: classified.append(inputs[0]))
    with watch_features(model, ALL) as seen:
        model.loss(*batch())
    assert seen.embedding is entered[-1]
    assert seen.embedding.shape[1] == final.channels
    assert torch.equal(entered[-1], classified[-1]) is not training


def test_the_embedding_of_a_head_without_dropout_enters_the_classifier():
    config = encoder_decoder()
    config['decode_head']['dropout_ratio'] = 0
    model, entered = build(with_classes(config, CLASSES)), []
    assert model.decode_head.dropout is None
    model.decode_head.conv_seg.register_forward_pre_hook(lambda module, inputs: entered.append(inputs[0]))
    with watch_features(model, ALL) as seen:
        model.loss(*batch())
    assert seen.embedding is entered[-1]


def test_the_embedding_of_danet_is_of_the_main_branch():
    """Three classifiers share one dropout; the main one comes last and sees the sum of the others' features."""
    model, entered = make('DA').eval(), []
    model.decode_head.conv_seg.register_forward_pre_hook(lambda module, inputs: entered.append(inputs[0]))
    with watch_features(model, ALL) as seen:
        forward(model, images())
    assert torch.equal(seen.embedding, entered[-1])


def test_a_head_without_known_embedding():
    model = make()
    model.decode_head.dropout = model.decode_head.conv_seg = None
    with pytest.raises(ValueError, match='FCNHead has neither dropout nor conv_seg'), watch_features(model, ALL):
        pass


def test_only_what_is_needed_is_tapped():
    model = make()
    with watch_features(model, Needs()) as seen:
        assert not any('forward' in vars(module) for module in model.modules())
        forward(model, images())
    assert seen.stages == [] and seen.embedding is None


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('fails', [False, True])
def test_nothing_is_left_behind(name, fails):
    model = make(name)
    before = state_of(model)
    weight = torch.ones(2, 1, 1)
    watches = [lambda: watch_features(model, ALL), lambda: watch_inference(model, ALL),
               lambda: watch_training(model, ALL, (32, 32), weight)]
    for watch in watches:
        try:
            with watch():
                assert state_of(model) != before
                model.loss(*batch())
                if fails:
                    raise KeyboardInterrupt
        except KeyboardInterrupt:
            assert fails
        assert state_of(model) == before


def test_nothing_is_left_behind_when_the_model_fails():
    model = make()
    before = state_of(model)
    with pytest.raises(RuntimeError), watch_training(model, ALL, (32, 32), torch.ones(2, 1, 1)):
        model.loss(images()[:, :2], batch()[1])  # two channels
    assert state_of(model) == before
    del model.decode_head.dropout
    model.decode_head.dropout = model.decode_head.conv_seg = None
    before = state_of(model)
    with pytest.raises(ValueError), watch_training(model, ALL, (32, 32), torch.ones(2, 1, 1)):
        pass  # fails when the stages are tapped already
    assert state_of(model) == before


def test_relus_work_in_place_again():
    model = make()
    before = [module.inplace for module in model.modules() if isinstance(module, nn.ReLU)]
    with watch_features(model, ALL):
        forward(model, images())
    assert [module.inplace for module in model.modules() if isinstance(module, nn.ReLU)] == before


def test_the_losses_come_back():
    model = make('FCN')
    loss = model.decode_head.loss_decode
    with watch_training(model, Needs(), (32, 32), torch.ones(2, 1, 1)):
        assert model.decode_head.loss_decode is not loss
    assert model.decode_head.loss_decode is loss
