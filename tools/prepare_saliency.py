"""Makes the saliency maps that SSUL trains with, one PNG for each training image.

A map is 255 where the image holds something that may become a class, else 0.
It is made from what a detector of your own has written (--from-folder), by
OpenCV's saliency module (--opencv), or from the labels of all classes, future
ones too (--ground-truth: the oracle of the paper's ablation, no continual
setting).
"""
from __future__ import annotations

import argparse
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple

import cv2
import numpy as np
from mmcss.commands.config_options import add_config, read_config
from mmcss.datasets import leaves_of, name_classes
from mmcss.datasets.saliency import saliency_path
from mmcss.datasets.readers import LabelReader
from mmcss.datasets.sources import image_name, open_dataset
from mmcss.engine.settings import read_settings
from mmcss.engine.typed_settings import UnknownSettings
from mmcss.scenario import IGNORE
from mmengine.dataset import BaseDataset
from mmengine.registry import init_default_scope
from PIL import Image
from rich.progress import track

SUFFIXES = ('.png', '.jpg', '.jpeg', '.bmp', '.tif')
DETECTORS = {
    'fine_grained': 'StaticSaliencyFineGrained_create',
    'spectral_residual': 'StaticSaliencySpectralResidual_create',
}
Info = Dict[str, Any]
Detector = Callable[[BaseDataset, Info], np.ndarray]


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_config(parser)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument('--from-folder', metavar='DIR', help="a detector's grey maps, named like the images")
    source.add_argument('--opencv', choices=sorted(DETECTORS), help='a method of cv2.saliency (opencv-contrib)')
    source.add_argument('--ground-truth', action='store_true', help='all pixels of all classes')
    parser.add_argument('--threshold', type=float, metavar='SHARE',
                        help="salient from this share of white on; default: 0.5, with --opencv Otsu's for each image")
    parser.add_argument('--folder', help="where the maps go, relative to data_root; default: the config's")
    parser.add_argument('--overwrite', action='store_true', help='make maps anew that are there')
    args = parser.parse_args()
    if args.threshold is not None and not 0 < args.threshold <= 1:
        parser.error(f'--threshold: got {args.threshold}, expected a share above 0 and up to 1')
    return args


def from_folder(folder: str, threshold: float) -> Detector:
    """Maps of a detector of one's own; of the images' size."""

    def detect(leaf: BaseDataset, info: Info) -> np.ndarray:
        stem = os.path.join(folder, os.path.splitext(image_name(leaf, info))[0])
        path = next((stem + suffix for suffix in SUFFIXES if os.path.isfile(stem + suffix)), None)
        if path is None:
            raise FileNotFoundError(f'{stem}.png is missing: the map of {info["img_path"]}')
        found, size = np.array(Image.open(path).convert('L')), Image.open(info['img_path']).size
        if found.shape[::-1] != size:
            raise ValueError(f'{path} has {found.shape[1]} x {found.shape[0]} pixels, its image {size[0]} x {size[1]}')
        return found >= 255 * threshold

    return detect


def by_opencv(method: str, threshold: Optional[float]) -> Detector:
    """Maps of OpenCV's saliency module."""
    if not hasattr(cv2, 'saliency'):
        raise SystemExit("cv2.saliency is missing. It comes with OpenCV's contributed modules: "
                         'pip uninstall opencv-python; pip install "mmcss[saliency]".')

    def detect(leaf: BaseDataset, info: Info) -> np.ndarray:
        image = cv2.imread(info['img_path'])
        if image is None:
            raise ValueError(f"{info['img_path']} can not be read")
        # One for each image: they keep state, and images are done in parallel.
        done, saliency = getattr(cv2.saliency, DETECTORS[method])().computeSaliency(image)
        if not done:
            raise ValueError(f"OpenCV finds no saliency in {info['img_path']}")
        grey = np.clip(saliency * 255, 0, 255).astype(np.uint8)
        least = 255 * threshold if threshold else cv2.threshold(grey, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)[0] + 1
        return grey >= least

    return detect


def by_labels() -> Detector:
    """All pixels of foreground classes."""

    def detect(leaf: BaseDataset, info: Info) -> np.ndarray:
        names = name_classes(leaf.metainfo['classes'], getattr(leaf, 'reduce_zero_label', False))
        labels = LabelReader(leaf)(info)
        return np.isin(labels, [names.raw_ids[name] for name in names.foreground]) & (labels != IGNORE)

    return detect


def make_maps(leaves: List[BaseDataset], folder: str, detect: Detector, overwrite: bool) -> Tuple[int, float]:
    """Write the maps of all images of data sets.

    Returns:
        How many were made, and the salient share of their pixels.
    """
    todo = [(leaf, leaf.get_data_info(i)) for leaf in leaves for i in range(len(leaf))]
    todo = [(leaf, info, Path(saliency_path(leaf, folder, image_name(leaf, info)))) for leaf, info in todo]
    todo = [entry for entry in todo if overwrite or not entry[2].is_file()]

    def make(entry: Tuple[BaseDataset, Info, Path]) -> float:
        leaf, info, path = entry
        salient = detect(leaf, info)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f'{path.name}.partial')
        Image.fromarray(salient.astype(np.uint8) * 255).save(partial, format='PNG')
        partial.replace(path)
        return float(salient.mean())

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        shares = list(track(pool.map(make, todo), 'Making saliency maps', total=len(todo)))
    return len(shares), float(np.mean(shares)) if shares else 0.0


def main() -> None:
    args = parse_args()
    init_default_scope('mmseg')
    cfg = read_config(args.config, args)
    folder = args.folder or (read_settings(cfg).method(1).unknown or UnknownSettings(of='saliency')).folder
    if args.ground_truth:
        detect = by_labels()
    elif args.opencv:
        detect = by_opencv(args.opencv, args.threshold)
    else:
        detect = from_folder(args.from_folder, args.threshold or 0.5)
    try:
        dataset = open_dataset(cfg.train_dataloader.dataset)
    except ValueError as error:
        sys.exit(f'train_dataloader.dataset: {error}')
    leaves = list({id(leaf): leaf for leaf in leaves_of(dataset)}.values())
    number, share = make_maps(leaves, folder, detect, args.overwrite)
    where = os.path.dirname(saliency_path(leaves[0], folder, 'any'))
    told = f', {share:.0%} of their pixels salient' if number else ': all are there'
    print(f'{number} saliency maps in {where}{told}')


if __name__ == '__main__':
    main()
