"""Watching a segmentor while it runs: features, logits and loss weights.

Methods are overridden for one forward pass. Forward hooks would not do:
MMSegmentation calls the ``forward`` of decode heads directly.
"""
from __future__ import annotations

from contextlib import ExitStack, contextmanager
from operator import setitem
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

import torch.nn as nn
from mmengine.model import BaseModule
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.segmentors import EncoderDecoder
from torch import Tensor

from ..arguments import ABSENT, did_you_mean
from ..parts import Attention, Needs, Prediction, ModuleTensors
from .attention import tap_attention
from .backbones import evaluated_features
from .heads import MASK_HEADS, decode_heads, embedding_reader, is_a, main_logits, map_head
from .overriding import override_attribute, tap
from .weighting import weigh_losses


class Watch:
    """Tensors of a segmentor that are collected during one forward pass."""

    def __init__(self) -> None:
        self.head_logits: Tensor = ABSENT
        self.upsampled: Optional[Tensor] = None
        self.stages: List[Tensor] = []
        self.backbone_output: Tensor = ABSENT
        self.embedding: Tensor = ABSENT
        self.attention: List[Attention] = []
        self.outputs, self.inputs = ModuleTensors(), ModuleTensors()

    def prediction(self, size: Tuple[int, int], align_corners: bool) -> Prediction:
        """The :class:`Prediction` for labels of ``size``.

        Raises:
            ValueError: A stage, or a module that a part asked for, gave no tensor.
        """
        collected = [(f'stage {number} of this model', 'continual.stages', stage) for number, stage in enumerate(self.stages)]
        collected += [(name, 'Needs', value) for tensors in (self.inputs, self.outputs) for name, value in tensors.items()]
        for name, place, value in collected:
            if not isinstance(value, Tensor):
                raise ValueError(f'{name} returns {type(value).__name__}, expected a tensor; name other modules in {place}.')
        embedding = self.embedding
        if embedding is not None and embedding.dim() == 3:  # Segmenter's tokens
            embedding = embedding.transpose(1, 2).unflatten(2, self.head_logits.shape[2:])
        return Prediction(self.head_logits, size, align_corners, tuple(self.stages), self.backbone_output, embedding,
                          tuple(self.attention), self.outputs, self.inputs, self.upsampled)


def check_modules(segmentor: EncoderDecoder, names: Sequence[str], place: str) -> None:
    """Raise a ValueError if a segmentor has no modules of these names; ``place`` is where a config or a part names them."""
    modules = [name for name, _ in segmentor.named_modules() if name]
    unknown = [name for name in names if name not in modules]
    if unknown:
        examples = [name for name in modules if name.count('.') == 1 and not name.startswith('auxiliary_head')]
        raise ValueError(f'{place}: got {unknown}, which are no modules of this model{did_you_mean(unknown[0], modules)}; valid '
                         f'are {", ".join(examples)}, and modules inside them.')


@contextmanager
def watch_features(segmentor: EncoderDecoder, needs: Needs) -> Iterator[Watch]:
    """Collect ``needs`` in the next forward pass; stages are the segmentor's ``tapped_stages``, or else the backbone's."""
    watch, backbone = Watch(), segmentor.backbone
    with ExitStack() as stack:
        if needs.stages and getattr(segmentor, 'tapped_stages', None):
            _tap_stages([segmentor.get_submodule(name) for name in segmentor.tapped_stages], False, watch, stack)
        elif needs.stages and getattr(backbone, 'res_layers', None):
            # Before the last ReLU. A block calls its one ReLU several times, the last time on the sum with the shortcut.
            relus = [getattr(backbone, name)[-1].relu for name in backbone.res_layers]
            for relu in relus:  # in place it would overwrite the sum
                override_attribute(relu, 'inplace', False, stack)
            _tap_stages(relus, True, watch, stack)
        elif needs.stages:
            tap(backbone, lambda inputs, outputs: setattr(watch, 'stages', _maps(backbone, outputs)), stack)
        if needs.backbone_output:
            tap(backbone, lambda inputs, outputs: setattr(watch, 'backbone_output', _maps(backbone, outputs)[-1]), stack)
        if needs.embedding:
            head = map_head(segmentor)
            # A head that classifies masks returns the features of masks first, then what queries attend to.
            _tap_first(embedding_reader(head), not is_a(head, MASK_HEADS), vars(watch), 'embedding', stack)
        if needs.attention:
            watch.attention = tap_attention(backbone, stack)
        if needs.outputs or needs.inputs:
            _tap_named(segmentor, needs, watch, stack)
        yield watch


def _tap_stages(modules: Sequence[nn.Module], inputs: bool, watch: Watch, stack: ExitStack) -> None:
    watch.stages = [ABSENT] * len(modules)
    for number, module in enumerate(modules):
        _tap_first(module, inputs, watch.stages, number, stack)


def _tap_named(segmentor: EncoderDecoder, needs: Needs, watch: Watch, stack: ExitStack) -> None:
    """Inputs and outputs of modules, as far as the segmentor has them: a teacher has no auxiliary heads."""
    modules = dict(segmentor.named_modules())
    for module in modules.values():
        if getattr(module, 'inplace', False):  # it would overwrite what is collected
            override_attribute(module, 'inplace', False, stack)
    for names, tensors, inputs in ((needs.inputs, watch.inputs, True), (needs.outputs, watch.outputs, False)):
        for name in names:
            if name in modules:
                _tap_first(modules[name], inputs, tensors, name, stack)


def _tap_first(module: nn.Module, inputs: bool, tensors: Any, key: Any, stack: ExitStack) -> None:
    """Put the first input, or else the first output, of a module's last call at ``key`` of ``tensors``."""
    tap(module, lambda args, output: setitem(tensors, key, _first(args[0] if inputs else output)), stack)


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, (tuple, list)) and value else value


def _maps(backbone: BaseModule, outputs: Any) -> List[Tensor]:
    """The maps that a backbone returned."""
    outputs = evaluated_features(backbone, outputs)
    # Some transformers (DPT's) return a class token beside each map.
    return [_first(output) for output in (outputs if isinstance(outputs, (tuple, list)) else [outputs])]


@contextmanager
def watch_training(segmentor: EncoderDecoder, needs: Needs, size: Tuple[int, int],
                   pixel_weight: Optional[Tensor]) -> Iterator[Watch]:
    """Watch the forward pass that computes the stock losses.

    Args:
        segmentor: The student.
        needs: What to collect besides the head's logits.
        size: Height and width of the labels.
        pixel_weight: Factor on the loss of the decode heads (not of auxiliary
            ones, which the papers don't have), or None.

    Raises:
        ValueError: There are weights, and no decode head's loss takes them.
    """
    with watch_features(segmentor, needs) as watch, ExitStack() as stack:
        _watch_loss(map_head(segmentor), watch, needs, size, stack)
        heads = decode_heads(segmentor)
        checks = [] if pixel_weight is None else [weigh_losses(head, pixel_weight, stack) for head in heads]
        yield watch
        if checks and watch.head_logits is not None and not any(was_weighed() for was_weighed in checks):
            raise ValueError(f'the loss of {type(heads[-1]).__name__} bypasses its loss_decode, so that '
                             "the method's pixel weights don't reach it; switch them off (adaptive_factor=False), or "
                             'use another decode head.')


def _watch_loss(head: BaseModule, watch: Watch, needs: Needs, size: Tuple[int, int], stack: ExitStack) -> None:
    if is_a(head, MASK_HEADS):
        _tap_logits(head, watch, stack)
        return
    original = head.loss_by_feat
    # The stock loss would upsample the logits again: it gets those of the parts, which have the size of the labels.
    shares = needs.logits and type(head).loss_by_feat is BaseDecodeHead.loss_by_feat

    def loss_by_feat(output: Any, *args: Any, **kwargs: Any) -> Dict[str, Tensor]:
        watch.head_logits, watch.upsampled = main_logits(head, output), None
        if shares:
            watch.upsampled = output = Prediction(watch.head_logits, size, head.align_corners).logits
        return original(output, *args, **kwargs)

    override_attribute(head, 'loss_by_feat', loss_by_feat, stack)


def _tap_logits(head: BaseModule, watch: Watch, stack: ExitStack) -> None:
    tap(head, lambda inputs, output: setattr(watch, 'head_logits', main_logits(head, output)), stack)


@contextmanager
def watch_inference(segmentor: EncoderDecoder, needs: Needs) -> Iterator[Watch]:
    """Watch ``encode_decode``, which returns logits at the resolution of a head unless the head refines them."""
    head = map_head(segmentor)
    with watch_features(segmentor, needs) as watch, ExitStack() as stack:
        if head is decode_heads(segmentor)[-1] and not is_a(head, MASK_HEADS):

            def predict_by_feat(output: Any, *args: Any, **kwargs: Any) -> Tensor:
                watch.head_logits = main_logits(head, output)
                return watch.head_logits

            override_attribute(head, 'predict_by_feat', predict_by_feat, stack)
        else:
            _tap_logits(head, watch, stack)
        yield watch


@contextmanager
def preset_features(segmentor: EncoderDecoder, features: Any) -> Iterator[None]:
    """Within it a segmentor uses these features instead of running its backbone and neck."""
    with ExitStack() as stack:
        override_attribute(segmentor, 'extract_feat', lambda inputs: features, stack)
        yield
