import pytest
from mmengine.dataset import pseudo_collate
from mmengine.structures import PixelData
from torch import nn
from torch.utils.data import DataLoader

from mmcss.datasets import StepDataset
from mmcss.evaluation import evaluate
from mmcss.scenario import ClassIncremental, Protocol
from tests.tiny import CLASSES, loader

SPLIT = ClassIncremental.from_config(CLASSES[1:], base=2, increment=1)[1]


class Oracle(nn.Module):
    """Knows the labels, but takes class 3 for class 1."""

    def test_step(self, data):
        assert not self.training
        for sample in data['data_samples']:
            labels = sample.gt_sem_seg.data.clone()
            labels[labels == 3] = 1
            sample.pred_sem_seg = PixelData(data=labels)
        return data['data_samples']


@pytest.fixture
def images(tiny_data):
    return StepDataset(loader(tiny_data, 'val')['dataset'], SPLIT, Protocol())


def test_scores_of_a_step(images):
    """Two of the four images show blue, taken for red, which one shows besides; each square has 144 pixels."""
    model = Oracle()
    scores = evaluate(model, images)
    assert scores['classes'] == ['background', 'red', 'green', 'blue']
    assert scores['IoU'][0] == scores['IoU'][2] == 100 and scores['IoU'][3] == scores['mIoU_new'] == 0
    assert 0 < scores['IoU'][1] < 100 and scores['mIoU'] == pytest.approx(sum(scores['IoU']) / 4, abs=.01)
    assert model.training
    assert evaluate(model, DataLoader(images, batch_size=3, collate_fn=pseudo_collate)) == scores


def test_each_module_is_left_in_its_mode_where_it_fails(images):
    model = nn.Sequential(nn.Dropout(), nn.Identity().eval(), nn.Sequential(nn.Dropout()).eval())
    model[2][0].train()
    with pytest.raises(AttributeError, match='test_step'):
        evaluate(model, images)
    assert [module.training for module in model.modules()] == [True, True, False, False, True]


def test_images_of_training_are_refused(tiny_data):
    told = r'images: got a data set whose view is a TrainView, expected a Protocol\.'
    with pytest.raises(ValueError, match=told):
        evaluate(Oracle(), StepDataset(loader(tiny_data, 'val')['dataset'], SPLIT))


def test_a_forgotten_collate_fn_is_told(images):
    told = "^loader: got torch's default_collate, which can't collate data samples; build it with collate_fn=pseudo_collate"
    with pytest.raises(ValueError, match=told):
        evaluate(Oracle(), DataLoader(images))
