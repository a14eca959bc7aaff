"""Loading a trained step and segmenting images with it."""
import shutil

import mmcv
import numpy as np
import pytest
import torch
from mmengine.structures import PixelData
from mmseg import apis
from mmseg.structures import SegDataSample

from mmcss.apis import inference_model, init_model, label_map
from mmcss.models import load_hand_over, save_hand_over
from tests.tiny import SSUL_M
from tests.untrained import write_step


def images_of(root):
    return sorted((root / 'images' / 'val').iterdir())


@pytest.fixture(scope='module')
def model(work_dir):
    return init_model(work_dir, device='cpu')


def test_it_predicts_as_mmsegmentation_does(work_dir, model, tiny_data):
    files = [str(work_dir / 'step_1' / name) for name in ('deploy.py', 'step_1.pth')]
    stock = apis.init_model(*files, device='cpu')
    for path in images_of(tiny_data):
        expected = apis.inference_model(stock, str(path)).pred_sem_seg.data
        assert len(expected.unique()) > 1
        assert torch.equal(inference_model(model, path).pred_sem_seg.data, expected)
    assert model.dataset_meta['classes'] == list(stock.dataset_meta['classes'])


def test_paths_and_arrays_in_any_order_and_of_any_size(model, tiny_data):
    path = images_of(tiny_data)[0]
    array = mmcv.imread(str(path))
    several = inference_model(model, [array, str(path), np.zeros((20, 24, 3), np.uint8), path])
    assert [tuple(one.pred_sem_seg.data.shape) for one in several] == [(1, 32, 32), (1, 32, 32), (1, 20, 24), (1, 32, 32)]
    for one in (several[1], several[3]):
        assert torch.equal(one.pred_sem_seg.data, several[0].pred_sem_seg.data)


def test_numbers_of_the_data_set(model):
    numbers = label_map(model, SegDataSample(pred_sem_seg=PixelData(data=torch.tensor([[[0, 1], [2, 3]]]))))
    assert numbers.dtype == np.uint8 and numbers.tolist() == [[0, 4], [3, 1]]


def test_a_model_with_an_unknown_class(tiny_data, tmp_path):
    method = {key: value for key, value in SSUL_M.items() if key != 'memory'}
    write_step(tiny_data, tmp_path, 0, continual=method)
    model = init_model(tmp_path, device='cpu')
    assert inference_model(model, images_of(tiny_data)[0]).seg_logits.data.shape == (3, 32, 32)


def test_tensors_of_parts_are_left_out(work_dir, tmp_path):
    folder = shutil.copytree(work_dir / 'step_1', tmp_path / 'step_1')
    hand_over = load_hand_over(folder / 'step_1.pth')
    state = dict(hand_over['state_dict'], **{'part_modules.hint.weight': torch.zeros(1)})
    save_hand_over(folder / 'step_1.pth', state, dict(hand_over['meta'], id=None))
    assert init_model(tmp_path, device='cpu').dataset_meta['label_values'] == [0, 4, 3, 1]


def test_files_of_two_steps(work_dir, tmp_path):
    folder = shutil.copytree(work_dir / 'step_1', tmp_path / 'step_1')
    shutil.copy(work_dir / 'step_0' / 'step_0.pth', folder / 'step_1.pth')
    with pytest.raises(ValueError, match=r'step_1\.pth is not of the model that the config beside it describes'):
        init_model(tmp_path, device='cpu')
    hand_over = load_hand_over(work_dir / 'step_1' / 'step_1.pth')
    state = {name: value for name, value in hand_over['state_dict'].items() if 'conv_seg' not in name}
    save_hand_over(folder / 'step_1.pth', state, dict(classes=hand_over['meta']['classes']))
    with pytest.raises(ValueError, match=r'it lacks decode_head\.conv_seg\.weight, decode_head\.conv_seg\.bias\. Put'):
        init_model(tmp_path, device='cpu')


def test_a_damaged_file(work_dir, tmp_path):
    folder = shutil.copytree(work_dir / 'step_1', tmp_path / 'step_1')
    (folder / 'step_1.pth').write_bytes((folder / 'step_1.pth').read_bytes()[:999])
    with pytest.raises(ValueError, match=r'step_1\.pth can not be read as a checkpoint of plain tensors'):
        init_model(tmp_path)
