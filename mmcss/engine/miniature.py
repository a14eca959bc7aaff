"""A scenario and the configs of its steps in miniature: few steps and few small images, everything else unchanged."""
from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, Mapping, Sequence

import numpy as np
import torch
from mmcv.transforms import BaseTransform, LoadAnnotations
from mmengine.config import Config
from mmengine.optim import AmpOptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from mmseg.registry import TRANSFORMS
from PIL import Image

from ..files import plain
from ..scenario import IGNORE, ClassIncremental, Scenario
from .components import FOLDERS
from .model_config import without_pretrained
from .config_nodes import class_of, walk
from .stated_classes import leaf_configs, stated_names

SIZE = 64
# Heads that need larger images.
SIZES = {'LRASPPHead': 400, 'MaskFormerHead': 128, 'Mask2FormerHead': 128}
GRID = 16  # blocks of one label per image side
IMAGES = 2  # per step
SHARDED = 'ZeroRedundancyOptimizer'


def shortened(scenario: Scenario) -> Scenario:
    """At most three steps of a scenario: the first two, and one that brings all that the others bring.

    The images of domains are in folders of their names.
    """
    steps, rest = scenario.steps[:2], scenario.steps[2:]
    if rest:
        steps = (*steps, sum(rest, ()))
    if isinstance(scenario, ClassIncremental):
        return replace(scenario, steps=steps, images_per_step=None)
    return replace(scenario, steps=steps, rule=dict(regex='(.*)/'), test_share=0.0, partition='once')


def image_size(model: Mapping[str, Any]) -> int:
    """Height and width, in pixels, of small images that a model accepts."""
    return max([SIZE, *(SIZES.get(str(node.get('type')), 0) for node in walk(plain(model)))])


def for_small_images(model: Mapping[str, Any], size: int) -> Dict[str, Any]:
    """A model's config for images of ``size`` x ``size`` pixels, on any device, without pretrained weights."""
    model = without_pretrained(plain(model))
    preprocessor = model.get('data_preprocessor')
    if preprocessor and isinstance(preprocessor.get('size'), (list, tuple)):
        model['data_preprocessor'] = dict(preprocessor, size=(size, size))
    test_cfg = model.get('test_cfg') or {}
    for key, length in (('crop_size', size), ('stride', size * 2 // 3)):
        if isinstance(test_cfg.get(key), (list, tuple)) and len(test_cfg[key]) == 2:  # other values fail in the run too
            test_cfg[key] = (length, length)
    for node in walk(model.get('backbone', {})):  # whose position embeddings are for one image size
        if isinstance(node.get('img_size'), (list, tuple, int)) and node['type'] in ('BEiT', 'MAE'):
            node['img_size'] = (size, size)
    return model


@TRANSFORMS.register_module()
class RandomPixels(BaseTransform):
    """Stands in for the loader of images, with random ones of ``size`` x ``size`` pixels.

    Required keys: img_path. Added keys: img, img_shape, ori_shape.
    """

    def __init__(self, size: int, channels: int = 3) -> None:
        self.size = size
        self.channels = channels

    def transform(self, results: Dict[str, Any]) -> Dict[str, Any]:
        """Draw the pixels of an image, seeded by its path."""
        random = np.random.RandomState([*str(results['img_path'])[-8:].encode()])
        results['img'] = random.randint(0, 256, (self.size, self.size, self.channels), dtype=np.uint8)
        results['img_shape'] = results['ori_shape'] = (self.size, self.size)
        return results


class RandomImages:
    """Files of random images, below ``folder``, with the labels of each step: background, new classes, some ignored.

    Args:
        dataset: Config of the data set that they stand in for, whose label
            values they have.
        size: Height and width in pixels.
    """

    saliency = 'saliency'

    def __init__(self, folder: Path, scenario: Scenario, dataset: Mapping[str, Any], size: int) -> None:
        self.folder = folder
        self.size = size
        self.names = stated_names(dataset)
        self.random = np.random.RandomState(0)
        for split in scenario:
            domains = ('', ) if split.domains is None else split.domains.new
            for number in range(max(IMAGES, len(domains))):
                domain = domains[number % len(domains)]
                first = split.seen[:split.first_foreground]
                classes = split.new if split.domains is None else split.seen
                self._write('train', f'{Path(domain, str(split.step))}_{number}', [*first, *split.foreground(classes)])
        last = scenario[len(scenario) - 1]
        self._write('test', 'all' if last.domains is None else f'{scenario[0].entering[0]}/all', last.seen)

    def _write(self, role: str, name: str, classes: Sequence[str]) -> None:
        # A background that the data set does not list consists of other classes' pixels: there are none here.
        values = [self.names.raw_ids[label] for label in classes if label in self.names.raw_ids]
        blocks = np.resize(values, (GRID, GRID)).astype(np.uint8)
        labels = np.kron(self.random.permutation(blocks), np.ones((self.size // GRID, ) * 2, dtype=np.uint8))
        labels[0] = IGNORE
        salient = (self.random.rand(*labels.shape) < 0.5).astype(np.uint8)
        for kind, pixels in (('images', salient), ('labels', labels), (self.saliency, salient)):
            path = self.folder / (kind if kind == self.saliency else f'{kind}/{role}') / f'{name}.png'
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path, compress_level=0)

    def config(self, dataset: Mapping[str, Any], role: str, channels: int) -> Dict[str, Any]:
        """Config of a stock data set that reads them, with the last transforms of ``dataset``."""
        pipeline = [plain(transform) for transform in next(leaf_configs(dataset)).get('pipeline') or ()]
        last = pipeline[-1:]
        ending = [transform for transform in pipeline[1:-1]
                  if transform['type'] == 'GenerateEdge' or _is_custom(transform) and _is_custom(last[0])]
        ending += [transform for transform in last if transform['type'] != 'TestTimeAug'] or [dict(type='PackSegInputs')]
        return dict(
            type='BaseSegDataset', data_root=str(self.folder), serialize_data=False, img_suffix='.png', seg_map_suffix='.png',
            reduce_zero_label=min(self.names.raw_ids[name] for name in self.names.listed) > 0,
            data_prefix=dict(img_path=f'images/{role}', seg_map_path=f'labels/{role}'),
            metainfo=dict(classes=list(self.names.listed)),
            pipeline=[dict(type='RandomPixels', size=self.size, channels=channels), dict(type='LoadAnnotations'), *ending])


def _is_custom(transform: Mapping[str, Any]) -> bool:
    """Whether a transform is the user's, and so may need the keys that another of these has added; no loader of labels."""
    kind = class_of(TRANSFORMS, transform['type'])
    stock = getattr(kind, '__module__', 'mmseg.').startswith(('mmcv.', 'mmseg.', 'mmcss.'))
    return not (stock or issubclass(kind, LoadAnnotations))


class QuietConfig(Config):
    """A config that nobody reads: formatting its text, as hooks ask for, would take half a second."""

    @property
    def pretty_text(self) -> str:
        """The text, not formatted."""
        return self.text


def miniature(config: Config, images: RandomImages, lone: bool = False) -> Config:
    """The plain config of a step, for a few small images.

    Sampler, collate function, optimizer, schedules, loops, hooks, evaluators
    and the method are unchanged.

    Args:
        config: That of :func:`step_config` for a :func:`shortened` scenario.
        lone: Whether a batch of the step is a single image, with which some
            models can't be trained: a norm behind a pooling over the whole
            image (ASPP, PSP) gets one value per channel.
    """
    small = copy.deepcopy(config._cfg_dict.to_dict())
    model = small['model'] = dict(for_small_images(small['model'], images.size))
    if model['continual'].get('teacher'):
        model['continual']['teacher'] = for_small_images(model['continual']['teacher'], images.size)
    channels = model['backbone'].get('in_channels', 3)
    if lone and not small['train_dataloader'].get('batch_sampler'):  # those add remembered images
        small['train_dataloader']['batch_size'] = 1
    for role in ('train', 'val', 'test'):
        if small.get(f'{role}_dataloader'):
            _with_images(small[f'{role}_dataloader'], images, 'train' if role == 'train' else 'test', channels)
    small.update(load_from=None, resume=False, launcher='none', compile=False,
                 visualizer=dict(small['visualizer'], vis_backends=None, save_dir=None))
    if without_accelerator(config):
        small['optim_wrapper'] = {key: value for key, value in small['optim_wrapper'].items()
                                  if key in ('optimizer', 'constructor', 'paramwise_cfg', 'clip_grad', 'accumulative_counts')}
    optimizer = small['optim_wrapper'].get('optimizer') or {}
    if optimizer.get('type') == SHARDED:
        small['optim_wrapper']['optimizer'] = dict(type=optimizer['optimizer_type'], lr=optimizer.get('lr', 0.01))
    for node in walk([small.get('default_hooks'), small['custom_hooks'], small['test_evaluator'], small.get('val_evaluator')]):
        node.update({key: str(images.folder / 'out') for key in FOLDERS if node.get(key)})
    return QuietConfig(small)


def norms_see_others(model: Mapping[str, Any], world_size: int) -> bool:
    """Whether a model's norms see the images of other processes too; without GPUs SyncBN does not."""
    return world_size > 1 and torch.cuda.is_available() and any(node.get('type') == 'SyncBN' for node in walk(plain(model)))


def without_accelerator(config: Config) -> bool:
    """Whether a step needs mixed precision, and there is no device for it here."""
    kind = class_of(OPTIM_WRAPPERS, config.optim_wrapper.get('type', 'OptimWrapper'))
    return isinstance(kind, type) and issubclass(kind, AmpOptimWrapper) and not torch.cuda.is_available()


def _with_images(loader: Dict[str, Any], images: RandomImages, role: str, channels: int) -> None:
    """Make a loader give the images in batches of two, in this process."""
    dataset: Dict[str, Any] = loader['dataset']
    loader.update(num_workers=0, persistent_workers=False, batch_size=min(loader.get('batch_size', 1), IMAGES))
    for key in ('prefetch_factor', 'num_batch_per_epoch', 'multiprocessing_context', 'timeout'):
        loader.pop(key, None)
    if 'share' in (loader.get('batch_sampler') or {}):
        loader['batch_sampler']['share'] = 0.5
    dataset['dataset'] = images.config(dataset['dataset'], role, channels)
    dataset.pop('skip_broken', None)
    if 'min_length' in dataset:
        dataset['min_length'] = min(dataset['min_length'], loader['batch_size'])
    if 'saliency' in dataset:
        dataset['saliency'] = images.saliency

