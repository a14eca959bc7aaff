"""A step 0 from elsewhere, most of all checkpoints of MMSegmentation."""
import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer

from mmcss.engine.first_step import check_fits, find_first_step, load_first_step
from mmcss.engine.plain_checkpoints import SUPPORTED
from mmcss.models import save_hand_over
from mmcss.models.hand_over import tensors_id

CLASSES = ['background', 'cat', 'dog']
STATE = {'backbone.weight': torch.ones(2, 2), 'decode_head.conv_seg.bias': torch.zeros(3)}

pytestmark = pytest.mark.skipif(not SUPPORTED, reason='torch before 2.7 reads checkpoints as mmengine does')


def saved(path, meta=None, state=STATE):
    """As mmengine saves them: with numpy's numbers and log buffers."""
    buffer = HistoryBuffer()
    buffer.update(np.float64(1.))
    torch.save(dict(meta=meta, state_dict=state, message_hub=dict(log_scalars=dict(loss=buffer))), path)
    return path


@pytest.mark.parametrize('meta', [
    dict(dataset_meta=dict(classes=tuple(CLASSES), palette=[[0, 0, 0]] * 3)), dict(CLASSES=CLASSES),
    dict(dataset_meta=dict(CLASSES=CLASSES)), dict(epoch=1, dataset_meta=dict(classes=CLASSES))])
def test_one_that_says_its_classes(tmp_path, meta):
    found = load_first_step(saved(tmp_path / 'epoch_1.pth', meta), tuple(CLASSES))
    assert found['meta'] == dict(id=tensors_id(STATE), classes=CLASSES)
    assert all(torch.equal(found['state_dict'][name], value) for name, value in STATE.items())


def test_one_whose_classes_are_given(tmp_path):
    (tmp_path / 'names.txt').write_text('background\ncat\n\ndog\n')
    bare = tmp_path / 'bare.pth'
    torch.save({f'module.{name}': value for name, value in STATE.items()}, bare)
    for path in (saved(tmp_path / 'epoch_1.pth', {}), saved(tmp_path / 'other.pth'), bare):
        with pytest.raises(ValueError, match='does not contain the names of its classes. Give them: --classes background cat dog'):
            load_first_step(path, CLASSES)
        for names in (CLASSES, [str(tmp_path / 'names.txt')], str(tmp_path / 'names.txt')):
            found = load_first_step(path, CLASSES, names)
            assert found['meta'] == dict(id=tensors_id(STATE), classes=CLASSES) and list(found['state_dict']) == list(STATE)


@pytest.mark.parametrize('names', [['background', 'dog', 'cat'], CLASSES[:2], ['dog', 'cat']])
def test_other_classes_are_refused_with_a_recipe(tmp_path, names):
    path = saved(tmp_path / 'epoch_1.pth', dict(dataset_meta=dict(classes=names)))
    with pytest.raises(ValueError) as error:
        load_first_step(path, CLASSES)
    told = str(error.value)
    assert str(path) in told and str(names) in told and str(CLASSES) in told and 'scenario.steps=[[...], [...]]' in told


def test_one_without_background(tmp_path):
    state = {'decode_head.conv_seg.weight': torch.tensor([[[[1.]]], [[[4.]]]]), 'decode_head.conv_seg.bias': torch.tensor([2., 0.]),
             'auxiliary_head.conv_seg.bias': torch.tensor([3., 5.]), 'decode_head.norm.weight': torch.ones(2)}
    path = saved(tmp_path / 'epoch_1.pth', dict(dataset_meta=dict(classes=CLASSES[1:])), state)
    with pytest.warns(UserWarning, match=r'epoch_1\.pth has no background\. It gets one'):
        found = load_first_step(path, CLASSES)
    grown = found['state_dict']
    assert grown['decode_head.conv_seg.weight'].flatten().tolist() == [2.5, 1, 4]
    assert grown['decode_head.conv_seg.bias'].tolist() == [1, 2, 0]
    assert grown['auxiliary_head.conv_seg.bias'].tolist() == [4, 3, 5]
    assert grown['decode_head.norm.weight'].tolist() == [1, 1]
    assert found['meta'] == dict(id=tensors_id(grown), classes=CLASSES)


def test_what_is_no_checkpoint(tmp_path):
    for content in ([1], dict(meta=dict()), dict(state_dict=dict(a=1)), dict(state_dict={})):
        torch.save(content, tmp_path / 'a.pth')
        with pytest.raises(ValueError, match='a.pth is neither a hand-over of mmcss nor a checkpoint of MMSegmentation'):
            load_first_step(tmp_path / 'a.pth', CLASSES)
    (tmp_path / 'a.pth').write_bytes(b'PK half')
    with pytest.raises(ValueError, match='a.pth can not be read'):
        load_first_step(tmp_path / 'a.pth', CLASSES)
    with pytest.raises(FileNotFoundError, match='gone.pth'):
        load_first_step(tmp_path / 'gone.pth', CLASSES)


def test_a_hand_over_is_one(tmp_path):
    """Its own errors stay: it is not taken for something else."""
    path = tmp_path / 'step_0.pth'
    meta = save_hand_over(path, STATE, dict(classes=CLASSES, step=0))
    assert load_first_step(path, CLASSES)['meta'] == meta
    with pytest.raises(ValueError, match='is of another scenario or step'):
        load_first_step(path, CLASSES[:2])
    torch.save(dict(state_dict=dict(STATE, more=torch.ones(1)), meta=dict(meta, dataset_meta=dict(classes=CLASSES))), path)
    with pytest.raises(ValueError, match='its tensors are not those that were written'):
        load_first_step(path, CLASSES)


def test_tensors_of_another_model(tmp_path):
    check_fits('a.pth', STATE, STATE)
    model = dict(STATE, **{'decode_head.conv_seg.bias': torch.zeros(4), 'decode_head.conv_seg.weight': torch.zeros(4, 2)})
    with pytest.raises(ValueError, match=r"a.pth does not fit the config's model at step 0: decode_head.conv_seg.bias \(3,\), "
                       r'expected \(4,\); decode_head.conv_seg.weight missing, expected \(4, 2\)'):
        check_fits('a.pth', STATE, model)


def test_where_it_is_looked_for(tmp_path):
    assert find_first_step(tmp_path / 'a.pth') == tmp_path / 'a.pth'
    assert find_first_step(tmp_path) == tmp_path / 'step_0' / 'step_0.pth'
    (tmp_path / 'last_checkpoint').write_text('/elsewhere/iter_20.pth')
    assert find_first_step(tmp_path) == tmp_path / 'iter_20.pth'  # a work_dir of MMSegmentation's own
    (tmp_path / 'step_0').mkdir()
    assert find_first_step(tmp_path) == tmp_path / 'step_0' / 'step_0.pth'
