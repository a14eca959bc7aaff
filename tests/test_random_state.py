import random

import numpy as np
import pytest
import torch

from mmcss.random_state import preserved_random_state, random_state, set_random_state


@pytest.fixture(autouse=True)
def own_random_state():
    with preserved_random_state():
        random.seed(1)
        np.random.seed(2)
        torch.manual_seed(3)
        yield


def draw():
    """Numbers of each generator; normal ones too, of which python and numpy keep every second."""
    return [random.random(), random.gauss(0, 1), np.random.rand(), np.random.randn(), torch.rand(3).tolist(),
            torch.randn(17).tolist()]


def through_a_file(value, path):
    torch.save(value, path)
    return torch.load(path, weights_only=True)


def test_state_brings_the_same_numbers_back():
    state = random_state()
    first, second = draw(), draw()
    assert all(a != b for a, b in zip(first, second))
    set_random_state(state)
    assert draw() == first
    assert draw() == second


def test_state_holds_the_second_normal_number():
    """Both generators make normal numbers in pairs and keep one."""
    random.gauss(0, 1), np.random.randn()
    state = random_state()
    expected = random.gauss(0, 1), np.random.randn()
    random.seed(9), np.random.seed(9)
    set_random_state(state)
    assert (random.gauss(0, 1), np.random.randn()) == expected


def test_state_survives_a_file_that_is_loaded_without_code(tmp_path):
    draw()
    state = random_state()
    first = draw()
    set_random_state(through_a_file(state, tmp_path / 'state.pth'))
    assert draw() == first


def test_state_may_be_on_a_device():
    """All tensors that must not be are asked for on the CPU."""
    moved = []

    class OnDevice(torch.Tensor):

        def cpu(self):
            moved.append(self.dtype)
            return torch.Tensor.cpu(self).as_subclass(torch.Tensor)

        def numpy(self):
            raise TypeError('on a device')

    state = random_state()
    first = draw()
    kind, keys, *others = state['numpy']
    state.update(numpy=(kind, keys.as_subclass(OnDevice), *others), torch=state['torch'].as_subclass(OnDevice))
    set_random_state(state)
    assert draw() == first and moved == [torch.int64, torch.uint8]


def test_state_is_a_copy():
    state = random_state()
    first = draw()
    set_random_state(state)
    draw()
    set_random_state(state)
    assert draw() == first


@pytest.mark.parametrize('error', [False, True])
def test_block_leaves_no_trace(error):
    state = random_state()
    expected = draw()
    set_random_state(state)
    try:
        with preserved_random_state():
            assert draw() == expected
            torch.manual_seed(5)
            if error:
                raise RuntimeError
    except RuntimeError:
        pass
    assert draw() == expected
