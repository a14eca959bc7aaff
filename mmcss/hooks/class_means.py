"""The class means of the exemplars."""
from __future__ import annotations

from typing import Any, Dict, Sequence

import torch
import torch.nn.functional as F
from mmengine.dist import all_reduce
from mmengine.runner import Runner
from torch.utils.data import Dataset

from ..losses.prototypes import class_means, class_sums
from ..memory.dataset import WithMemory
from ..memory.exemplar import Exemplar
from ..models.heads import decode_heads
from ..models.nearest_mean import NearestMean
from ..parts import Needs
from .data_pass import Pass, averaged_model, bare_model, memory_dataset


class ExemplarImages(Dataset[Any]):
    """A data set of the exemplars, which are loaded through the step's data set."""

    def __init__(self, dataset: WithMemory, exemplars: Sequence[Exemplar]) -> None:
        self.dataset = dataset
        self.exemplars = exemplars

    @property
    def metainfo(self) -> Dict[str, Any]:
        """The step's."""
        return self.dataset.metainfo

    def __len__(self) -> int:
        return len(self.exemplars)

    def __getitem__(self, index: int) -> Any:
        return self.dataset.load_exemplar(self.exemplars[index])


@torch.no_grad()
def set_class_means(runner: Runner, exemplars: Sequence[Exemplar]) -> None:
    """Set the means of a :class:`NearestMean` classifier, over all processes; other models stay as they are."""
    heads = [decode_heads(model)[-1] for model in (bare_model(runner), averaged_model(runner))]
    classifiers = [head.conv_seg for head in heads if isinstance(getattr(head, 'conv_seg', None), NearestMean)]
    if not classifiers:
        return
    means = classifiers[0].means
    images = ExemplarImages(memory_dataset(runner), exemplars)
    sums, counts = means.new_zeros(means.shape[:2]), means.new_zeros(len(means))
    for batch in Pass(runner, Needs(embedding=True), True, range(len(images)), images):
        features = F.normalize(batch.student.embedding.float(), dim=1)
        batch_sums = class_sums(features, batch.raw_target, len(means), batch.student.align_corners)
        sums, counts = sums + batch_sums[0].sum(dim=0), counts + batch_sums[1].sum(dim=0)
    all_reduce(sums)
    all_reduce(counts)
    for classifier in classifiers:
        classifier.means.copy_(F.normalize(class_means(sums, counts), dim=1)[:, :, None, None])
