"""Watching a segmentor while it runs: features, logits and loss weights.

Nothing is changed for good: hooks and replaced methods last for one forward
pass. Forward hooks on decode heads would not do: MMSegmentation calls their
``forward`` directly.
"""
from __future__ import annotations

from contextlib import ExitStack, contextmanager
from functools import partial
from operator import setitem
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Tuple

import torch.nn as nn
from mmengine.model import BaseModule
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.segmentors import EncoderDecoder
from torch import Tensor

from ..arguments import ABSENT, did_you_mean
from ..parts import Attention, Needs, Prediction, Seen
from .attention import tap_attention
from .bodies import evaluated_features
from .heads import MASK_HEADS, decode_heads, embedding_reader, is_a, main_logits, map_head, mask_logits
from .shadowing import shadow
from .weighting import weigh_losses


class Watch:
    """What was seen of a segmentor during one forward pass."""

    def __init__(self) -> None:
        self.head_logits: Tensor = ABSENT
        self.upsampled: Optional[Tensor] = None
        self.stages: List[Tensor] = []
        self.body: Tensor = ABSENT
        self.embedding: Tensor = ABSENT
        self.attention: List[Attention] = []
        self.outputs, self.inputs = Seen(), Seen()

    def prediction(self, size: Tuple[int, int], align_corners: bool) -> Prediction:
        """The :class:`Prediction` for labels of ``size``.

        Raises:
            ValueError: A stage, or a module that was asked for, gave no tensor.
        """
        given = [(f'stage {number} of this model', 'continual.stages', stage) for number, stage in enumerate(self.stages)]
        given += [(name, 'Needs', value) for kept in (self.inputs, self.outputs) for name, value in kept.items()]
        for name, place, value in given:
            if not isinstance(value, Tensor):
                raise ValueError(f'{name} gives no tensor but {type(value).__name__}; name modules that do in {place}.')
        embedding = self.embedding
        if embedding is not None and embedding.dim() == 3:  # Segmenter's tokens
            embedding = embedding.transpose(1, 2).unflatten(2, self.head_logits.shape[2:])
        return Prediction(self.head_logits, size, align_corners, tuple(self.stages), self.body, embedding,
                          tuple(self.attention), self.outputs, self.inputs, self.upsampled)


@contextmanager
def watch_features(segmentor: EncoderDecoder, needs: Needs) -> Iterator[Watch]:
    """Collect what is needed of the next forward pass.

    The stages are those that a segmentor names (``tapped_stages``), or else
    the backbone's.
    """
    seen = Watch()
    with ExitStack() as stack:
        if needs.stages and getattr(segmentor, 'tapped_stages', None):
            seen.stages = [ABSENT] * len(segmentor.tapped_stages)
            for number, name in enumerate(segmentor.tapped_stages):
                _tap(segmentor.get_submodule(name), partial(setitem, seen.stages, number), stack)
        elif needs.stages:
            _tap_stages(segmentor.backbone, seen, stack)
        if needs.body:
            _tap_outputs(segmentor.backbone, lambda outputs: setattr(seen, 'body', outputs[-1]), stack)
        if needs.embedding:
            _tap_embedding(map_head(segmentor), seen, stack)
        if needs.attention:
            seen.attention = tap_attention(segmentor.backbone, stack)
        if needs.outputs or needs.inputs:
            _tap_named(segmentor, needs, seen, stack)
        yield seen


def _tap_stages(backbone: BaseModule, seen: Watch, stack: ExitStack) -> None:
    """Stage outputs: before the last ReLU for ResNets, else what the backbone returns."""
    names = getattr(backbone, 'res_layers', None)
    if not names:
        _tap_outputs(backbone, lambda outputs: setattr(seen, 'stages', outputs), stack)
        return
    seen.stages = [ABSENT] * len(names)
    for number, name in enumerate(names):
        relu = getattr(backbone, name)[-1].relu
        # A block calls its one ReLU several times, the last time on the sum
        # with the shortcut. In place, the tap would see the sum after it.
        shadow(relu, 'inplace', False, stack)

        def keep_input(module: nn.Module, inputs: Tuple[Tensor, ...], number: int = number) -> None:
            seen.stages[number] = inputs[0]

        stack.callback(relu.register_forward_pre_hook(keep_input).remove)


def check_modules(segmentor: EncoderDecoder, names: Sequence[str], place: str) -> None:
    """See that names are those of modules of a segmentor.

    Args:
        segmentor: The segmentor.
        names: Names that were given for modules.
        place: Where they were given, for errors.

    Raises:
        ValueError: One is no module; the message has the nearest, and those that are.
    """
    modules = [name for name, _ in segmentor.named_modules() if name]
    unknown = [name for name in names if name not in modules]
    if unknown:
        shown = [name for name in modules if name.count('.') == 1 and not name.startswith('auxiliary_head')]
        raise ValueError(f'{place}: {unknown} are no modules of this model{did_you_mean(unknown[0], modules)}; it has '
                         f'{", ".join(shown)}, and what is inside them.')


def _tap_named(segmentor: EncoderDecoder, needs: Needs, seen: Watch, stack: ExitStack) -> None:
    """What modules get and return, as far as the segmentor has them: a teacher has no auxiliary heads."""
    modules = dict(segmentor.named_modules())
    for module in modules.values():
        if getattr(module, 'inplace', False):  # it would write over what is kept
            shadow(module, 'inplace', False, stack)
    for names, kept, gets in ((needs.inputs, seen.inputs, True), (needs.outputs, seen.outputs, False)):
        for name in names:
            if name in modules:
                _tap(modules[name], partial(setitem, kept, name), stack, gets)


def _tap(module: nn.Module, keep: Callable[[Any], Any], stack: ExitStack, gets: bool = False) -> None:
    """Hand a module's first output, or what it ``gets`` first, to ``keep``, also where its ``forward`` is called directly."""
    original = module.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        output = original(*args, **kwargs)
        keep(_first([*args, *kwargs.values()][0] if gets else output))
        return output

    shadow(module, 'forward', forward, stack)


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, (tuple, list)) and value else value


def _tap_outputs(backbone: BaseModule, keep: Callable[[List[Tensor]], None], stack: ExitStack) -> None:
    """Hand what the backbone returns to ``keep``."""

    def keep_outputs(module: nn.Module, inputs: Any, outputs: Any) -> None:
        outputs = evaluated_features(backbone, outputs)
        outputs = outputs if isinstance(outputs, (tuple, list)) else [outputs]
        # Some transformers (DPT's) return a class token beside each map.
        keep([output[0] if isinstance(output, (tuple, list)) else output for output in outputs])

    stack.callback(backbone.register_forward_hook(keep_outputs).remove)


def _tap_embedding(head: BaseModule, seen: Watch, stack: ExitStack) -> None:

    def keep_input(module: nn.Module, inputs: Tuple[Tensor, ...]) -> None:
        seen.embedding = inputs[0]

    def keep_output(module: nn.Module, inputs: Any, outputs: Any) -> None:
        seen.embedding = outputs[0]  # the features of masks; then what queries attend to

    reader = embedding_reader(head)
    hook = (reader.register_forward_hook(keep_output) if is_a(head, MASK_HEADS) else
            reader.register_forward_pre_hook(keep_input))
    stack.callback(hook.remove)


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
    with watch_features(segmentor, needs) as seen, ExitStack() as stack:
        _watch_loss(map_head(segmentor), seen, needs, size, stack)
        taken = [weigh_losses(head, pixel_weight, stack) for head in decode_heads(segmentor)
                 ] if pixel_weight is not None else []
        yield seen
        if taken and seen.head_logits is not None and not any(was_taken() for was_taken in taken):
            raise ValueError(f'the loss of {type(decode_heads(segmentor)[-1]).__name__} goes past its loss_decode, so that '
                             "the method's pixel weights don't reach it; switch them off (adaptive_factor=False), or "
                             'use another decode head.')


def _watch_loss(head: BaseModule, seen: Watch, needs: Needs, size: Tuple[int, int], stack: ExitStack) -> None:
    if is_a(head, MASK_HEADS):
        _watch_masks(head, seen, stack)
        return
    original = head.loss_by_feat
    # The stock loss would upsample the logits again: give it those of the
    # parts, whose size it keeps.
    shares = needs.logits and type(head).loss_by_feat is BaseDecodeHead.loss_by_feat

    def loss_by_feat(output: Any, *args: Any, **kwargs: Any) -> Dict[str, Tensor]:
        seen.head_logits, seen.upsampled = main_logits(head, output), None
        if shares:
            seen.upsampled = output = Prediction(seen.head_logits, size, head.align_corners).logits
        return original(output, *args, **kwargs)

    shadow(head, 'loss_by_feat', loss_by_feat, stack)


def _watch_masks(head: BaseModule, seen: Watch, stack: ExitStack) -> None:

    def keep_logits(module: nn.Module, inputs: Any, outputs: Any) -> None:
        seen.head_logits = mask_logits(outputs[0][-1], outputs[1][-1])

    stack.callback(head.register_forward_hook(keep_logits).remove)


@contextmanager
def watch_inference(segmentor: EncoderDecoder, needs: Needs) -> Iterator[Watch]:
    """Watch ``encode_decode``; it then returns the head's own resolution, unless the head refines that."""
    head = map_head(segmentor)
    with watch_features(segmentor, needs) as seen, ExitStack() as stack:
        if is_a(head, MASK_HEADS):
            _watch_masks(head, seen, stack)
        elif head is decode_heads(segmentor)[-1]:

            def predict_by_feat(output: Any, *args: Any, **kwargs: Any) -> Tensor:
                seen.head_logits = main_logits(head, output)
                return seen.head_logits

            shadow(head, 'predict_by_feat', predict_by_feat, stack)
        else:
            original = head.forward

            def forward(*args: Any, **kwargs: Any) -> Any:
                output = original(*args, **kwargs)
                seen.head_logits = main_logits(head, output)
                return output

            shadow(head, 'forward', forward, stack)
        yield seen


@contextmanager
def given_features(segmentor: EncoderDecoder, features: Any) -> Iterator[None]:
    """Let a segmentor take these features for those of any image, in place of running its backbone and neck."""
    with ExitStack() as stack:
        shadow(segmentor, 'extract_feat', lambda inputs: features, stack)
        yield
