"""``mmcss export`` as users call it."""
import argparse
from functools import partial

import pytest

from tests import command
from tests.tiny import tiny_model
from tests.untrained import write_step


call = partial(command.call, 'export')


def test_a_stock_model(tiny_data, tmp_path, capsys):
    write_step(tiny_data, tmp_path, 0)
    assert call(tmp_path) is None
    assert capsys.readouterr().out.splitlines()[-2:] == [
        f'{tmp_path}/step_0/export/step_0.py and step_0.pth: loaded again, they predict the same',
        'They need MMSegmentation alone.']


def test_onnx(tiny_data, tmp_path, capsys):
    pytest.importorskip('onnxruntime', reason='needs mmcss[export]')
    pytest.importorskip('onnx', reason='needs mmcss[export]')
    model = dict(tiny_model(), test_cfg=dict(mode='slide', crop_size=(32, 32), stride=(16, 16)))
    write_step(tiny_data, tmp_path, 0, model=model, continual=dict(classifier='CosineClassifier'))
    call(tmp_path, '--out', tmp_path / 'out', '--onnx', '--size', 32, 48)
    lines = capsys.readouterr().out.splitlines()[-3:]
    assert lines[0] == ('They need mmcss where they are loaded, for CosineClassifier, ExtendedEncoderDecoder, which MMSegmentation '
                        'does not have; the config imports it.')
    assert lines[1].startswith(f'{tmp_path}/out/step_0.onnx: images [N, 3, H, W] float32, RGB, 0 to 255 -> logits; by '
                               'onnxruntime they differ by ')
    assert lines[2] == 'The run tests in windows of (32, 32); the ONNX file takes each image as a whole.'
    assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == ['step_0.onnx', 'step_0.pth', 'step_0.py']


def test_a_step_that_is_not_there(tiny_data, tmp_path):
    write_step(tiny_data, tmp_path, 0)
    with pytest.raises(argparse.ArgumentError, match=r'has no trained step 3; the trained ones are 0\.'):
        call(tmp_path, '--step', 3)


def test_onnx_without_its_packages(tiny_data, tmp_path, monkeypatch):
    write_step(tiny_data, tmp_path, 0)
    monkeypatch.setattr('mmcss.apis.onnx_export.find_spec', lambda name: None)
    with pytest.raises(argparse.ArgumentError, match=r'ONNX needs onnx and onnxruntime, not installed here'):
        call(tmp_path, '--onnx')
