"""Models that MMSegmentation does not ship: a head of one's own, and backbones of other packages."""
import logging
import sys
from pathlib import Path

import pytest
import torch
import torch.nn as nn
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS

from tests.models.makers import BN, encoder_decoder, head

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / 'tools'))
import check_models
from _growing import Growing

METHODS = check_models.METHODS[:-1]  # SATS needs a transformer


@pytest.fixture(autouse=True)
def quiet():
    init_default_scope('mmseg')
    logging.disable(logging.INFO)
    yield
    logging.disable(logging.NOTSET)


@MODELS.register_module(force=True)
class UnseenHead(BaseDecodeHead):
    """Adds what a query of each class finds to the usual logits, and a bias of each class's own."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.mix = nn.Conv2d(self.in_channels, self.channels, 1)
        self.queries = nn.Parameter(torch.randn(1, self.channels, self.num_classes, 1))
        self.scale = nn.Parameter(torch.ones(self.out_channels))

    def forward(self, inputs):
        """Logits."""
        features = self.mix(self._transform_inputs(inputs)).relu()
        found = torch.einsum('nchw,ck->nkhw', features, self.queries[0, :, :, 0])
        return self.cls_seg(features) + self.scale.view(1, -1, 1, 1) * found


@pytest.mark.parametrize('method', METHODS)
def test_a_head_that_nobody_has_seen_before(tmp_path, method):
    model = encoder_decoder('FCN')
    model['decode_head'] = dict(head('FCN'), type='UnseenHead')
    for key in ('num_convs', 'concat_input'):
        del model['decode_head'][key]
    growing = Growing(ConfigDict(model, test_cfg=dict(mode='whole')), 64, 2, str(tmp_path))
    heads, grown, moved = growing.describe()
    assert (heads, grown) == ('UnseenHead', 'decode_head.queries decode_head.scale') and moved < 1e-5
    growing.train(method)


@pytest.mark.parametrize('method', METHODS)
def test_a_backbone_of_timm(tmp_path, method):
    pytest.importorskip('timm', exc_type=ImportError)
    backbone = dict(type='TIMMBackbone', model_name='resnet10t', features_only=True, pretrained=False,
                    out_indices=(1, 2, 3, 4))
    decode_head = dict(type='FCNHead', in_channels=512, in_index=3, channels=8, num_convs=1, norm_cfg=BN)
    model = ConfigDict(type='EncoderDecoder', backbone=backbone, decode_head=decode_head, test_cfg=dict(mode='whole'))
    growing = Growing(model, 64, 2, str(tmp_path))
    assert growing.describe()[2] < 1e-5
    growing.train(method)
