"""Reading checkpoints without running code from them."""
import os
from collections import OrderedDict

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.optim import OneCycleLR
from mmengine.runner import CheckpointLoader

from mmcss.engine.plain_checkpoints import SUPPORTED, load_from_plain_file, plain_checkpoints

pytestmark = [
    pytest.mark.stack,
    pytest.mark.skipif(not SUPPORTED, reason='torch before 2.7 reads checkpoints as mmengine does')
]


class Harmful:
    """Makes a folder when it is read."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path, )


class Getattr:
    """Asks for an attribute when it is read."""

    def __init__(self, owner, name):
        self.owner = owner
        self.name = name

    def __reduce__(self):
        return getattr, (self.owner, self.name)


def buffer():
    found = HistoryBuffer()
    for value in (3., 1., 2.):
        found.update(value)
    return found


def save(path, **more):
    torch.save(dict(state_dict=OrderedDict(weight=torch.arange(3.)), meta=dict(epoch=1, iter=2), **more), path)
    return str(path)


@pytest.mark.parametrize('curve', ['cos', 'linear'])
def test_a_scheduler_that_keeps_its_own_curve(tmp_path, curve):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=.1)
    scheduler = OneCycleLR(optimizer, eta_max=1., total_steps=10, anneal_strategy=curve)
    state = load_from_plain_file(save(tmp_path / 'a.pth', param_schedulers=[scheduler.state_dict()]))['param_schedulers'][0]
    assert state == scheduler.state_dict()
    scheduler.load_state_dict(state)


def test_what_mmengine_writes_is_read(tmp_path):
    path = save(tmp_path / 'a.pth', message_hub=dict(
        log_scalars=dict(loss=buffer()), runtime_info=dict(number=np.float32(2), flag=np.bool_(True), iter=np.int64(7),
                          small=np.uint8(3), half=np.arange(2, dtype=np.float16))))
    loaded = load_from_plain_file(path, map_location='cpu')
    assert torch.equal(loaded['state_dict']['weight'], torch.arange(3.))
    read = loaded['message_hub']['log_scalars']['loss']
    assert (read.mean(), read.min(), read.max(), read.current()) == (2, 1, 3, 2)
    info = loaded['message_hub']['runtime_info']
    assert info.pop('half').tolist() == [0, 1]
    assert info == dict(number=2, flag=True, iter=7, small=3)


def test_code_in_a_file_is_not_run(tmp_path):
    path = save(tmp_path / 'a.pth', extra=Harmful(tmp_path / 'made'))
    with plain_checkpoints(), pytest.raises(ValueError, match='whose code would have to be run'):
        CheckpointLoader.load_checkpoint(path)
    assert not (tmp_path / 'made').exists()
    torch.load(path, weights_only=False)
    assert (tmp_path / 'made').exists()  # the file does what it shall


@pytest.mark.parametrize('owner, name', [(HistoryBuffer, '__init__'), (np.ndarray, 'tofile'), (HistoryBuffer, '__class__')])
def test_no_attribute_but_a_buffer_s_methods(tmp_path, owner, name):
    with pytest.raises(ValueError, match=f'it asks for {name!r}'):
        load_from_plain_file(save(tmp_path / 'a.pth', extra=Getattr(owner, name)))


def test_files_that_are_none(tmp_path):
    path = tmp_path / 'a.pth'
    with pytest.raises(FileNotFoundError, match='can not be found'):
        load_from_plain_file(str(path))
    path.write_bytes(b'half')
    with pytest.raises(ValueError, match='truncated'):
        load_from_plain_file(str(path))


def test_mmengine_s_own_loader_comes_back():
    before = CheckpointLoader._schemes['']
    with pytest.raises(KeyError), plain_checkpoints():
        assert CheckpointLoader._schemes[''] is load_from_plain_file
        raise KeyError
    assert CheckpointLoader._schemes[''] is before
