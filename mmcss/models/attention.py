"""Reading the attention of a transformer's stages while it runs.

The weights are those that the backbone computes anyway: nothing runs twice,
and what the backbone returns stays the same. Everything is overridden for one
forward pass only.
"""
from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import Any, Callable, Dict, List, Tuple

from mmengine.model import BaseModule
from mmseg.models.backbones import MixVisionTransformer, SwinTransformer, VisionTransformer
from torch import Tensor

from ..arguments import ABSENT
from ..parts import Attention
from .overriding import override_attribute, tap

Keep = Callable[[Attention], None]


def tap_multihead(block: BaseModule, embedding: BaseModule, extra_tokens: int, keep: Keep, stack: ExitStack) -> None:
    """Hand the attention of a block that attends by :class:`torch.nn.MultiheadAttention` to ``keep``.

    Args:
        block: The last block of a stage.
        embedding: The module whose output, tokens and grid, enters the stage.
        extra_tokens: Number of tokens before those of the cells, which are
            keys as well, but no cells.
        keep: Called at the end of each call.
        stack: Ends it.

    Raises:
        ValueError: Dropout acts on the weights.
    """
    attention = block.attn.attn
    if attention.dropout > 0:
        raise ValueError(f'attention dropout of {attention.dropout:g}: the weights would be read with random zeros in them; '
                         'set attn_drop_rate=0 in model.backbone.')
    grids: List[Tuple[int, int]] = []
    original = attention.forward

    def forward(*args: Any, **options: Any) -> Tuple[Tensor, Tensor]:
        # MMSegmentation asks for no weights, or for their average over the heads.
        output, weights = original(*args, **dict(options, need_weights=True, average_attn_weights=False))
        keep(Attention(weights[:, :, extra_tokens:], grids[-1]))
        return output, weights

    _run_once(block, stack)
    tap(embedding, lambda inputs, outputs: grids.append(_grid(outputs[1])), stack)
    override_attribute(attention, 'forward', forward, stack)


def tap_windows(block: BaseModule, keep: Keep, stack: ExitStack) -> None:
    """Hand the attention of the last block of a Swin stage, where a cell's keys are the cells of its window, to ``keep``."""
    shifted = block.attn
    windows: List[Tensor] = []

    def keep_map(inputs: List[Any], outputs: Any) -> None:
        grid = _grid(inputs[1])
        keep(Attention(whole_map(windows.pop(), grid, shifted.window_size, shifted.shift_size), grid))

    _run_once(block, stack)
    tap(shifted.w_msa.softmax, lambda inputs, weights: windows.append(weights), stack)  # before the attention's dropout
    tap(shifted, keep_map, stack)


def _run_once(block: BaseModule, stack: ExitStack) -> None:
    """Switch checkpointing of a block off: its first run has no gradients, and the weights stay in memory anyway."""
    override_attribute(block, 'with_cp', False, stack)


def _grid(size: Any) -> Tuple[int, int]:
    """Height and width as plain integers."""
    height, width = size
    return int(height), int(width)


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


# A function for each stage that takes ``keep`` and ``stack``.
STAGES: Dict[type, Callable[[BaseModule], List[Callable[[Keep, ExitStack], None]]]] = {
    MixVisionTransformer: lambda backbone: [
        partial(tap_multihead, blocks[-1], embedding, 0) for embedding, blocks, _ in backbone.layers
    ],
    SwinTransformer: lambda backbone: [partial(tap_windows, stage.blocks[-1]) for stage in backbone.stages],
    # Each of its outputs is a stage.
    VisionTransformer: lambda backbone: [
        partial(tap_multihead, backbone.layers[number], backbone.patch_embed, int(backbone.with_cls_token))
        for number in backbone.out_indices
    ],
}


def tap_attention(backbone: BaseModule, stack: ExitStack) -> List[Attention]:
    """A list that the next pass of a backbone fills with the attention of each stage's last block.

    Raises:
        ValueError: The backbone is none of :data:`STAGES`, or dropout acts on
            its attention.
    """
    stages = next((stages_of(backbone) for kind, stages_of in STAGES.items() if isinstance(backbone, kind)), None)
    if stages is None:
        valid = ', '.join(kind.__name__ for kind in STAGES)
        raise ValueError(f'the attention of {type(backbone).__name__} is not known; use one of {valid} for model.backbone, '
                         'or a method without attention.')
    attention: List[Attention] = [ABSENT] * len(stages)
    for number, tap_stage in enumerate(stages):
        tap_stage(partial(attention.__setitem__, number), stack)
    return attention
