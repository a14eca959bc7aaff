import math

import pytest
import torch
import torch.nn as nn

from mmcss.engine.model_config import extended_model
from mmcss.models import class_axes, grow
from tests.models.makers import MODEL_CONFIGS, build, encoder_decoder, images, with_classes

OLD, NEW = 4, 2
SEEN = OLD + NEW


def both(*layers):
    return {f'{layer}.{kind}' for layer in layers for kind in ('weight', 'bias')}


CLASS_TENSORS = {
    'FCN': both('decode_head.conv_seg'),
    'ASPP': both('decode_head.conv_seg', 'auxiliary_head.conv_seg'),
    'DA': both('decode_head.conv_seg', 'decode_head.pam_conv_seg', 'decode_head.cam_conv_seg'),
    'Enc': both('decode_head.conv_seg', 'decode_head.se_layer'),
    'OCR': both('decode_head.0.conv_seg', 'decode_head.1.conv_seg'),
    'Segformer': both('decode_head.conv_seg'),
}
NAMES = list(MODEL_CONFIGS)


def grown(name, new_rows='random'):
    """The old model, the new one as it was initialised, and the new one after growth."""
    old = build(with_classes(MODEL_CONFIGS[name], OLD), seed=0)
    model = build(with_classes(MODEL_CONFIGS[name], SEEN), seed=1)
    fresh = {key: value.clone() for key, value in model.state_dict().items()}
    grow(model, old.state_dict(), OLD, new_rows)
    return old.eval(), fresh, model.eval()


def logits(model, inputs):
    with torch.no_grad():
        found = model._forward(inputs)
    return found[0] if isinstance(found, tuple) else found


@pytest.mark.parametrize('name', NAMES)
def test_class_axes(name):
    old, new = (build(with_classes(MODEL_CONFIGS[name], classes)).state_dict() for classes in (OLD, SEEN))
    assert class_axes(old, new, OLD, SEEN).rows == dict.fromkeys(CLASS_TENSORS[name], 0)


@pytest.mark.parametrize('name', NAMES)
def test_growth_with_random_rows(name):
    old, fresh, model = grown(name)
    before, after = old.state_dict(), model.state_dict()
    assert set(after) == set(before)
    for key, tensor in after.items():
        if key in CLASS_TENSORS[name]:
            assert len(tensor) == SEEN
            assert torch.equal(tensor[:OLD], before[key])
            assert torch.equal(tensor[OLD:], fresh[key][OLD:])
            assert not torch.equal(tensor[:OLD], fresh[key][:OLD])
        else:
            assert torch.equal(tensor, before[key])


@pytest.mark.parametrize('name', NAMES)
def test_growth_with_background_rows(name):
    old, _, model = grown(name, 'background')
    before, after = old.state_dict(), model.state_dict()
    for key, tensor in after.items():
        if key not in CLASS_TENSORS[name]:
            assert torch.equal(tensor, before[key])
            continue
        shared = key.endswith('bias') and 'se_layer' not in key  # which has a sigmoid for each class
        share = math.log(NEW + 1) if shared else 0
        assert torch.equal(tensor[1:OLD], before[key][1:])
        for row in (0, *range(OLD, SEEN)):
            torch.testing.assert_close(tensor[row], before[key][0] - share, rtol=0, atol=1e-6)


@pytest.mark.parametrize('name', [name for name in NAMES if name != 'OCR'])
def test_old_logits_stay(name):
    old, _, model = grown(name)
    inputs = images()
    torch.testing.assert_close(logits(model, inputs)[:, :OLD], logits(old, inputs), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('new_rows', ['random', 'background'])
def test_old_logits_of_the_first_head_of_a_cascade_stay(new_rows):
    """The OCR head's attend over the classes of the first head, so that they move."""
    old, _, model = grown('OCR', new_rows)
    with torch.no_grad():
        before, after = (m.decode_head[0].forward(m.extract_feat(images())) for m in (old, model))
    untouched = slice(0 if new_rows == 'random' else 1, OLD)
    torch.testing.assert_close(after[:, untouched], before[:, untouched], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('name', [name for name in NAMES if name != 'OCR'])
def test_background_rows_share_the_probability_of_background_evenly(name):
    old, _, model = grown(name, 'background')
    before, after = (logits(m, images()).softmax(dim=1) for m in (old, model))
    for row in (0, *range(OLD, SEEN)):
        torch.testing.assert_close(after[:, row], before[:, 0] / (NEW + 1), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(after[:, 1:OLD], before[:, 1:], rtol=1e-4, atol=1e-6)


def test_the_old_state_is_not_touched_or_shared():
    old = build(with_classes(MODEL_CONFIGS['FCN'], OLD)).state_dict()
    before = {key: value.clone() for key, value in old.items()}
    model = build(with_classes(MODEL_CONFIGS['FCN'], SEEN), seed=1)
    grow(model, old, OLD, 'background')
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.zero_()
    assert all(torch.equal(old[key], before[key]) for key in old)


def test_growth_twice_keeps_all_older_rows():
    first = build(with_classes(MODEL_CONFIGS['FCN'], 3), seed=0)
    second = build(with_classes(MODEL_CONFIGS['FCN'], 4), seed=1)
    third = build(with_classes(MODEL_CONFIGS['FCN'], 7), seed=2)
    grow(second, first.state_dict(), 3)
    grow(third, second.state_dict(), 4)
    weight = third.decode_head.conv_seg.weight
    assert torch.equal(weight[:3], first.decode_head.conv_seg.weight)
    assert torch.equal(weight[3], second.decode_head.conv_seg.weight[3])


class Embeddings(nn.Module):
    """Class embeddings along dimension 1, and a norm over the classes, as in Segmenter."""

    def __init__(self, classes):
        super().__init__()
        self.num_classes = classes
        self.embedding = nn.Parameter(torch.randn(1, classes, 3))
        self.norm = nn.LayerNorm(classes)
        self.other = nn.Linear(3, 3)


@pytest.mark.parametrize('new_rows', ['random', 'background'])
def test_classes_along_another_dimension(new_rows):
    old, model = Embeddings(OLD), Embeddings(SEEN)
    fresh = model.embedding.detach().clone()
    assert class_axes(old.state_dict(), model.state_dict(), OLD, SEEN).rows == {
        'embedding': 1, 'norm.weight': 0, 'norm.bias': 0}
    grow(model, old.state_dict(), OLD, new_rows)
    assert torch.equal(model.embedding[:, :OLD], old.embedding)
    expected = fresh[:, OLD:] if new_rows == 'random' else old.embedding[:, :1].expand(1, NEW, 3)
    assert torch.equal(model.embedding[:, OLD:], expected)
    assert torch.equal(model.other.weight, old.other.weight)


def test_another_config_names_what_is_missing_and_what_is_too_much():
    old = build(with_classes(encoder_decoder('ASPP'), OLD)).state_dict()
    model = build(with_classes(encoder_decoder('FCN'), SEEN))
    with pytest.raises(ValueError, match='another config') as error:
        grow(model, old, OLD)
    missing, unexpected = str(error.value).split(' besides')[0].split('lacks ')[1].split(' and has ')
    assert 'decode_head.convs.0.conv.weight' in missing and 'aspp' not in missing
    assert 'decode_head.aspp_modules.0.conv.weight' in unexpected and 'more' in unexpected
    assert 'convs.0' not in unexpected


def test_a_model_without_class_dependent_tensors():
    state = build(with_classes(MODEL_CONFIGS['FCN'], OLD)).state_dict()
    with pytest.raises(ValueError, match=f'from {OLD} to {SEEN} classes, no tensor changes its shape'):
        class_axes(state, state, OLD, SEEN)


@pytest.mark.parametrize('before, after', [
    ((OLD, OLD), (SEEN, SEEN)),  # two dimensions of classes
    ((OLD, 8), (SEEN + 1, 8)),  # not the number of classes
    ((OLD + 1, 8), (SEEN, 8)),
    ((OLD, 8), (SEEN, 9)),  # classes, and something else besides
    ((OLD, 8), (OLD, 9)),  # something else alone
    ((OLD, 8), (SEEN, 8, 1)),  # another kind of layer
    ((OLD, 8), (SEEN, )),
])
def test_a_tensor_that_classes_do_not_explain(before, after):
    old = {'good.bias': torch.zeros(OLD), 'strange.weight': torch.zeros(before)}
    new = {'good.bias': torch.zeros(SEEN), 'strange.weight': torch.zeros(after)}
    with pytest.raises(ValueError, match='strange.weight') as error:
        class_axes(old, new, OLD, SEEN)
    assert f'{before} -> {after}' in str(error.value)
    assert 'good.bias' not in str(error.value)


def test_wrong_number_of_old_classes():
    old, model = (build(with_classes(MODEL_CONFIGS['FCN'], classes)) for classes in (OLD, SEEN))
    with pytest.raises(ValueError, match='conv_seg.weight'):
        grow(model, old.state_dict(), OLD - 1)


def test_unknown_new_rows():
    old, model = (build(with_classes(MODEL_CONFIGS['FCN'], classes)) for classes in (OLD, SEEN))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(ValueError, match="new_rows: got 'zeros', valid are random, background"):
        grow(model, old.state_dict(), OLD, 'zeros')
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_as_many_classes_as_before():
    old, model = (build(with_classes(MODEL_CONFIGS['FCN'], OLD), seed=seed) for seed in (0, 1))
    grow(model, old.state_dict(), OLD, 'background')
    assert all(torch.equal(value, old.state_dict()[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize('old, new', [('ASPP', 'FCN'), ('FCN', 'ASPP')])
def test_as_many_classes_as_before_of_another_config(old, new):
    state = build(with_classes(encoder_decoder(old), OLD)).state_dict()
    model = build(with_classes(encoder_decoder(new), OLD))
    with pytest.raises(ValueError, match='another config'):
        grow(model, state, OLD)


def test_as_many_classes_as_before_with_more_tensors():
    """An auxiliary head that the new config lacks."""
    state = build(with_classes(encoder_decoder('FCN', auxiliary=True), OLD)).state_dict()
    model = build(with_classes(encoder_decoder('FCN'), OLD))
    with pytest.raises(ValueError, match='auxiliary_head'):
        grow(model, state, OLD)


def grown_with_unknown(name, new_rows):
    """As :func:`grown`, of models with an unknown class behind all others."""
    def of(classes, seed):
        return build(extended_model(with_classes(MODEL_CONFIGS[name], classes + 1), 'sigmoid', None, ()), seed)

    old, model = of(OLD, 0), of(SEEN, 1)
    fresh = {key: value.clone() for key, value in model.state_dict().items()}
    grow(model, old.state_dict(), OLD, new_rows)
    return old.state_dict(), fresh, model.state_dict()


@pytest.mark.parametrize('new_rows', ['random', 'background', 'unknown'])
@pytest.mark.parametrize('name', NAMES)
def test_new_rows_go_before_the_unknown_s(name, new_rows):
    before, fresh, after = grown_with_unknown(name, new_rows)
    assert set(after) == set(before)
    for key, tensor in after.items():
        if key not in CLASS_TENSORS[name]:
            assert torch.equal(tensor, before[key])
            continue
        shared = key.endswith('bias') and 'se_layer' not in key
        share = math.log(NEW + 1) if new_rows == 'background' and shared else 0
        expected = {'random': fresh[key][OLD:SEEN], 'background': before[key][:1] - share, 'unknown': before[key][-1:]}
        assert (len(before[key]), len(tensor)) == (OLD + 1, SEEN + 1)
        assert torch.equal(tensor[1:OLD], before[key][1:OLD])
        assert torch.equal(tensor[SEEN], before[key][OLD]) and not torch.equal(tensor[SEEN], fresh[key][SEEN])
        torch.testing.assert_close(tensor[0], before[key][0] - share, rtol=0, atol=1e-6 * (share > 0))
        torch.testing.assert_close(tensor[OLD:SEEN], expected[new_rows].expand_as(tensor[OLD:SEEN]), rtol=0,
                                   atol=1e-6 * (share > 0))


def test_unknown_rows_of_a_model_without_an_unknown_class():
    with pytest.raises(ValueError, match=r"'unknown' needs a model with an unknown class \(continual.unknown\)"):
        grown('FCN', 'unknown')


def test_as_many_classes_as_before_with_an_unknown_class():
    old, model = (build(extended_model(with_classes(MODEL_CONFIGS['FCN'], OLD + 1), 'sigmoid', None, ()), seed)
                  for seed in (0, 1))
    grow(model, old.state_dict(), OLD, 'unknown')
    assert all(torch.equal(value, old.state_dict()[key]) for key, value in model.state_dict().items())


def test_a_model_without_an_unknown_class_does_not_grow_into_one_that_has_it():
    old = build(with_classes(MODEL_CONFIGS['FCN'], OLD))
    model = build(extended_model(with_classes(MODEL_CONFIGS['FCN'], SEEN + 1), 'sigmoid', None, ()))
    with pytest.raises(ValueError, match=f'from {OLD + 1} to {SEEN + 1} classes, decode_head.conv_seg.weight'):
        grow(model, old.state_dict(), OLD)
