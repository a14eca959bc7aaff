"""Stock models with fewer channels, so that one of each kind is checked in seconds."""
from __future__ import annotations

import copy
from typing import Any, Dict

from mmengine.config import ConfigDict

from mmcss.engine.config_nodes import walk

TRANSFORMERS = ('BEiT', 'MAE', 'PCPVT', 'SVT', 'SwinTransformer', 'VisionTransformer')
WIDTHS = ('channels', 'embed_dim', 'embed_dims')


def smaller(model: ConfigDict) -> ConfigDict:
    """A quarter of the channels where a large backbone allows it; heads and backbones stay of their types."""
    model = copy.deepcopy(model)
    backbone = model.get('backbone', {})
    kind = backbone.get('type')
    if kind == 'ICNet':  # has channels of its own, and hands these on
        backbone['backbone_cfg']['depth'] = 18
        backbone['layer_channels'] = quarter(backbone['layer_channels'])
        return model
    if kind in ('ResNet', 'ResNetV1c') and backbone['depth'] >= 50:
        backbone['depth'] = 18  # whose stages have a quarter of the channels
    elif kind in ('ResNeSt', 'UNet'):
        backbone['base_channels'] = 16
        backbone.update(dict(depth=50) if kind == 'ResNeSt' else {})
    elif kind in TRANSFORMERS:
        shorten(backbone)
    else:
        return model
    for part in (model.get('neck'), model['decode_head'], model.get('auxiliary_head')):
        for node in walk(part):
            for key, value in node.items():
                if key.endswith(WIDTHS):
                    node[key] = quarter(value)
    return model


def shorten(backbone: Dict[str, Any]) -> None:
    """A quarter of a transformer's token, and half of its blocks."""
    backbone['embed_dims'] = quarter(backbone['embed_dims'])
    if 'num_layers' in backbone:
        backbone['num_layers'] //= 2
        if isinstance(backbone.get('out_indices'), (list, tuple)):
            backbone['out_indices'] = [(number + 1) // 2 - 1 for number in backbone['out_indices']]


def quarter(value: Any) -> Any:
    """Of a number, or of each in a list."""
    return type(value)(quarter(one) for one in value) if isinstance(value, (list, tuple)) else value // 4
