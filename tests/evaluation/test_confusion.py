import numpy as np
import pytest
import torch

from mmcss.evaluation import accuracy_per_class, confusion_matrix, iou_per_class, mean_over, pixel_accuracy

# Four classes; class 3 has no label but is predicted.
LABEL = torch.tensor([0, 0, 1, 1, 255, 2, 0, 0])
PREDICTION = torch.tensor([0, 1, 1, 3, 2, 2, 0, 3])


def brute_force(prediction, label, num_classes, ignore_index):
    counts = np.zeros((num_classes, num_classes), dtype=int)
    for p, t in zip(prediction.flatten().tolist(), label.flatten().tolist()):
        if t != ignore_index:
            counts[t, p] += 1
    return counts


@pytest.mark.parametrize('num_classes, shape, dtype', [
    (1, (5, ), torch.int64), (2, (4, 6), torch.uint8), (5, (2, 7, 9), torch.int64), (21, (1, 32, 32), torch.int32),
    # 151^2 does not fit into the type of the labels.
    (151, (64, 64), torch.uint8)
])
@pytest.mark.parametrize('ignore_index', [255, 254])
def test_confusion_matrix_counts_as_a_loop_does(num_classes, shape, dtype, ignore_index):
    draw = torch.Generator().manual_seed(num_classes)
    prediction = torch.randint(num_classes, shape, generator=draw).to(dtype)
    label = torch.randint(num_classes, shape, generator=draw).to(dtype)
    label[torch.rand(shape, generator=draw) < 0.3] = ignore_index
    counts = confusion_matrix(prediction, label, num_classes, ignore_index)
    assert counts.dtype == torch.int64
    assert counts.sum() == (label != ignore_index).sum() > 0
    assert np.array_equal(counts.numpy(), brute_force(prediction, label, num_classes, ignore_index))


def test_nothing_but_ignored_pixels():
    counts = confusion_matrix(torch.zeros(3, 3, dtype=torch.long), torch.full((3, 3), 255), 2)
    assert counts.tolist() == [[0, 0], [0, 0]]


def test_published_example():
    counts = confusion_matrix(PREDICTION, LABEL, 4)
    assert counts.tolist() == [[2, 1, 0, 1], [0, 1, 0, 1], [0, 0, 1, 0], [0, 0, 0, 0]]
    # A class that is only predicted has IoU 0, as in the stock metric, and no accuracy.
    assert iou_per_class(counts.numpy()).tolist() == pytest.approx([50, 100 / 3, 100, 0])
    assert accuracy_per_class(counts.numpy()).tolist() == pytest.approx([50, 50, 100, np.nan], nan_ok=True)
    assert pixel_accuracy(counts.numpy()) == pytest.approx(100 * 4 / 7)


def test_absent_class_has_no_value():
    counts = np.array([[3, 1, 0], [2, 4, 0], [0, 0, 0]])
    assert iou_per_class(counts).tolist() == pytest.approx([50, 400 / 7, np.nan], nan_ok=True)
    assert accuracy_per_class(counts).tolist() == pytest.approx([75, 200 / 3, np.nan], nan_ok=True)


def test_no_pixels():
    empty = np.zeros((2, 2), dtype=int)
    assert np.isnan(iou_per_class(empty)).all() and np.isnan(accuracy_per_class(empty)).all()
    assert np.isnan(pixel_accuracy(empty))


def test_mean_leaves_absent_classes_out():
    values = np.array([10., np.nan, 40., 70.])
    assert mean_over(values, [0, 1, 2]) == 25
    assert mean_over(values, [3]) == 70
    assert np.isnan(mean_over(values, [1])) and np.isnan(mean_over(values, []))
