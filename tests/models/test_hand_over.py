import errno
import pickle
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import load_checkpoint
from mmseg.apis import inference_model, init_model

from mmcss.models import check_hand_over, forget_hand_over, hand_over_meta, load_hand_over, save_hand_over
from mmcss.models.hand_over import tensors_id
from tests.models.makers import build, encoder_decoder, images, with_classes

CLASSES = ['background', 'cat', 'dog']


def state():
    return {'backbone.weight': torch.randn(3, 4), 'decode_head.conv_seg.bias': torch.randn(3),
            'bn.num_batches_tracked': torch.tensor(7), 'half': torch.randn(2).half()}


@pytest.fixture
def saved(tmp_path):
    tensors, path = state(), tmp_path / 'step_0.pth'
    save_hand_over(path, tensors, dict(classes=CLASSES, step=0, regime='overlapped', nested=dict(palette=[[0, 0, 0]])))
    return path, tensors


def test_round_trip(saved):
    path, tensors = saved
    found = load_hand_over(path)
    assert set(found) == {'state_dict', 'meta'}
    assert found['meta'] == dict(id=tensors_id(tensors), classes=CLASSES, step=0, regime='overlapped',
                                 nested=dict(palette=[[0, 0, 0]]))
    assert list(found['state_dict']) == list(tensors)
    for name, tensor in tensors.items():
        assert found['state_dict'][name].dtype == tensor.dtype
        assert torch.equal(found['state_dict'][name], tensor)


def test_parameters_are_saved_without_their_gradients(tmp_path):
    parameter = torch.nn.Parameter(torch.randn(2))
    parameter.grad = torch.ones(2)
    save_hand_over(tmp_path / 'a.pth', {'p': parameter}, dict(classes=CLASSES))
    found = load_hand_over(tmp_path / 'a.pth')['state_dict']['p']
    assert type(found) is torch.Tensor and not found.requires_grad and found.grad is None


def test_plain_torch_reads_it(saved):
    path, tensors = saved
    assert torch.equal(torch.load(path, weights_only=True)['state_dict']['half'], tensors['half'])


def test_stock_mmsegmentation_reads_it(tmp_path):
    config = with_classes(encoder_decoder(), 3)
    model = build(config)
    path = tmp_path / 'step_0.pth'
    palette = [[0, 0, 0], [255, 0, 0], [0, 255, 0]]
    save_hand_over(path, model.state_dict(), dict(classes=CLASSES, dataset_meta=dict(classes=CLASSES, palette=palette)))

    other = build(config, seed=1)
    load_checkpoint(other, str(path), map_location='cpu', strict=True)
    assert all(torch.equal(value, other.state_dict()[key]) for key, value in model.state_dict().items())

    pipeline = [dict(type='LoadImageFromFile'), dict(type='PackSegInputs')]
    preprocessor = dict(type='SegDataPreProcessor', mean=[0.] * 3, std=[1.] * 3, test_cfg=dict(size_divisor=1))
    whole = Config(dict(default_scope='mmseg', test_pipeline=pipeline, model=dict(
        config, data_preprocessor=preprocessor, test_cfg=dict(mode='whole'))))
    stock = init_model(whole, str(path), device='cpu')
    assert stock.dataset_meta == dict(classes=CLASSES, palette=palette)
    image = images(1)[0].permute(1, 2, 0).numpy()
    found = inference_model(stock, image).seg_logits.data
    with torch.no_grad():
        expected = model.eval().encode_decode(torch.from_numpy(image).permute(2, 0, 1)[None], [dict(img_shape=(32, 32))])
    torch.testing.assert_close(found[None], expected)


def test_nothing_partial_is_left(saved):
    path, _ = saved
    save_hand_over(path, state(), dict(classes=CLASSES))
    assert [entry.name for entry in path.parent.iterdir()] == ['step_0.pth']


def test_a_failed_save_leaves_the_older_file(saved, monkeypatch):
    path, tensors = saved
    whole = torch.save

    def fail_halfway(value, where, *args, **kwargs):
        whole(value, where, *args, **kwargs)
        where.truncate(200)
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(torch, 'save', fail_halfway)
    with pytest.raises(OSError, match=r'no space left on the disk of .*step_0\.pth'):
        save_hand_over(path, state(), dict(classes=CLASSES))
    assert [entry.name for entry in path.parent.iterdir()] == ['step_0.pth']
    assert torch.equal(load_hand_over(path)['state_dict']['half'], tensors['half'])


@pytest.mark.parametrize('share', [0, .1, .5, .99])
def test_truncated(saved, share):
    path, _ = saved
    content = path.read_bytes()
    path.write_bytes(content[:int(share * len(content))])
    with pytest.raises(ValueError, match=r'step_0\.pth can not be read .* truncated'):
        load_hand_over(path)
    with pytest.raises(ValueError, match=r'step_0\.pth can not be read'):
        hand_over_meta(path)


def test_classes_have_to_be_the_same_in_the_same_order(saved):
    path, _ = saved
    assert load_hand_over(path, tuple(CLASSES))['meta']['step'] == 0
    for classes in (['background', 'dog', 'cat'], CLASSES[:2], [*CLASSES, 'owl']):
        with pytest.raises(ValueError, match='another scenario or step') as error:
            load_hand_over(path, classes)
        assert str(CLASSES) in str(error.value) and str(classes) in str(error.value)
        assert 'got 3 classes' in str(error.value) and f'expected {len(classes)},' in str(error.value)


def test_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'step_3\.pth is missing; first train the step that writes it'):
        load_hand_over(tmp_path / 'step_3.pth')
    assert hand_over_meta(tmp_path / 'step_3.pth') is None
    assert hand_over_meta(tmp_path / 'gone' / 'step_3.pth') is None


def folder(path):
    path.mkdir()


@pytest.mark.parametrize('make', [
    folder, lambda path: path.symlink_to('/proc/self/mem'), lambda path: path.symlink_to('gone'), Path.touch])
def test_what_can_not_be_read_is_not_missing(tmp_path, make):
    path = tmp_path / 'step_3.pth'
    make(path)
    for read in (load_hand_over, hand_over_meta, check_hand_over):
        with pytest.raises(ValueError, match=r'step_3\.pth can not be read'):
            read(path)


class Malicious:
    """Unpickling it creates a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), 'w')


@pytest.mark.parametrize('writer', [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value, protocol=2))])
@pytest.mark.parametrize('place', ['state_dict', 'meta', 'extra'])
def test_code_in_a_file_is_refused(tmp_path, writer, place):
    trace, path = tmp_path / 'ran', tmp_path / 'evil.pth'
    content = dict(state_dict={'a': torch.ones(1)}, meta=dict(classes=CLASSES))
    content.setdefault(place, {})['evil'] = Malicious(trace)
    writer(content, path)
    with pytest.raises(ValueError, match='can not be read as a checkpoint of plain tensors'):
        load_hand_over(path)
    with pytest.raises(ValueError, match='can not be read as a checkpoint of plain tensors'):
        hand_over_meta(path)
    assert not trace.exists()
    pickle.loads(pickle.dumps(Malicious(trace))).close()
    assert trace.exists()  # it would have


@pytest.mark.parametrize('content', [
    {'a': torch.ones(1)}, [torch.ones(1)], torch.ones(1), dict(meta=dict(classes=CLASSES)),
    dict(state_dict={}), dict(state_dict={}, meta=dict(step=1))])
def test_other_kinds_of_files(tmp_path, content):
    path = tmp_path / 'other.pth'
    torch.save(content, path)
    with pytest.raises(ValueError, match='is no hand-over file of mmcss'):
        load_hand_over(path)


def test_a_checkpoint_whose_meta_is_none(tmp_path):
    torch.save(dict(state_dict={}, meta=None), tmp_path / 'other.pth')
    with pytest.raises(ValueError, match='is no hand-over file of mmcss'):
        load_hand_over(tmp_path / 'other.pth')


def test_meta(saved):
    path, _ = saved
    meta = hand_over_meta(path)
    assert meta['classes'] == CLASSES and meta['step'] == 0 and 'state_dict' not in meta


def test_meta_of_other_kinds_of_files(tmp_path):
    path = tmp_path / 'other.pth'
    for content in ({'a': torch.ones(1)}, [1], dict(state_dict={}, meta=None), dict(state_dict={}, meta=dict(classes=None)),
                    dict(state_dict=dict(a=1), meta=dict(classes=CLASSES)), dict(state_dict={}, meta=dict(classes=[1]))):
        torch.save(content, path)
        with pytest.raises(ValueError, match='is no hand-over file of mmcss'):
            hand_over_meta(path)


def test_the_id_is_that_of_the_tensors(tmp_path):
    tensors, meta = state(), dict(classes=CLASSES)
    first = save_hand_over(tmp_path / 'a.pth', tensors, meta)['id']
    assert first == save_hand_over(tmp_path / 'b.pth', dict(reversed(tensors.items())), dict(meta, step=1))['id']
    assert first == tensors_id(load_hand_over(tmp_path / 'b.pth')['state_dict']) and len(first) == 64
    others = [dict(tensors, half=tensors['half'].float()), dict(tensors, half=tensors['half'][None]),
              {('other' if name == 'half' else name): value for name, value in tensors.items()},
              dict(tensors, half=-tensors['half']), {'half': tensors['half']}]
    assert len({first, *map(tensors_id, others)}) == 6


@pytest.mark.parametrize('kind', [torch.bool, torch.uint8, torch.int64, torch.half, torch.bfloat16, torch.float64,
                                  torch.complex64])
@pytest.mark.parametrize('shape', [(), (0, 3), (2, 3)])
def test_all_kinds_of_tensors_have_an_id(kind, shape):
    tensor = torch.ones(shape).to(kind)
    assert tensors_id(dict(a=tensor)) == tensors_id(dict(a=tensor.clone()))


def test_bits_that_have_changed_are_found(saved):
    path, tensors = saved
    whole, bits = path.read_bytes(), tensors['backbone.weight'].numpy().tobytes()
    path.write_bytes(whole.replace(bits, bits[:-1] + bytes([bits[-1] ^ 1])))
    with pytest.raises(ValueError, match=r'step_0\.pth is damaged: its bytes are not those that were written'):
        load_hand_over(path)
    meta = hand_over_meta(path)  # which reads no tensors
    torch.save(dict(state_dict=dict(tensors, half=tensors['half'] + 1), meta=meta), path)
    for read in (load_hand_over, check_hand_over):
        with pytest.raises(ValueError, match="its tensors are not those that were written.*remove 'id' from its meta"):
            read(path)
    torch.save(dict(state_dict=tensors, meta=dict(meta, id='of an earlier version')), path)
    assert load_hand_over(path)['meta']['id'] == 'of an earlier version'


def test_one_without_an_id_gets_that_of_its_tensors(saved):
    path, tensors = saved
    torch.save(dict(state_dict=tensors, meta=dict(classes=CLASSES)), path)
    assert load_hand_over(path)['meta']['id'] == hand_over_meta(path)['id'] == tensors_id(tensors)


def test_the_last_one_is_read_once(saved, monkeypatch):
    path, tensors = saved
    reads, load = [], torch.load
    monkeypatch.setattr(torch, 'load', lambda *args, **kwargs: (reads.append(args), load(*args, **kwargs))[1])
    first = load_hand_over(path)
    assert load_hand_over(str(path), CLASSES) is first and len(reads) == 1
    with pytest.raises(ValueError, match='another scenario'):
        load_hand_over(path, ['background'])
    save_hand_over(path, tensors, dict(classes=CLASSES, step=3))
    assert load_hand_over(path)['meta']['step'] == 3 and len(reads) == 2
    forget_hand_over()
    load_hand_over(path)
    assert len(reads) == 3
