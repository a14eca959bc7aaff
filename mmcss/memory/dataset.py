"""The images and labels of a step, and those that it replays."""
from __future__ import annotations

from typing import Any, Dict, Mapping, Optional, Tuple, Union

from mmengine.dataset import BaseDataset
from mmseg.registry import DATASETS

from ..datasets.step_dataset import MAX_REFETCH, StepDataset, with_labelled_classes
from ..scenario import Split, TrainView
from .exemplar import Exemplar, Memory
from .labels import DEFAULT_LABELS
from .storage import ExemplarStorage


@DATASETS.register_module()
class WithMemory(StepDataset):
    """A step's images, followed by those that earlier steps left to be replayed.

    Its length is that of the step's images; a :class:`ReplayBatchSampler`
    reaches the others.

    Args:
        dataset: See :class:`StepDataset`, as ``split``, ``view`` and ``options``.
        path: ``memory.json`` of the step before; None for an empty memory.
        labels: See :class:`ExemplarStorage`.
        add_new_labels: Whether remembered images that the step has too are
            also labelled with its new classes. Not in online steps: there
            these labels arrive with the image.

    Raises:
        FileNotFoundError, ValueError: See :class:`ExemplarStorage`.
    """

    view: TrainView

    def __init__(self, dataset: Union[BaseDataset, Mapping[str, Any]], split: Union[Split, Mapping[str, Any]],
                 view: Union[TrainView, Mapping[str, Any]] = TrainView(), path: Optional[str] = None,
                 labels: str = DEFAULT_LABELS, add_new_labels: bool = True, **options: Any) -> None:
        super().__init__(dataset, split, view, **options)
        self.storage = ExemplarStorage(self.images, self.index if add_new_labels else self.index[:0], self.split, self.view,
                                       path, labels, self.saliency)

    @property
    def memory(self) -> Memory:
        """The exemplars and counts of the step before."""
        return self.storage.memory

    @property
    def first_remembered(self) -> int:
        """Number of the first remembered image; also known to data sets that show a part of this one (mmengine's slices)."""
        return len(self.index)

    @property
    def num_memory(self) -> int:
        """Number of remembered images, which follow the step's."""
        return len(self.memory.exemplars)

    def locate(self, idx: int) -> Tuple[int, Dict[str, Any]]:
        return super().locate(idx) if idx < len(self) else self.storage.read(self.memory.exemplars[idx - len(self)])

    def load_exemplar(self, exemplar: Exemplar) -> Any:
        """Load and augment an exemplar, of the memory or made of an image of the step."""
        for _ in range(MAX_REFETCH):
            data = self._read(exemplar)
            if data is not None:
                return data
        raise RuntimeError(f'the pipeline returned no data of {exemplar.name} in {MAX_REFETCH} tries; look for a transform '
                           'that returns None.')

    def _read(self, exemplar: Exemplar) -> Optional[Any]:
        return with_labelled_classes(self.load(*self.storage.read(exemplar)), self.split, self.storage.labelled_classes(exemplar))

    def _prepare(self, idx: int) -> Optional[Any]:
        return super()._prepare(idx) if idx < len(self) else self._read(self.memory.exemplars[idx - len(self)])
