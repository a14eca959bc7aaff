"""Stock models of MMSegmentation learn a step, as ``tools/check_models.py`` has them do.

One of each family (families.py), narrow (smaller.py) and under the methods that reach deepest into a model; with
MMCSS_ZOO=all in the environment all base models and full configs, as they are and under all methods.
"""
import importlib.util
import logging
import os
import sys
import tempfile
from pathlib import Path

import mmseg.models.backbones
import mmseg.models.decode_heads
import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmcss.engine.config_nodes import walk
from tests.models_zoo.families import (CONVNEXT, DDRNET, ELSEWHERE, FAMILIES, KNET, MASK2FORMER, MASK_SEGMENTER,
                                       MASKFORMER, MOBILENET_V3, PIDNET, POOLFORMER)
from tests.models_zoo.smaller import smaller

TOOLS = Path(__file__).resolve().parents[2] / 'tools'
sys.path.insert(0, str(TOOLS))
import check_models  # noqa: E402

CHOSEN = sorted({name for names in FAMILIES.values() for name in names})
ALL = os.environ.get('MMCSS_ZOO') == 'all'
NAMES = sorted({*check_models.stock_names(), *CHOSEN}) if ALL else CHOSEN

# What can't be built, and why, where the packages that it needs are not installed.
OPERATORS = "needs mmcv's compiled operators"
NEEDS = {
    'ccnet_r50-d8': ('mmcv._ext', OPERATORS),
    'psanet_r50-d8': ('mmcv._ext', OPERATORS),
    'pointrend_r50': ('mmcv._ext', OPERATORS),
    'fpn_poolformer_s12': ('mmpretrain', 'needs mmpretrain'),
    'upernet_convnext': ('mmpretrain', 'needs mmpretrain'),
    POOLFORMER: ('mmpretrain', 'needs mmpretrain'),
    CONVNEXT: ('mmpretrain', 'needs mmpretrain'),
    MASK2FORMER: ('mmdet', 'needs mmdet'),
    MASKFORMER: ('mmdet', 'needs mmdet'),
}
NEVER = {
    'san_vit-b16': "model.type: got 'MultimodalEncoderDecoder', valid are",
    'vpd_sd': "model.type: got 'DepthEstimator', valid are",
    'upernet_mae': 'does not train by itself',  # full configs complete these
    'upernet_convnext': 'does not train by itself',
    'fpn_poolformer_s12': 'does not train by itself',
}
NO_CROSS_ENTROPY = 'which has no loss_decode'
OLD_LOGITS_MOVE = {'segmenter_vit-b16_mask', MASK_SEGMENTER, 'ocrnet_hr18', 'ocrnet_r50-d8', KNET, MASK2FORMER, MASKFORMER}
ATTENDING = ('segformer', 'upernet_swin', 'upernet_vit', 'setr', 'dpt', 'segmenter')
REFUSING_ATTENTION = ('fcn_r50-d8', )  # one for all whose attention is not known
GROWN = {
    'danet_r50-d8': 'decode_head.cam_conv_seg decode_head.pam_conv_seg',
    'encnet_r50-d8': 'decode_head.se_layer',
    'segmenter_vit-b16_mask': 'decode_head.cls_emb decode_head.mask_norm',
    MASK_SEGMENTER: 'decode_head.cls_emb decode_head.mask_norm',
    KNET: 'decode_head.kernel_generate_head.conv_seg',
    PIDNET: 'decode_head.p_cls_seg',
    DDRNET: 'decode_head.aux_cls_seg',
    MASK2FORMER: 'decode_head.cls_embed',
    MASKFORMER: 'decode_head.cls_embed',
    'pointrend_r50': 'decode_head.1.fc_seg decode_head.1.fcs.0.conv decode_head.1.fcs.1.conv decode_head.1.fcs.2.conv',
}


def installed(package):
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:
        return False


def marks(name):
    """Heads of compiled operators are tried by the stack that has them."""
    return [pytest.mark.stack] if NEEDS.get(name, ('', ''))[1] == OPERATORS else []


def lacking(name):
    """What a model needs that is not installed, or None."""
    package, reason = NEEDS.get(name, (None, None))
    return reason if package and not installed(package) else None


def methods_for(name):
    """REMINDER looks at every feature, SSUL adds a class besides, SATS at attention."""
    if ALL:
        return check_models.METHODS
    return ('reminder', *(['ssul'] if name in GROWN or name in REFUSING_ATTENTION else []),
            *(['sats'] if name.startswith(ATTENDING) or name in REFUSING_ATTENTION else []))


@pytest.mark.parametrize('name', [pytest.param(name, marks=marks(name)) for name in NAMES])
def test_a_stock_model_learns_a_step(name):
    # One image, where images are large.
    options = {} if ALL else dict(alter=smaller, batch=1 if name == MOBILENET_V3 else 2)
    init_default_scope('mmseg')
    logging.disable(logging.INFO)
    try:
        # Not tmp_path, which is kept: hand-overs of large models would fill the disk.
        with tempfile.TemporaryDirectory() as folder:
            report = check_models.check(name, methods_for(name), folder, **options)
    finally:
        logging.disable(logging.NOTSET)
    unsupported = lacking(name) or NEVER.get(name)
    if unsupported:
        assert unsupported in report.reason
        return
    assert report.reason is None
    mask_classification = 'MaskFormerHead' in report.heads or 'Mask2FormerHead' in report.heads
    for method, result in report.results.items():
        if method == 'sats' and 'the attention of' in result:
            assert not name.startswith(ATTENDING)
        elif mask_classification and method in ('mib', 'ssul'):
            assert NO_CROSS_ENTROPY in result
        else:
            assert result == 'yes', method
    assert report.grown == GROWN.get(name, '')
    assert (report.moved > 1e-5) == (name in OLD_LOGITS_MOVE)


def test_every_family_of_mmsegmentation_is_represented():
    families = {folder.name for folder in check_models.STOCK.iterdir() if folder.is_dir()} - {'_base_'}
    assert families <= set(FAMILIES)


def test_every_head_and_backbone_of_mmsegmentation_is_represented():
    """In a model above, supported or refused by name."""
    types = set(ELSEWHERE)
    for name in CHOSEN:
        path = check_models.STOCK / (f'{name}.py' if '/' in name else f'_base_/models/{name}.py')
        model = Config.fromfile(path, import_custom_modules=False).model
        types |= {node['type'] for node in walk(model.to_dict()) if 'type' in node}
    assert {*mmseg.models.backbones.__all__, *mmseg.models.decode_heads.__all__} <= types


def test_the_lists_of_this_file_name_stock_models():
    names = check_models.stock_names()
    assert {*NEEDS, *NEVER, *GROWN, *OLD_LOGITS_MOVE} <= set(names)
    assert len(names) == len(set(names)) and len([name for name in names if '/' not in name]) >= 50
