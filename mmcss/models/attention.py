"""Reading the attention of a transformer's stages while it runs.

The weights are those that the backbone computes anyway: nothing runs twice,
and what the backbone returns stays the same. Hooks last for one forward pass.
"""
from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import Any, Callable, Dict, List, Sequence, Tuple, Union

import torch.nn as nn
from mmengine.model import BaseModule
from mmseg.models.backbones import MixVisionTransformer, SwinTransformer, VisionTransformer
from torch import Tensor

from ..arguments import ABSENT
from ..parts import Attention

Keep = Callable[[Attention], None]


class MultiheadStage:
    """A stage whose last block attends by :class:`torch.nn.MultiheadAttention`.

    Args:
        block: The last block of the stage.
        embedding: The module whose output, tokens and grid, enters the stage.
        extra_tokens: Number of tokens before those of the cells, which are
            keys as well, but no cells.
    """

    def __init__(self, block: BaseModule, embedding: BaseModule, extra_tokens: int = 0) -> None:
        self.block = block
        self.attention: nn.MultiheadAttention = block.attn.attn
        self.embedding = embedding
        self.extra_tokens = extra_tokens
        if self.attention.dropout > 0:
            raise ValueError(f'attention dropout of {self.attention.dropout:g}: the weights that are read would be '
                             'those with random zeros; set attn_drop_rate=0 in model.backbone.')

    def watch(self, keep: Keep, stack: ExitStack) -> None:
        """Hand the attention of the next pass to ``keep``."""
        grids: List[Tuple[int, int]] = []

        def keep_grid(module: nn.Module, inputs: Any, outputs: Tuple[Tensor, Sequence[int]]) -> None:
            height, width = outputs[1]
            grids.append((int(height), int(width)))

        def ask_for_heads(module: nn.Module, inputs: Any, options: Dict[str, Any]) -> Tuple[Any, Dict[str, Any]]:
            # MMSegmentation's own call has them averaged over the heads, and drops them.
            return inputs, dict(options, need_weights=True, average_attn_weights=False)

        def keep_weights(module: nn.Module, inputs: Any, outputs: Tuple[Tensor, Tensor]) -> None:
            keep(Attention(outputs[1][:, :, self.extra_tokens:], grids[-1]))

        _run_once(self.block, stack)
        stack.callback(self.embedding.register_forward_hook(keep_grid).remove)
        stack.callback(self.attention.register_forward_pre_hook(ask_for_heads, with_kwargs=True).remove)
        stack.callback(self.attention.register_forward_hook(keep_weights).remove)


class WindowStage:
    """A stage of a Swin transformer: a cell's keys are the cells of its window.

    Args:
        block: The last block of the stage.
    """

    def __init__(self, block: BaseModule) -> None:
        self.block = block

    def watch(self, keep: Keep, stack: ExitStack) -> None:
        """Hand the attention of the next pass to ``keep``."""
        shifted = self.block.attn
        grids: List[Tuple[int, int]] = []

        def keep_grid(module: nn.Module, inputs: Tuple[Tensor, Sequence[int]]) -> None:
            height, width = inputs[1]
            grids.append((int(height), int(width)))

        def keep_weights(module: nn.Module, inputs: Any, weights: Tensor) -> None:
            keep(Attention(whole_map(weights, grids[-1], shifted.window_size, shifted.shift_size), grids[-1]))

        _run_once(self.block, stack)
        stack.callback(shifted.register_forward_pre_hook(keep_grid).remove)
        # Before the attention's dropout.
        stack.callback(shifted.w_msa.softmax.register_forward_hook(keep_weights).remove)


def whole_map(weights: Tensor, grid: Tuple[int, int], window: int, shift: int) -> Tensor:
    """Attention within windows, in the order of the whole map's cells.

    Args:
        weights: ``[N * windows, heads, window ** 2, window ** 2]``; the map was
            padded to whole windows at its right and bottom and then rolled.
        grid: Height and width of the map without padding, h and w.
        window: Side of a window.
        shift: By how many cells it was rolled to the left and up.

    Returns:
        ``[N, heads, h * w, window ** 2]``; keys are the cells of the cell's
        window in row-major order.
    """
    rows, columns = (-(-size // window) for size in grid)
    heads, keys = weights.shape[1], weights.shape[3]
    cells = weights.reshape(-1, rows, columns, heads, window, window, keys).permute(0, 3, 1, 4, 2, 5, 6)
    cells = cells.reshape(-1, heads, rows * window, columns * window, keys)
    if shift:
        cells = cells.roll((shift, shift), dims=(2, 3))
    return cells[:, :, :grid[0], :grid[1]].flatten(2, 3)


Stage = Union[MultiheadStage, WindowStage]

STAGES: Dict[type, Callable[[BaseModule], List[Stage]]] = {
    MixVisionTransformer: lambda backbone: [MultiheadStage(blocks[-1], embed) for embed, blocks, _ in backbone.layers],
    SwinTransformer: lambda backbone: [WindowStage(stage.blocks[-1]) for stage in backbone.stages],
    # What it gives to the decode head is a stage each.
    VisionTransformer: lambda backbone: [
        MultiheadStage(backbone.layers[number], backbone.patch_embed, int(backbone.with_cls_token))
        for number in backbone.out_indices
    ],
}


def attention_source(backbone: BaseModule) -> List[Stage]:
    """Where the attention of each stage of a backbone is found.

    Raises:
        ValueError: It is not known where, or dropout acts on it.
    """
    for kind, stages_of in STAGES.items():
        if isinstance(backbone, kind):
            return stages_of(backbone)
    known = ', '.join(kind.__name__ for kind in STAGES)
    raise ValueError(f'the attention of {type(backbone).__name__} is not known; use one of {known} for model.backbone, '
                     'or a method without attention.')


def tap_attention(backbone: BaseModule, stack: ExitStack) -> List[Attention]:
    """A list that the next pass of a backbone fills with the attention of each stage's last block."""
    stages = attention_source(backbone)
    attention: List[Attention] = [ABSENT] * len(stages)
    for number, stage in enumerate(stages):
        stage.watch(partial(attention.__setitem__, number), stack)
    return attention


def _run_once(block: BaseModule, stack: ExitStack) -> None:
    """No checkpointing of this block: its first run has no gradients, and the weights stay in memory anyway."""
    stack.callback(setattr, block, 'with_cp', block.with_cp)
    block.with_cp = False
