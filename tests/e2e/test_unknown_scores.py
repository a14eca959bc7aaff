"""SSUL with cross-entropy in place of sigmoids (its table 3)."""
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from mmengine.config import Config

from mmcss.models import merge_unknown
from tests.e2e.running import ROOT, run, state
from tests.tiny import tiny_config

SOFTMAX = dict(unknown=dict(scores='softmax'), loss_decode=None, targets=dict(softmax=True))
STOCK = """
import sys
import numpy as np
from mmseg.apis import inference_model, init_model
model = init_model(sys.argv[1], sys.argv[2], device='cpu')
found = inference_model(model, sys.argv[3])
np.savez(sys.argv[4], scores=found.seg_logits.data.numpy(), labels=found.pred_sem_seg.data.numpy(),
         weight=model.decode_head.conv_seg.weight.detach().numpy(), merges=model.unknown_scores)
"""


@pytest.mark.slow
def test_it_trains_and_is_deployed(tiny_data, tmp_path):
    """Stock MMSegmentation predicts with a step's model, from the deploy config alone."""
    cfg = tiny_config(tiny_data, tmp_path, continual={}, scenario=dict(base=3, increment=1))
    cfg.merge_from_dict(Config.fromfile(ROOT / 'configs' / '_base_' / 'methods' / 'ssul_ade20k.py')._cfg_dict.to_dict())
    cfg.merge_from_dict(dict(continual=SOFTMAX))
    assert len(run(cfg)['steps']) == 2
    for step in range(2):
        log = next((tmp_path / f'step_{step}').glob('*/vis_data/scalars.json')).read_text()
        assert {key for key in json.loads(log.splitlines()[0]) if 'loss' in key} == {'decode.loss_ce', 'loss'}
    folder, image = tmp_path / 'step_1', tiny_data / 'images' / 'val' / '000.png'
    subprocess.run([sys.executable, '-c', STOCK, str(folder / 'deploy.py'), str(folder / 'step_1.pth'), str(image),
                    str(tmp_path / 'found.npz')], check=True, capture_output=True,
                   env=dict(os.environ, PYTHONPATH=str(ROOT)))
    found = np.load(tmp_path / 'found.npz')
    assert str(found['merges']) == 'softmax' and found['scores'].shape == (5, 32, 32)  # of six channels
    assert torch.equal(torch.from_numpy(found['weight']), state(tmp_path, 1)['decode_head.conv_seg.weight'])
    assert np.array_equal(found['labels'][0], found['scores'].argmax(axis=0))
    assert (found['scores'] > 0).any()  # logits; logarithms of sigmoids are below 0
    assert merge_unknown(torch.ones(1, 6, 1, 1), 'sigmoid')[:, 1:].max() < 0
