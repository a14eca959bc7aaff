"""Trained steps as ONNX; skipped where onnx and onnxruntime are not installed."""
import json

import mmcv
import numpy as np
import pytest
from mmengine.config import ConfigDict
from torch import nn

from mmcss.apis import export_onnx, inference_model, init_model, onnx_export
from tests.tiny import SSUL_M, tiny_model
from tests.untrained import write_step

onnx = pytest.importorskip('onnx', reason='needs mmcss[export]')
onnxruntime = pytest.importorskip('onnxruntime', reason='needs mmcss[export]')

UNKNOWN = {key: value for key, value in SSUL_M.items() if key != 'memory'}


def session(file):
    return onnxruntime.InferenceSession(str(file.path), providers=['CPUExecutionProvider'])


def logits_of(file, image):
    """What the file gives for one ``[H, W, 3]`` BGR image."""
    return session(file).run(None, dict(images=image[None, ..., ::-1].transpose(0, 3, 1, 2).astype(np.float32)))[0][0]


@pytest.mark.parametrize('method', [
    {}, UNKNOWN, dict(UNKNOWN, unknown=dict(of='background', scores='softmax')), dict(classifier='CosineClassifier')],
    ids=['stock', 'unknown', 'unknown by softmax', 'cosine'])
def test_images_of_any_size(tiny_data, tmp_path, method):
    write_step(tiny_data, tmp_path, 0, continual=method)
    model = init_model(tmp_path, device='cpu')
    file = export_onnx(model, tmp_path / 'new' / 'model.onnx')
    assert file.shape == ('N', 3, 'H', 'W') and file.relative <= 1e-5 and file.path.is_file()
    image = mmcv.imread(str(tiny_data / 'images' / 'val' / '000.png'))[:20, :27]
    expected = inference_model(model, image)
    found = logits_of(file, image)
    np.testing.assert_allclose(found, expected.seg_logits.data, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(found.argmax(0), expected.pred_sem_seg.data[0])


@pytest.mark.slow
def test_pooling_that_only_the_newer_exporter_has(tiny_data, tmp_path):
    pytest.importorskip('onnxscript', reason='needs mmcss[export]')
    changed = tiny_model()
    changed['decode_head'] = dict(type='PSPHead', in_channels=64, in_index=3, channels=8, num_classes=5, pool_scales=(1, 3))
    write_step(tiny_data, tmp_path, 0, model=changed)
    file = export_onnx(init_model(tmp_path, device='cpu'), tmp_path / 'model.onnx')
    assert file.shape == ('N', 3, 32, 32)


def test_it_says_what_its_channels_are(work_dir, tmp_path):
    file = export_onnx(init_model(work_dir, device='cpu'), tmp_path / 'model.onnx')
    meta = session(file).get_modelmeta().custom_metadata_map
    assert {key: json.loads(value) for key, value in meta.items()} == dict(
        classes=['background', 'white', 'blue', 'red'], label_values=[0, 4, 3, 1],
        palette=[[0, 0, 0], [255, 255, 255], [0, 0, 255], [255, 0, 0]])


def test_a_model_that_reads_bgr_and_is_tested_in_windows(tiny_data, tmp_path):
    changed = tiny_model()
    changed['data_preprocessor'].update(bgr_to_rgb=False, mean=[10., 100., 200.])
    changed['test_cfg'] = dict(mode='slide', crop_size=(32, 48), stride=(16, 24))
    write_step(tiny_data, tmp_path, 0, model=changed)
    model = init_model(tmp_path, device='cpu')
    file = export_onnx(model, tmp_path / 'model.onnx')
    image = np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8)  # a single window
    np.testing.assert_allclose(logits_of(file, image), inference_model(model, image).seg_logits.data, rtol=1e-4, atol=1e-4)
    assert model.test_cfg.mode == 'slide'


@pytest.fixture
def model(work_dir):
    return init_model(work_dir, device='cpu')


def test_other_axes_and_exporters_are_tried(model, tmp_path, monkeypatch):
    tried = []

    def of_one_size(module, images, axes, path):
        tried.append(axes)
        if 2 in axes:
            raise RuntimeError('this pooling needs a known size')
        onnx_export._trace(module, images, axes, path)

    monkeypatch.setattr(onnx_export, '_attempts', lambda: [
        (of_one_size, onnx_export.ANY_SIZE), (of_one_size, onnx_export.ANY_NUMBER), (of_one_size, onnx_export.NOTHING)])
    assert export_onnx(model, tmp_path / 'model.onnx', (32, 40)).shape == ('N', 3, 32, 40)
    assert tried == [{0: 'N', 2: 'H', 3: 'W'}, {0: 'N'}]


class Doubling(nn.Module):
    """Doubles some logits."""

    def __init__(self, model):
        super().__init__()
        self.inner = onnx_export.LogitsOfImages(model)

    def forward(self, images):
        return 2 * self.inner(images)


def test_other_logits_are_refused(model, tmp_path, monkeypatch):
    def doubled(module, images, axes, path):
        onnx_export._trace(Doubling(model).eval(), images, axes, path)

    monkeypatch.setattr(onnx_export, '_attempts', lambda: [(doubled, onnx_export.ANY_NUMBER)])
    with pytest.raises(ValueError, match=r'images of 32 x 40 \(its logits differ by .*, 1 of the largest\)\. Try another'):
        export_onnx(model, tmp_path / 'model.onnx', (32, 40))
    assert not list(tmp_path.iterdir())


def test_a_package_that_is_missing(model, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_export, 'find_spec', lambda name: None if name == 'onnxruntime' else name)
    with pytest.raises(ImportError, match=r"ONNX needs onnxruntime, not installed here: pip install 'mmcss\[export\]'"):
        export_onnx(model, tmp_path / 'model.onnx')


def test_windows_are_put_back(model):
    model.test_cfg = settings = ConfigDict(mode='slide', crop_size=(8, 8))
    with pytest.raises(KeyError), onnx_export._whole(model):
        assert model.test_cfg == dict(mode='whole', crop_size=(8, 8))
        raise KeyError
    assert model.test_cfg is settings
