"""Sliding windows and test-time augmentation after growth, in the student and in the stock model."""
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.structures import PixelData
from mmseg.models.segmentors import SegTTAModel
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from tests.models.makers import MODEL_CONFIGS, images, student_and_teacher, with_classes

OLD, NEW = 4, 2
SLIDE = dict(mode='slide', crop_size=(24, 24), stride=(16, 16))


def both(folder, name, test_cfg=None):
    """A grown student, and a stock model with its tensors."""
    student, _ = student_and_teacher(folder, MODEL_CONFIGS[name], OLD, NEW)
    stock = MODELS.build(with_classes(MODEL_CONFIGS[name], OLD + NEW))
    stock.load_state_dict(student.state_dict(), strict=True)
    student.test_cfg = stock.test_cfg = ConfigDict(test_cfg or dict(mode='whole'))
    return student.eval(), stock.eval()


def logits(model, inputs):
    with torch.no_grad():
        return torch.stack([sample.seg_logits.data for sample in model.predict(inputs)])


@pytest.mark.parametrize('name', ['FCN', 'OCR', 'Enc'])
def test_sliding_windows(tmp_path, name):
    student, stock = both(tmp_path, name, SLIDE)
    inputs = images(size=(40, 52))
    found = logits(student, inputs)
    assert found.shape == (2, OLD + NEW, 40, 52)
    assert torch.equal(found, logits(stock, inputs))
    whole = both(tmp_path, name)[0]
    assert not torch.allclose(found, logits(whole, inputs))
    assert torch.equal(logits(student, inputs[..., :24, :24]), logits(whole, inputs[..., :24, :24]))


@pytest.mark.parametrize('name', ['FCN', 'OCR'])
def test_test_time_augmentation(tmp_path, name):
    """The image and its mirror image: what is merged is the average of both in every class, new ones included."""
    student, stock = both(tmp_path, name)
    image = images(1)
    views = dict(inputs=[image, image.flip(3)], data_samples=[[view(False)], [view(True)]])
    found = []
    for model in (student, stock):
        with torch.no_grad():
            found.append(SegTTAModel(module=model).test_step(views)[0])
    labels = [one.pred_sem_seg.data for one in found]
    assert torch.equal(*labels)
    with torch.no_grad():
        scores = [student.encode_decode(one, [view(False).metainfo]).softmax(1) for one in (image, image.flip(3))]
    expected = (scores[0] + scores[1].flip(3)) / 2
    assert torch.equal(labels[0][0], expected[0].argmax(0))
    assert expected.shape[1] == OLD + NEW


def view(flip):
    """The data sample of a view."""
    shape = (32, 32)
    return SegDataSample(metainfo=dict(img_path='', img_shape=shape, ori_shape=shape, pad_shape=shape, flip=flip,
                                       flip_direction='horizontal' if flip else None),
                         gt_sem_seg=PixelData(data=torch.zeros(1, *shape)))
