import pytest
import torch
from mmseg.registry import MODELS

from mmcss.engine.model_config import extended_model
from mmcss.models.narrowing import narrowed
from tests.models.makers import MODEL_CONFIGS, build, encoder_decoder, images, with_classes
from tests.models.test_heads import KNET, SEGMENTER

OLD, SEEN = 3, 5


def predictions(model):
    with torch.no_grad():
        return model.eval().encode_decode(images(), [dict(img_shape=(32, 32))] * 2)


@pytest.mark.parametrize('config', [*MODEL_CONFIGS.values(), KNET, SEGMENTER], ids=[*MODEL_CONFIGS, 'KNet', 'Segmenter'])
def test_it_is_the_model_of_the_step_before(config):
    old, model = (build(with_classes(config, number), seed=number) for number in (OLD, SEEN))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    found = narrowed(model, old.state_dict(), OLD)
    assert torch.equal(predictions(found), predictions(old)) and predictions(found).shape[1] == OLD
    assert found.num_classes == OLD and model.num_classes == SEEN
    assert {key: value.shape for key, value in found.state_dict().items()} == {
        key: value.shape for key, value in old.state_dict().items()}
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_one_with_an_unknown_class():
    old, model = (build(extended_model(with_classes(encoder_decoder(), number + 1), 'sigmoid', None, [2]), seed=number)
                  for number in (OLD, SEEN))
    found = narrowed(model, old.state_dict(), OLD)
    assert torch.equal(predictions(found), predictions(old)) and predictions(found).shape[1] == OLD + 1


def test_another_model_is_refused():
    model = build(with_classes(encoder_decoder('ASPP'), SEEN))
    with pytest.raises(ValueError, match='does not fit this model'):
        narrowed(model, build(with_classes(encoder_decoder(), OLD)).state_dict(), OLD)
    with pytest.raises(ValueError, match=r'from 4 to 5 classes, .*conv_seg.weight \(3, 8, 1, 1\) -> \(5, 8, 1, 1\)'):
        narrowed(model, build(with_classes(encoder_decoder('ASPP'), OLD)).state_dict(), OLD + 1)


def test_a_classifier_that_grows_by_modules_is_refused():
    heads = dict(type='StepHeads')
    model = MODELS.build(extended_model(with_classes(encoder_decoder(), SEEN), None, heads, [2, 2]))
    with pytest.raises(ValueError, match='previous: got a hand-over file, but a classifier with modules for each step'):
        narrowed(model, model.state_dict(), OLD)
