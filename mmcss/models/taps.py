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
from ..parts import Attention, Needs, Prediction, ModuleTensors
from .attention import tap_attention
from .backbones import evaluated_features
from .heads import MASK_HEADS, decode_heads, embedding_reader, is_a, main_logits, map_head, mask_logits
from .overriding import override_attribute
from .weighting import weigh_losses


class Watch:
    """What was collected of a segmentor during one forward pass."""

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


@contextmanager
def watch_features(segmentor: EncoderDecoder, needs: Needs) -> Iterator[Watch]:
    """Collect what is needed of the next forward pass.

    The stages are those named in the segmentor's ``tapped_stages``, or else
    the backbone's.
    """
    watch = Watch()
    with ExitStack() as stack:
        if needs.stages and getattr(segmentor, 'tapped_stages', None):
            watch.stages = [ABSENT] * len(segmentor.tapped_stages)
            for number, name in enumerate(segmentor.tapped_stages):
                _tap(segmentor.get_submodule(name), partial(setitem, watch.stages, number), stack)
        elif needs.stages:
            _tap_stages(segmentor.backbone, watch, stack)
        if needs.backbone_output:
            _tap_outputs(segmentor.backbone, lambda outputs: setattr(watch, 'backbone_output', outputs[-1]), stack)
        if needs.embedding:
            _tap_embedding(map_head(segmentor), watch, stack)
        if needs.attention:
            watch.attention = tap_attention(segmentor.backbone, stack)
        if needs.outputs or needs.inputs:
            _tap_named(segmentor, needs, watch, stack)
        yield watch


def _tap_stages(backbone: BaseModule, watch: Watch, stack: ExitStack) -> None:
    """Stage outputs: before the last ReLU for ResNets, else what the backbone returns."""
    names = getattr(backbone, 'res_layers', None)
    if not names:
        _tap_outputs(backbone, lambda outputs: setattr(watch, 'stages', outputs), stack)
        return
    watch.stages = [ABSENT] * len(names)
    for number, name in enumerate(names):
        relu = getattr(backbone, name)[-1].relu
        # A block calls its one ReLU several times, the last time on the sum
        # with the shortcut. In place, the tap would see the sum after it.
        override_attribute(relu, 'inplace', False, stack)

        def keep_input(module: nn.Module, inputs: Tuple[Tensor, ...], number: int = number) -> None:
            watch.stages[number] = inputs[0]

        stack.callback(relu.register_forward_pre_hook(keep_input).remove)


def check_modules(segmentor: EncoderDecoder, names: Sequence[str], place: str) -> None:
    """See that names are those of modules of a segmentor.

    Args:
        segmentor: The segmentor.
        names: Names that were given for modules.
        place: Where they were given, for errors.

    Raises:
        ValueError: There is no such module; names the nearest, and valid ones.
    """
    modules = [name for name, _ in segmentor.named_modules() if name]
    unknown = [name for name in names if name not in modules]
    if unknown:
        examples = [name for name in modules if name.count('.') == 1 and not name.startswith('auxiliary_head')]
        raise ValueError(f'{place}: got {unknown}, which are no modules of this model{did_you_mean(unknown[0], modules)}; valid '
                         f'are {", ".join(examples)}, and modules inside them.')


def _tap_named(segmentor: EncoderDecoder, needs: Needs, watch: Watch, stack: ExitStack) -> None:
    """What modules get and return, as far as the segmentor has them: a teacher has no auxiliary heads."""
    modules = dict(segmentor.named_modules())
    for module in modules.values():
        if getattr(module, 'inplace', False):  # it would write over what is kept
            override_attribute(module, 'inplace', False, stack)
    for names, tensors, gets in ((needs.inputs, watch.inputs, True), (needs.outputs, watch.outputs, False)):
        for name in names:
            if name in modules:
                _tap(modules[name], partial(setitem, tensors, name), stack, gets)


def _tap(module: nn.Module, keep: Callable[[Any], Any], stack: ExitStack, gets: bool = False) -> None:
    """Hand a module's first output, or what it ``gets`` first, to ``keep``, also where its ``forward`` is called directly."""
    original = module.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        output = original(*args, **kwargs)
        keep(_first([*args, *kwargs.values()][0] if gets else output))
        return output

    override_attribute(module, 'forward', forward, stack)


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


def _tap_embedding(head: BaseModule, watch: Watch, stack: ExitStack) -> None:

    def keep_input(module: nn.Module, inputs: Tuple[Tensor, ...]) -> None:
        watch.embedding = inputs[0]

    def keep_output(module: nn.Module, inputs: Any, outputs: Any) -> None:
        watch.embedding = outputs[0]  # the features of masks; then what queries attend to

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
    with watch_features(segmentor, needs) as watch, ExitStack() as stack:
        _watch_loss(map_head(segmentor), watch, needs, size, stack)
        taken = [weigh_losses(head, pixel_weight, stack) for head in decode_heads(segmentor)
                 ] if pixel_weight is not None else []
        yield watch
        if taken and watch.head_logits is not None and not any(was_taken() for was_taken in taken):
            raise ValueError(f'the loss of {type(decode_heads(segmentor)[-1]).__name__} bypasses its loss_decode, so that '
                             "the method's pixel weights don't reach it; switch them off (adaptive_factor=False), or "
                             'use another decode head.')


def _watch_loss(head: BaseModule, watch: Watch, needs: Needs, size: Tuple[int, int], stack: ExitStack) -> None:
    if is_a(head, MASK_HEADS):
        _watch_masks(head, watch, stack)
        return
    original = head.loss_by_feat
    # The stock loss would upsample the logits again: give it those of the
    # parts, whose size it keeps.
    shares = needs.logits and type(head).loss_by_feat is BaseDecodeHead.loss_by_feat

    def loss_by_feat(output: Any, *args: Any, **kwargs: Any) -> Dict[str, Tensor]:
        watch.head_logits, watch.upsampled = main_logits(head, output), None
        if shares:
            watch.upsampled = output = Prediction(watch.head_logits, size, head.align_corners).logits
        return original(output, *args, **kwargs)

    override_attribute(head, 'loss_by_feat', loss_by_feat, stack)


def _watch_masks(head: BaseModule, watch: Watch, stack: ExitStack) -> None:

    def keep_logits(module: nn.Module, inputs: Any, outputs: Any) -> None:
        watch.head_logits = mask_logits(outputs[0][-1], outputs[1][-1])

    stack.callback(head.register_forward_hook(keep_logits).remove)


@contextmanager
def watch_inference(segmentor: EncoderDecoder, needs: Needs) -> Iterator[Watch]:
    """Watch ``encode_decode``, which then returns logits at the head's resolution, unless the head refines them."""
    head = map_head(segmentor)
    with watch_features(segmentor, needs) as watch, ExitStack() as stack:
        if is_a(head, MASK_HEADS):
            _watch_masks(head, watch, stack)
        elif head is decode_heads(segmentor)[-1]:

            def predict_by_feat(output: Any, *args: Any, **kwargs: Any) -> Tensor:
                watch.head_logits = main_logits(head, output)
                return watch.head_logits

            override_attribute(head, 'predict_by_feat', predict_by_feat, stack)
        else:
            original = head.forward

            def forward(*args: Any, **kwargs: Any) -> Any:
                output = original(*args, **kwargs)
                watch.head_logits = main_logits(head, output)
                return output

            override_attribute(head, 'forward', forward, stack)
        yield watch


@contextmanager
def given_features(segmentor: EncoderDecoder, features: Any) -> Iterator[None]:
    """Have a segmentor use these features instead of running its backbone and neck."""
    with ExitStack() as stack:
        override_attribute(segmentor, 'extract_feat', lambda inputs: features, stack)
        yield
