"""Turns an InPlace-ABN ImageNet checkpoint into one for mmcss's LeakyResNet.

The file is the one of https://github.com/mapillary/inplace_abn (its README
links resnet101_iabn_sync.pth.tar). The scale of each norm becomes
|weight| + 1e-5, which is what InPlace-ABN computes with. Give the result as

    model = dict(backbone=dict(init_cfg=dict(type='Pretrained', checkpoint='OUT.pth')))
"""
from __future__ import annotations

import argparse
from pathlib import Path

import mmcss  # noqa: F401  first: it prepares the stack
import torch
from mmcss.models.inplace_abn import convert_state_dict


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('checkpoint', help='resnet101_iabn_sync.pth.tar')
    parser.add_argument('out', help='the file to write')
    args = parser.parse_args()
    loaded = torch.load(args.checkpoint, map_location='cpu', weights_only=True)
    converted = convert_state_dict(loaded.get('state_dict', loaded))
    Path(args.out).parent.mkdir(parents=True, exist_ok=True)
    torch.save(dict(state_dict=converted, meta={}), args.out)
    print(f'{len(converted)} tensors written to {args.out}')


if __name__ == '__main__':
    main()
