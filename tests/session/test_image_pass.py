import random
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

from mmcss.parts import Needs
from mmcss.random_state import random_state
from mmcss.session import ImagePass, SeededImages


class Model(nn.Module):
    """Tells how it was looked at."""

    def predict_batch(self, inputs, data_samples, needs, student):
        torch.rand(1)
        return inputs, data_samples, needs, student, self.training, torch.is_grad_enabled()


@pytest.mark.parametrize('training', [True, False])
def test_a_pass_leaves_model_and_random_numbers_as_they_were(training):
    model, needs, batches = Model().train(training), Needs(backbone_output=True), [dict(inputs=i, data_samples=[i]) for i in range(2)]
    before = random_state()['torch']
    found = list(ImagePass(model, needs, True, lambda number: batches))
    assert found == [(0, [0], needs, True, False, False), (1, [1], needs, True, False, False)]
    assert model.training is training and torch.is_grad_enabled()
    assert torch.equal(random_state()['torch'], before)


def test_what_is_frozen_in_evaluation_mode_stays_there():
    model = Model()
    model.norm = nn.BatchNorm2d(2).eval()
    list(ImagePass(model, Needs(), True, lambda number: [dict(inputs=0, data_samples=[])]))
    assert model.training and not model.norm.training


def test_nothing_is_loaded_until_it_is_iterated():
    """And each time anew, as another pass."""
    loaded = []
    images = ImagePass(Model(), Needs(), False, lambda number: loaded.append(number) or [])
    assert loaded == []
    assert list(images) == list(images) == [] and loaded == [0, 1]


def test_batches_are_looked_at_in_the_precision_given():
    entered = []

    @contextmanager
    def precision():
        entered.append('in')
        yield
        entered.append('out')

    for _ in ImagePass(Model(), Needs(), False, lambda number: [dict(inputs=0, data_samples=[])] * 2, precision):
        assert entered[-1] == 'out'
    assert entered == ['in', 'out'] * 2


class Noise(Dataset):
    """Images with augmentations of all generators."""

    def __getitem__(self, index):
        return index, random.random(), np.random.rand(), torch.rand(1).item()


def test_augmentations_depend_on_image_and_seed():
    whole, part = SeededImages(Noise(), range(7), 5), SeededImages(Noise(), [4, 2], 5)
    assert (len(whole), len(part)) == (7, 2)
    assert (part[0], part[1]) == (whole[4], whole[2])
    others = [SeededImages(Noise(), range(7), *given) for given in ((6, ), (5, 1), (5, 2))]
    numbers = [images[image][1:] for images in (whole, *others) for image in range(7)]
    assert len(set(numbers)) == 28


def test_the_first_pass_has_the_seeds_of_image_and_run_alone():
    """Those of runs before there were others."""
    images = SeededImages(Noise(), range(7), 5)
    for image in range(7):
        expected = random.Random(int(np.random.SeedSequence([5, image]).generate_state(1)[0])).random()
        assert images[image][1] == expected
