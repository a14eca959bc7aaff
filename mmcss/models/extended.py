"""Stock segmentors with an unknown class, or with another classifier."""
from __future__ import annotations

from typing import Any, List, Mapping, Optional, Sequence

import torch
import torch.nn.functional as F
from mmseg.models.segmentors import CascadeEncoderDecoder, EncoderDecoder
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from .heads import decode_heads, output_layer


class ExtendedMixin:
    """Adds to a stock segmentor what stock config can't say; without either option it is the stock one.

    Args:
        unknown: Whether the last channel is no class but what may become one
            (SSUL). In predictions it is background: their scores are added.
        unknown_scores: Which ones, by how the model is trained; see
            :func:`merge_unknown`.
        classifier: Config of the module that takes the place of the final
            decode head's 1x1 convolution; it is given ``in_channels`` and
            ``num_classes``. None leaves the convolution.
    """

    def __init__(self, *args: Any, unknown: bool = False, unknown_scores: str = 'sigmoid',
                 classifier: Optional[Mapping[str, Any]] = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if unknown_scores not in UNKNOWN_SCORES:
            raise ValueError(f'unknown_scores: got {unknown_scores!r}, valid are {", ".join(UNKNOWN_SCORES)}.')
        self.unknown = unknown
        self.unknown_scores = unknown_scores
        if classifier is not None:
            head = decode_heads(self)[-1]
            head.conv_seg = MODELS.build(
                dict(classifier, in_channels=output_layer(head).in_channels, num_classes=head.num_classes))

    @property
    def reserved_rows(self) -> int:
        """Rows of class-dependent tensors that stay behind those of all classes."""
        return int(self.unknown)

    def predict(self, inputs: Tensor, data_samples: Optional[Sequence[SegDataSample]] = None) -> List[SegDataSample]:
        """As the stock model's; a classifier that predicts otherwise than it is trained does so."""
        others = [module for module in self.modules() if hasattr(module, 'predicting')]
        for module in others:
            module.predicting = True
        try:
            return super().predict(inputs, data_samples)
        finally:
            for module in others:
                module.predicting = False

    def postprocess_result(self, seg_logits: Tensor, data_samples: Optional[Sequence[SegDataSample]] = None
                           ) -> List[SegDataSample]:
        """As the stock model's; with an unknown class on logarithms of the scores that remain."""
        if self.unknown:
            seg_logits = merge_unknown(seg_logits, self.unknown_scores)
        return super().postprocess_result(seg_logits, data_samples)


# Logarithms of the scores that are added; a softmax leaves their common divisor out.
UNKNOWN_SCORES = {'sigmoid': F.logsigmoid, 'softmax': lambda logits: logits}


def merge_unknown(logits: Tensor, scores: str = 'sigmoid') -> Tensor:
    """Scores in which unknown is background (SSUL, Cha et al., NeurIPS 2021, section 3.2).

    Args:
        logits: ``[N, C + 1, H, W]`` raw scores: background, classes, unknown.
        scores: What is added up: 'sigmoid' the sigmoids, as in the paper;
            'softmax' the probabilities of a softmax, for a model that is
            trained with cross-entropy (the paper's table 3).

    Returns:
        ``[N, C, H, W]`` logarithms of sigmoids, or logits of which the
        softmax is meant; the background's is that of the sum of its own and
        the unknown's.
    """
    logarithms = UNKNOWN_SCORES[scores](logits)
    background = torch.logaddexp(logarithms[:, :1], logarithms[:, -1:])
    return torch.cat((background, logarithms[:, 1:-1]), dim=1)


@MODELS.register_module()
class ExtendedEncoderDecoder(ExtendedMixin, EncoderDecoder):
    """:class:`mmseg.models.EncoderDecoder` with the options of :class:`ExtendedMixin`."""


@MODELS.register_module()
class ExtendedCascadeEncoderDecoder(ExtendedMixin, CascadeEncoderDecoder):
    """:class:`mmseg.models.CascadeEncoderDecoder` with the options of :class:`ExtendedMixin`."""
