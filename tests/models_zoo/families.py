"""Which of MMSegmentation's stock models stand for the others.

Of each family (a folder of MMSegmentation's configs) the smallest model that brings its heads and its backbone; where
these stand in several families, one model serves them all.
"""
from __future__ import annotations

from typing import Dict, List

MASK_SEGMENTER = 'segmenter/segmenter_vit-t_mask_8xb1-160k_ade20k-512x512'
CONVNEXT = 'convnext/convnext-tiny_upernet_8xb2-amp-160k_ade20k-512x512'
DDRNET = 'ddrnet/ddrnet_23-slim_in1k-pre_2xb6-120k_cityscapes-1024x1024'
HRNET = 'hrnet/fcn_hr18s_4xb2-40k_cityscapes-512x1024'
KNET = 'knet/knet-s3_r50-d8_fcn_8xb2-adamw-80k_ade20k-512x512'
MAE = 'mae/mae-base_upernet_8xb2-amp-160k_ade20k-512x512'
MASK2FORMER = 'mask2former/mask2former_r50_8xb2-160k_ade20k-512x512'
MASKFORMER = 'maskformer/maskformer_r50-d32_8xb2-160k_ade20k-512x512'
MOBILENET_V2 = 'mobilenet_v2/mobilenet-v2-d8_fcn_4xb2-80k_cityscapes-512x1024'
MOBILENET_V3 = 'mobilenet_v3/mobilenet-v3-d8-s_lraspp_4xb4-320k_cityscapes-512x1024'
PIDNET = 'pidnet/pidnet-s_2xb6-120k_1024x1024-cityscapes'
POOLFORMER = 'poolformer/fpn_poolformer_s12_8xb4-40k_ade20k-512x512'
RESNEST = 'resnest/resnest_s101-d8_fcn_4xb2-80k_cityscapes-512x1024'
SEGNEXT = 'segnext/segnext_mscan-t_1xb16-adamw-160k_ade20k-512x512'
SVT = 'twins/twins_svt-s_fpn_fpnhead_8xb4-80k_ade20k-512x512'

FAMILIES: Dict[str, List[str]] = {
    'ann': ['ann_r50-d8'],
    'apcnet': ['apcnet_r50-d8'],
    'beit': ['upernet_beit'],
    'bisenetv1': ['bisenetv1_r18-d32'],
    'bisenetv2': ['bisenetv2'],
    'ccnet': ['ccnet_r50-d8'],
    'cgnet': ['cgnet'],
    'convnext': [CONVNEXT],
    'danet': ['danet_r50-d8'],
    'ddrnet': [DDRNET],
    'deeplabv3': ['deeplabv3_unet_s5-d16'],
    'deeplabv3plus': ['deeplabv3plus_r50-d8'],
    'dmnet': ['dmnet_r50-d8'],
    'dnlnet': ['dnl_r50-d8'],
    'dpt': ['dpt_vit-b16'],
    'dsdl': ['deeplabv3_unet_s5-d16'],  # a format of data sets
    'emanet': ['emanet_r50-d8'],
    'encnet': ['encnet_r50-d8'],
    'erfnet': ['erfnet_fcn'],
    'fastfcn': ['fastfcn_r50-d32_jpu_psp'],
    'fastscnn': ['fast_scnn'],
    'fcn': ['fcn_r50-d8'],
    'gcnet': ['gcnet_r50-d8'],
    'hrnet': [HRNET],
    'icnet': ['icnet_r50-d8'],
    'isanet': ['isanet_r50-d8'],
    'knet': [KNET],
    'mae': [MAE],
    'mask2former': [MASK2FORMER],
    'maskformer': [MASKFORMER],
    'mobilenet_v2': [MOBILENET_V2],
    'mobilenet_v3': [MOBILENET_V3],
    'nonlocal_net': ['nonlocal_r50-d8'],
    'ocrnet': ['ocrnet_r50-d8'],
    'pidnet': [PIDNET],
    'point_rend': ['pointrend_r50'],
    'poolformer': [POOLFORMER],
    'psanet': ['psanet_r50-d8'],
    'pspnet': ['fastfcn_r50-d32_jpu_psp'],
    'resnest': [RESNEST],
    'san': ['san_vit-b16'],
    'segformer': ['segformer_mit-b0'],
    'segmenter': [MASK_SEGMENTER],
    'segnext': [SEGNEXT],
    'sem_fpn': ['twins_pcpvt-s_fpn'],
    'setr': ['setr_mla', 'setr_pup'],
    'stdc': ['stdc'],
    'swin': ['upernet_swin'],
    'twins': ['twins_pcpvt-s_fpn', SVT],
    'unet': ['deeplabv3_unet_s5-d16'],
    'upernet': ['upernet_swin'],
    'vit': ['dpt_vit-b16'],
    'vpd': ['vpd_sd'],
}
# Heads and backbones of MMSegmentation that no model above has.
ELSEWHERE: Dict[str, str] = {
    'ResNetV1d': 'no stock config has it',
    'ResNeXt': 'no stock config has it',
    'TIMMBackbone': 'test_own_models.py',
    'VPDDepthHead': 'estimates depth',
}
