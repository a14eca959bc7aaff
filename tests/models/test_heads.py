import pytest
import torch
import torch.nn as nn
from mmseg.models.decode_heads import PIDHead

from mmcss.models.heads import (decode_heads, embedding_reader, main_logits, map_head, mask_logits, names_of, special_axes,
                                output_layer, warnings_of)
from tests.models.makers import BN, MODEL_CONFIGS, build, resnet, with_classes


def named(name):
    """A module of a class of that name, for heads whose packages may not be installed."""
    return type(name, (nn.Module, ), {})()


def segmentor(*heads):
    model = nn.Module()
    model.decode_head = nn.ModuleList(heads) if len(heads) > 1 else heads[0]
    return model


KNET = dict(type='EncoderDecoder', backbone=resnet(), decode_head=dict(
    type='IterativeDecodeHead', num_stages=1,
    kernel_update_head=[dict(type='KernelUpdateHead', num_classes=5, num_ffn_fcs=2, num_heads=2, num_mask_fcs=1,
                             feedforward_channels=8, in_channels=8, out_channels=8, dropout=0.,
                             conv_kernel_size=1, ffn_act_cfg=dict(type='ReLU', inplace=True), with_ffn=True,
                             feat_transform_cfg=dict(conv_cfg=dict(type='Conv2d'), act_cfg=None),
                             kernel_updator_cfg=dict(type='KernelUpdator', in_channels=8, feat_channels=8,
                                                     out_channels=8, act_cfg=dict(type='ReLU', inplace=True),
                                                     norm_cfg=dict(type='LN')))],
    kernel_generate_head=dict(type='FCNHead', in_channels=64, in_index=3, channels=8, num_convs=1,
                              concat_input=False, dropout_ratio=0., num_classes=5, norm_cfg=BN)))
SEGMENTER = dict(
    type='EncoderDecoder', backbone=dict(type='VisionTransformer', img_size=(32, 32), patch_size=8, embed_dims=16,
                                         num_layers=2, num_heads=2, drop_path_rate=0., final_norm=True, interpolate_mode='bicubic'),
    decode_head=dict(type='SegmenterMaskTransformerHead', in_channels=16, channels=16, num_layers=1, num_heads=2,
                     embed_dims=16, dropout_ratio=0.))


def test_a_head_goes_by_the_names_of_what_it_inherits_from():
    mine = type('MyHead', (PIDHead, ), {})
    head = mine.__new__(mine)
    assert {'MyHead', 'PIDHead', 'BaseDecodeHead'} <= set(names_of(head))
    assert main_logits(head, ('p', 'i', 'd')) == 'i'


@pytest.mark.parametrize('name, output, expected', [
    ('FCNHead', 'logits', 'logits'), ('DAHead', ('sum', 'pam', 'cam'), 'sum'), ('PIDHead', ('p', 'i', 'd'), 'i'),
    ('PIDHead', 'logits', 'logits'), ('IterativeDecodeHead', ['first', 'last'], 'last')])
def test_main_logits(name, output, expected):
    assert main_logits(named(name), output) == expected


def test_the_head_of_maps_is_the_last_one_that_is_not_of_points():
    coarse, points, ocr = named('FPNHead'), named('PointHead'), named('OCRHead')
    assert map_head(segmentor(coarse, points)) is coarse
    assert map_head(segmentor(coarse, ocr)) is ocr
    assert map_head(segmentor(coarse)) is coarse
    assert decode_heads(segmentor(coarse, points)) == [coarse, points]


def test_mask_logits_by_loops():
    generator = torch.Generator().manual_seed(0)
    classes, masks = torch.randn(2, 3, 5, generator=generator), torch.randn(2, 3, 4, 6, generator=generator)
    found = mask_logits(classes, masks)
    assert found.shape == (2, 4, 4, 6)
    for n in range(2):
        for c in range(4):
            for y in range(4):
                for x in range(6):
                    score = sum(classes[n, q].softmax(0)[c] * masks[n, q, y, x].sigmoid() for q in range(3))
                    assert found[n, c, y, x].item() == pytest.approx(score.log().item(), abs=1e-5)
    nothing = mask_logits(torch.tensor([[[-100., 100.]]]), torch.full((1, 1, 2, 2), -100.))
    assert torch.isfinite(nothing).all()


def test_embedding_readers():
    fcn = build(with_classes(MODEL_CONFIGS['FCN'], 5)).decode_head
    assert embedding_reader(fcn) is fcn.dropout
    fcn.dropout = None
    assert embedding_reader(fcn) is fcn.conv_seg is output_layer(fcn)
    knet = build(with_classes(KNET, 5)).decode_head
    assert embedding_reader(knet) is knet.kernel_generate_head.conv_seg
    segmenter = build(with_classes(SEGMENTER, 5)).decode_head
    assert embedding_reader(segmenter) is segmenter.patch_proj
    masks = named('Mask2FormerHead')
    masks.pixel_decoder = nn.Identity()
    assert embedding_reader(masks) is masks.pixel_decoder
    with pytest.raises(ValueError, match='its embedding is not known'):
        embedding_reader(nn.Identity())
    for head in (knet, segmenter):
        with pytest.raises(ValueError, match=f'{type(head).__name__} has no conv_seg that gives its logits'):
            output_layer(head)


def test_special_axes_are_found_by_prefix():
    model = segmentor(named('FPNHead'), named('PointHead'))
    assert special_axes(model) == ((), ('decode_head.1.', ))
    assert special_axes(segmentor(named('MaskFormerHead'))) == (('decode_head.', ), ())
    assert special_axes(build(with_classes(MODEL_CONFIGS['OCR'], 5))) == ((), ())


@pytest.mark.parametrize('config, words', [
    (KNET, 'new classes change the logits of old ones'), (SEGMENTER, 'new classes change the logits of old ones'),
    (MODEL_CONFIGS['OCR'], 'new classes change the logits of old ones'), (MODEL_CONFIGS['FCN'], None)])
def test_warnings(config, words):
    found = warnings_of(build(with_classes(config, 5)))
    assert len(found) == bool(words) and all(words in text for text in found.values())


def test_a_head_that_draws_at_each_call_is_warned_of():
    assert 'no two predictions of an image are equal' in warnings_of(segmentor(named('LightHamHead')))['LightHamHead']
    assert 'LightHamHead' in warnings_of(segmentor(type('Mine', (type(named('LightHamHead')), ), {})()))
