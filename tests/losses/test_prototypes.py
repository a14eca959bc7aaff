import pytest
import torch
import torch.nn.functional as F

from mmcss.losses import class_means, class_shares, class_sums


def random_case(size=(13, 9), grid=(4, 5), classes=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(2, 3, *grid, generator=generator)
    target = torch.randint(classes, (2, *size), generator=generator)
    target[:, :2] = 255
    return features, target


@pytest.mark.parametrize('align_corners', [False, True])
@pytest.mark.parametrize('size, grid', [((13, 9), (4, 5)), ((8, 8), (8, 8)), ((6, 7), (1, 1)), ((1, 5), (2, 3)), ((3, 3), (7, 5))])
def test_sums_are_those_of_upsampled_features(size, grid, align_corners):
    features, target = random_case(size, grid)
    sums, counts = class_sums(features, target, 4, align_corners)
    upsampled = F.interpolate(features, size, mode='bilinear', align_corners=align_corners)
    for image in range(2):
        for c in range(4):
            mask = target[image] == c
            torch.testing.assert_close(sums[image, c], upsampled[image, :, mask].sum(dim=1), rtol=1e-4, atol=1e-4)
            assert counts[image, c].item() == pytest.approx(mask.sum().item(), abs=1e-3)


def test_shares_of_a_class_are_its_pixels():
    _, target = random_case()
    shares = class_shares(target, 4, (4, 5))
    assert shares.shape == (2, 4, 4, 5) and (shares >= 0).all()
    torch.testing.assert_close(shares.sum(dim=(2, 3)), F.one_hot(target.where(target < 4, 4), 5).sum(dim=(1, 2))[:, :4].float())


def test_labels_of_no_class_count_for_none():
    features = torch.ones(1, 2, 2, 2)
    target = torch.tensor([[[-3, 255], [7, 1]]])
    sums, counts = class_sums(features, target, 2)
    assert counts.tolist() == [[0, 1]] and sums.tolist() == [[[0, 0], [1, 1]]]


def test_means_of_absent_classes_are_zero():
    means = class_means(torch.tensor([[4., 2.], [0., 0.]]), torch.tensor([2., 0.]))
    assert means.tolist() == [[2, 1], [0, 0]]
