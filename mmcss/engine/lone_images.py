"""Batches of a single image, which some models can't be trained on."""
from __future__ import annotations

from contextlib import suppress
from typing import List, Tuple

import torch
from mmengine.config import Config
from mmengine.dist import get_world_size
from mmengine.model import revert_sync_batchnorm
from mmseg.models.segmentors import EncoderDecoder
from mmseg.registry import MODELS
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..files import plain
from ..models.freezing import freeze, still_modules
from ..models.taps import given_features
from .components import under_key
from .stated_classes import leaf_configs


def check_lone_images(config: Config, num_images: int) -> None:
    """Refuse a step with a batch of a single image, if its model can't be trained on one.

    A batch norm behind a pooling over the whole image (ASPP, PSP) sees one
    value a channel there, which has no variance. Elsewhere an image's many
    cells are enough.

    Args:
        config: The step's.
        num_images: Of the step.

    Raises:
        ValueError: Names the norm layers.
    """
    norms = norms_of_one_value(config)
    if not norms:
        return
    loader, step = config.train_dataloader, config.model.continual.split.step
    size, world_size = loader.get('batch_size', 1), get_world_size()
    if size == 1:
        told, advice = 'train_dataloader.batch_size=1', 'train_dataloader.batch_size=2 or more'
    else:
        among = f' in {world_size} processes' if world_size > 1 else ''
        told = f'{num_images} images in batches of {size}{among} leave a last batch of one image'
        advice = 'train_dataloader.drop_last=True, or another train_dataloader.batch_size'
    more = f' and {len(norms) - 1} more' if len(norms) > 1 else ''
    raise ValueError(f'step {step}: {told}, and {norms[0]}{more} normalise{"" if more else "s"} over one value a channel '
                     f'there, which training can not. Set {advice}.')


def norms_of_one_value(config: Config) -> List[str]:
    """Batch norms of a step's model that see a single value a channel when it is trained on one image.

    What does not run on the CPU is not looked at.

    Args:
        config: The step's.
    """
    method = config.model.continual
    # What lies in the folder of the step before is no matter here.
    settings = plain(config._cfg_dict)
    with under_key('model', settings['model'], settings):
        model = MODELS.build(dict(config.model, continual=dict(method, previous=None, teacher=None)))
    model.train()
    if method.split.step > 0 and method.get('frozen'):
        freeze(model, model.split, {}, method.frozen, {})
        for module in still_modules(model):
            module.eval()
    found: List[str] = []
    joined = [name for name, module in model.named_modules() if _sees_all_processes(module)]
    model = revert_sync_batchnorm(model)  # SyncBN does not run on the CPU beside other processes
    for name, module in model.named_modules():
        if isinstance(module, _BatchNorm) and name not in joined:
            _watch(name, module, found)
    _run(model, torch.zeros(1, config.model.backbone.get('in_channels', 3), *_image_size(config)))
    return found


def _sees_all_processes(module: nn.Module) -> bool:
    """Whether a norm looks at the images of other processes too; without GPUs SyncBN is an ordinary one."""
    return isinstance(module, nn.SyncBatchNorm) and torch.cuda.is_available() and get_world_size() > 1


def _watch(name: str, norm: nn.Module, found: List[str]) -> None:
    """Note a norm that gets a single value a channel."""

    def look(module: nn.Module, inputs: Tuple[Tensor, ...]) -> None:
        if module.training and inputs[0].numel() == inputs[0].shape[1]:
            found.append(name)
            module.eval()  # or the forward pass would end here

    norm.register_forward_pre_hook(look)


@torch.no_grad()
def _run(model: EncoderDecoder, images: Tensor) -> None:
    """Body and heads, as far as they run here."""
    auxiliary = getattr(model, 'auxiliary_head', None)
    heads = auxiliary if isinstance(auxiliary, nn.ModuleList) else [auxiliary] if auxiliary is not None else []
    with suppress(Exception):  # an operation without CPU code; training will tell of other faults
        features = model.extract_feat(images)
        for head in heads:
            head(features)
        with given_features(model, features):
            model(images, mode='tensor')  # a mask head wants labels besides; norms come before


def _image_size(config: Config) -> Tuple[int, int]:
    """Height and width of training images, 512 where the config does not tell."""
    size = (config.model.get('data_preprocessor') or {}).get('size')
    if size is None:
        pipeline = next(leaf_configs(config.train_dataloader.dataset)).get('pipeline', [])
        size = next((t['crop_size'] for t in reversed(pipeline) if 'crop_size' in t), 512)
    return (size, size) if isinstance(size, int) else tuple(size)
