"""Watching a segmentor while it runs: features, logits and loss weights.

Nothing is changed for good: hooks and replaced methods last for one forward
pass. Forward hooks on decode heads would not do: MMSegmentation calls their
``forward`` directly.
"""
from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import Any, Callable, Iterator, List, Optional, Tuple

import torch.nn as nn
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from torch import Tensor

from ..parts import Attention, Needs, Prediction
from .attention import tap_attention

# Which of several outputs holds the logits of the whole map, by class of head.
MAIN_OUTPUT = {'PIDHead': 1, 'IterativeDecodeHead': -1}


def decode_heads(segmentor: nn.Module) -> List[nn.Module]:
    """The decode heads of a segmentor, the final one last."""
    head = segmentor.decode_head
    return list(head) if isinstance(head, nn.ModuleList) else [head]


def main_logits(head: nn.Module, output: Any) -> Tensor:
    """The logits among what a decode head's ``forward`` returned."""
    if isinstance(output, (tuple, list)):
        return output[MAIN_OUTPUT.get(type(head).__name__, 0)]
    return output


class Watch:
    """What was seen of a segmentor during one forward pass."""

    def __init__(self) -> None:
        self.head_logits: Optional[Tensor] = None
        self.upsampled: Optional[Tensor] = None
        self.stages: List[Optional[Tensor]] = []
        self.body: Optional[Tensor] = None
        self.embedding: Optional[Tensor] = None
        self.attention: List[Optional[Attention]] = []

    def prediction(self, size: Tuple[int, int], align_corners: bool) -> Prediction:
        """The :class:`Prediction` for labels of ``size``."""
        return Prediction(self.head_logits, size, align_corners, tuple(self.stages), self.body, self.embedding,
                          tuple(self.attention), upsampled=self.upsampled)


@contextmanager
def watch_features(segmentor: nn.Module, needs: Needs) -> Iterator[Watch]:
    """Collect stage outputs, the embedding and attention of the next forward pass."""
    seen = Watch()
    with ExitStack() as stack:
        if needs.stages:
            _tap_stages(segmentor.backbone, seen, stack)
        if needs.body:
            _tap_outputs(segmentor.backbone, lambda outputs: setattr(seen, 'body', outputs[-1]), stack)
        if needs.embedding:
            _tap_embedding(decode_heads(segmentor)[-1], seen, stack)
        if needs.attention:
            seen.attention = tap_attention(segmentor.backbone, stack)
        yield seen


def _tap_stages(backbone: nn.Module, seen: Watch, stack: ExitStack) -> None:
    """Stage outputs: before the last ReLU for ResNets, else what the backbone returns."""
    names = getattr(backbone, 'res_layers', None)
    if not names:
        _tap_outputs(backbone, lambda outputs: setattr(seen, 'stages', outputs), stack)
        return
    seen.stages = [None] * len(names)
    for number, name in enumerate(names):
        relu = getattr(backbone, name)[-1].relu
        # A block calls its one ReLU several times, the last time on the sum
        # with the shortcut. In place, the tap would see the sum after it.
        _replace(relu, 'inplace', False, stack)

        def keep_input(module: nn.Module, inputs: Tuple[Tensor, ...], number: int = number) -> None:
            seen.stages[number] = inputs[0]

        stack.callback(relu.register_forward_pre_hook(keep_input).remove)


def _tap_outputs(backbone: nn.Module, keep: Callable[[List[Tensor]], None], stack: ExitStack) -> None:
    """Hand what the backbone returns to ``keep``."""

    def keep_outputs(module: nn.Module, inputs: Any, outputs: Any) -> None:
        keep(list(outputs) if isinstance(outputs, (tuple, list)) else [outputs])

    stack.callback(backbone.register_forward_hook(keep_outputs).remove)


def embedding_reader(head: nn.Module) -> nn.Module:
    """The module of a decode head that takes its embedding: dropout or the classifier."""
    module = getattr(head, 'dropout', None) or getattr(head, 'conv_seg', None)
    if module is None:
        raise ValueError(f'{type(head).__name__} has neither dropout nor conv_seg, so its embedding is not known; '
                         'use a decode head that keeps to BaseDecodeHead, or a method without embedding.')
    return module


def _tap_embedding(head: nn.Module, seen: Watch, stack: ExitStack) -> None:

    def keep_input(module: nn.Module, inputs: Tuple[Tensor, ...]) -> None:
        seen.embedding = inputs[0]

    stack.callback(embedding_reader(head).register_forward_pre_hook(keep_input).remove)


@contextmanager
def watch_training(segmentor: nn.Module, needs: Needs, size: Tuple[int, int],
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
    with watch_features(segmentor, needs) as seen, ExitStack() as stack:
        samplers = []
        for head in decode_heads(segmentor):
            _watch_loss(head, seen, needs, size, stack)
            if pixel_weight is not None:
                samplers.append(PixelWeights(getattr(head, 'sampler', None), pixel_weight))
                _replace(head, 'sampler', samplers[-1], stack)
        yield seen
        if samplers and seen.head_logits is not None and not any(sampler.asked for sampler in samplers):
            raise ValueError(f'the loss of {type(decode_heads(segmentor)[-1]).__name__} asks no pixel sampler, so that '
                             "the method's pixel weights don't reach it; switch them off (adaptive_factor=False), or "
                             'use another decode head.')


def _watch_loss(head: nn.Module, seen: Watch, needs: Needs, size: Tuple[int, int], stack: ExitStack) -> None:
    original = head.loss_by_feat
    # The stock loss would upsample the logits again: give it those of the
    # parts, whose size it keeps.
    shares = needs.logits and type(head).loss_by_feat is BaseDecodeHead.loss_by_feat

    def loss_by_feat(output: Any, *args: Any, **kwargs: Any) -> dict:
        logits = main_logits(head, output)
        if logits.dim() == 4:  # PointRend's point head has [N, C, points]: keep the map of the head before
            seen.head_logits, seen.upsampled = logits, None
            if shares:
                seen.upsampled = output = Prediction(logits, size, head.align_corners).logits
        return original(output, *args, **kwargs)

    _replace(head, 'loss_by_feat', loss_by_feat, stack)


@contextmanager
def watch_inference(segmentor: nn.Module, needs: Needs) -> Iterator[Watch]:
    """Watch ``encode_decode``; it then returns the final head's own resolution."""
    head = decode_heads(segmentor)[-1]
    with watch_features(segmentor, needs) as seen, ExitStack() as stack:

        def predict_by_feat(output: Any, *args: Any, **kwargs: Any) -> Tensor:
            seen.head_logits = main_logits(head, output)
            return seen.head_logits

        _replace(head, 'predict_by_feat', predict_by_feat, stack)
        yield seen


@contextmanager
def given_features(segmentor: nn.Module, features: Any) -> Iterator[None]:
    """Let a segmentor take these features for those of any image, in place of running its backbone and neck."""
    with ExitStack() as stack:
        _replace(segmentor, 'extract_feat', lambda inputs: features, stack)
        yield


class PixelWeights:
    """A pixel sampler that multiplies another one's weights.

    Takes the place of a decode head's ``sampler``, through which
    MMSegmentation hands weights to every ``loss_decode``.
    """

    def __init__(self, inner: Optional[Any], weight: Tensor) -> None:
        self.inner = inner
        self.weight = weight
        self.asked = False

    def sample(self, seg_logit: Tensor, seg_label: Tensor) -> Tensor:
        """``[N, H, W]`` weights for ``[N, C, H, W]`` logits and ``[N, 1, H, W]`` labels."""
        self.asked = True
        if self.inner is None:
            return self.weight.expand(seg_label.squeeze(1).shape)
        return self.weight * self.inner.sample(seg_logit, seg_label)


def _replace(module: nn.Module, name: str, value: Any, stack: ExitStack) -> None:
    """Shadow an attribute of ``module`` with an instance attribute for a while."""
    missing = object()
    before = module.__dict__.get(name, missing)
    module.__dict__[name] = value

    def restore() -> None:
        if before is missing:
            del module.__dict__[name]
        else:
            module.__dict__[name] = before

    stack.callback(restore)
