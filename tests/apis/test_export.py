"""Trained steps as plain models of MMSegmentation."""
import subprocess
import sys

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmseg import apis

from mmcss.apis import export, export_step, inference_model
from mmcss.apis.export import size_of
from tests.tiny import SSUL_M
from tests.untrained import write_step

UNKNOWN = {key: value for key, value in SSUL_M.items() if key != 'memory'}
WITHOUT_MMCSS = '''
import sys
sys.modules['mmcss'] = None  # so that importing it fails
import numpy as np
from mmseg.apis import inference_model, init_model
model = init_model(sys.argv[1], sys.argv[2], device='cpu')
np.save(sys.argv[3], inference_model(model, np.load(sys.argv[4])).pred_sem_seg.data[0].numpy())
print(model.dataset_meta['classes'])
'''


@pytest.mark.slow
def test_a_stock_model_loads_without_mmcss(work_dir, tmp_path):
    written, model = export_step(work_dir, tmp_path / 'out')
    assert written == (tmp_path / 'out' / 'step_1.py', tmp_path / 'out' / 'step_1.pth', [], [])
    image = np.random.default_rng(1).integers(0, 256, (24, 40, 3), dtype=np.uint8)
    np.save(tmp_path / 'image.npy', image)
    done = subprocess.run([sys.executable, '-c', WITHOUT_MMCSS, *written[:2], tmp_path / 'found.npy', tmp_path / 'image.npy'],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "['background', 'white', 'blue', 'red']"
    expected = inference_model(model, image).pred_sem_seg.data[0].numpy()
    assert len(np.unique(expected)) > 1
    np.testing.assert_array_equal(np.load(tmp_path / 'found.npy'), expected)


def test_what_is_in_the_files(work_dir, tiny_data, tmp_path):
    written, _ = export_step(work_dir, tmp_path, step=0)
    assert str(tiny_data) not in written.config.read_text()
    config = Config.fromfile(written.config)
    assert 'custom_imports' not in config and config.label_values == [0, 4, 3]
    inferencer = apis.MMSegInferencer(str(written.config), str(written.checkpoint), device='cpu')  # reads test_dataloader
    assert inferencer(np.zeros((20, 24, 3), np.uint8))['predictions'].shape == (20, 24)
    meta = torch.load(written.checkpoint, weights_only=True)['meta']
    assert meta == dict(classes=['background', 'white', 'blue'], dataset_meta=dict(
        classes=['background', 'white', 'blue'], label_values=[0, 4, 3], palette=[[0, 0, 0], [255, 255, 255], [0, 0, 255]]))


@pytest.mark.parametrize('method, types', [
    (UNKNOWN, ['ExtendedEncoderDecoder']),
    (dict(classifier='CosineClassifier'), ['CosineClassifier', 'ExtendedEncoderDecoder'])])
def test_what_is_no_stock_model_needs_mmcss(tiny_data, tmp_path, method, types):
    write_step(tiny_data, tmp_path, 0, continual=method)
    written, _ = export_step(tmp_path, tmp_path / 'out')
    assert (written.needs, written.types) == (['mmcss'], types)


def test_a_model_that_predicts_something_else(work_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(export, 'stock_tensors', lambda state: {name: 2 * value for name, value in state.items()})
    with pytest.raises(ValueError, match=r'step_1\.py and the checkpoint beside it predict otherwise than the step'):
        export_step(work_dir, tmp_path)


def test_the_hand_over_is_not_overwritten(work_dir):
    with pytest.raises(ValueError, match='which would be overwritten. Choose another one'):
        export_step(work_dir, work_dir / 'step_1')


def test_the_size_of_the_images(work_dir, tmp_path):
    _, model = export_step(work_dir, tmp_path)
    assert size_of(model) == (32, 32)  # data_preprocessor's
    model.test_cfg.crop_size = (48, 64)
    assert size_of(model) == (48, 64)
    del model.test_cfg['crop_size'], model.cfg.model['data_preprocessor']
    assert size_of(model) == (512, 512)
