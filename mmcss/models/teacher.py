"""The frozen model of the step before."""
from __future__ import annotations

from typing import Any, Dict, Mapping, Optional, Sequence, Tuple, Union

import torch
from mmseg.models.segmentors import EncoderDecoder
from mmseg.registry import MODELS
from torch import Tensor

from ..parts import Needs, Prediction
from .part_modules import stock_tensors
from .hand_over import load_hand_over
from .taps import watch_inference


class FrozenTeacher:
    """A model that only predicts, built when it is first needed.

    It is no sub-module: it has no keys in the state dict, is outside of DDP
    and the optimizer, and copies of the student (EMA) share it. Built lazily,
    so that testing a step needs no checkpoint of the step before.

    Args:
        model: Stock config of the step before, or the model itself, which is
            frozen and loses its auxiliary heads: they predict nothing.
        checkpoint: The hand-over file of a config's model.
        stages: Names of the modules whose outputs are its stages; default:
            the backbone's.
    """

    def __init__(self, model: Union[Mapping[str, Any], EncoderDecoder], checkpoint: str = '',
                 stages: Sequence[str] = ()) -> None:
        self.config = model
        self.checkpoint = checkpoint
        self.stages = tuple(stages)
        self.model: Optional[EncoderDecoder] = None
        if not isinstance(model, Mapping):
            model.auxiliary_head = None
            self.model = self._frozen(model)

    def __deepcopy__(self, memo: Dict[int, Any]) -> FrozenTeacher:
        return self

    def build(self, device: torch.device) -> EncoderDecoder:
        """The model on ``device``; the random state of the process does not change."""
        if self.model is None:
            with torch.random.fork_rng(devices=[]):
                model = MODELS.build(self.config)
            hand_over = load_hand_over(self.checkpoint)
            # The teacher has neither auxiliary heads nor modules of parts, which predict nothing.
            state = {name: value for name, value in stock_tensors(hand_over['state_dict']).items()
                     if not name.startswith('auxiliary_head.')}
            model.load_state_dict(state, strict=True)
            self.model = self._frozen(model)
        return self.model.to(device)

    def _frozen(self, model: EncoderDecoder) -> EncoderDecoder:
        model.tapped_stages = self.stages
        return model.requires_grad_(False).eval()

    @torch.no_grad()
    def predict(self, inputs: Tensor, size: Tuple[int, int], needs: Needs) -> Prediction:
        """Call :func:`predict` without gradients, under the caller's autocast."""
        return predict(self.build(inputs.device), inputs, size, needs)


def predict(model: EncoderDecoder, inputs: Tensor, size: Tuple[int, int], needs: Needs) -> Prediction:
    """The prediction of a segmentor in evaluation mode.

    Args:
        model: The segmentor.
        inputs: ``[N, 3, H, W]`` preprocessed images.
        size: Height and width of the labels.
        needs: What to collect besides the logits.
    """
    shape = tuple(inputs.shape[2:])
    metas = [dict(ori_shape=shape, img_shape=shape, pad_shape=shape)] * len(inputs)
    with watch_inference(model, needs) as watch:
        output = model.encode_decode(inputs, metas)
    if watch.head_logits is None:  # the head predicts without predict_by_feat
        watch.head_logits = output
    return watch.prediction(size, model.align_corners)
