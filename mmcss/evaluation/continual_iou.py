"""IoU of old, new and all classes."""
from __future__ import annotations

from typing import Any, Dict, Iterable, List, Optional, Sequence

import numpy as np
import torch
from mmengine.dist import all_reduce
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger, print_log
from mmseg.registry import METRICS

from ..scenario import Split
from ..scenario.split import Names
from .confusion import accuracy_per_class, confusion_matrix, iou_per_class, mean_of_group, mean_over, pixel_accuracy
from .tables import class_table


@METRICS.register_module()
class ContinualIoUMetric(BaseMetric):
    """IoU over one confusion matrix, summed up over images and processes.

    Agrees with MMSegmentation's IoUMetric and adds the means of continual learning: ``mIoU_old`` (classes of step 0,
    background included, as in PLOP's tables), ``mIoU_new`` (the other seen classes) and ``mIoU`` (all seen classes). In a
    scenario of domains these are means over all classes, for the images of step 0's domains, of the other seen domains,
    and of all. The groups of classes and the value of a class without labels (:class:`Protocol`) are in the data set's
    metainfo; with a stock data set there is only ``mIoU``.

    After :meth:`evaluate`, :attr:`report` holds the values per class, and ``confusion``: the pixels of each label (row)
    that are predicted as each class.

    Args:
        ignore_index: Label of pixels that don't count.
        collect_device: See BaseMetric.
        prefix: See BaseMetric.
    """

    # Tells its metrics from those of the stock IoUMetric, which has no prefix.
    default_prefix = 'continual'

    def __init__(self, ignore_index: int = 255, collect_device: str = 'cpu', prefix: Optional[str] = None) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.ignore_index = ignore_index
        self.report: Dict[str, Any] = {}
        self._reset()

    def _reset(self) -> None:
        self.confusion: Optional[torch.Tensor] = None
        self.num_images = 0

    def process(self, data_batch: Dict[str, Any], data_samples: Sequence[Dict[str, Any]]) -> None:
        """Count the pixels of a batch."""
        num_classes, domains = len(self.dataset_meta['classes']), self.domains
        for sample in data_samples:
            prediction = sample['pred_sem_seg']['data'].squeeze()
            label = sample['gt_sem_seg']['data'].squeeze().to(prediction.device)
            counts = confusion_matrix(prediction, label, num_classes, self.ignore_index)
            if self.confusion is None:
                self.confusion = counts.new_zeros(len(domains) + 1, num_classes, num_classes)
            domain = sample.get('domain')
            self.confusion[domains.index(domain) if domain in domains else -1] += counts
            self.num_images += 1

    def evaluate(self, size: int) -> Dict[str, float]:
        """Sum up over processes; ``size`` is the number of images of the data set.

        Returns:
            Metrics in percent, rounded to two decimals, the same on every process.
        """
        num_classes = len(self.dataset_meta['classes'])
        # One reduction carries the counts and the number of images.
        counts = torch.zeros((len(self.domains) + 1) * num_classes**2 + 1, dtype=torch.int64)
        if self.confusion is not None:
            counts[:-1] = self.confusion.flatten().cpu()
        counts[-1] = self.num_images
        all_reduce(counts)
        self._reset()
        if counts[-1] != size:
            print_log(f'evaluated {int(counts[-1])} images of a data set of {size}: a sampler with round_up=True counts '
                      'some twice', logger='current', level=30)
        metrics = self.compute_metrics(list(counts[:-1].reshape(-1, num_classes, num_classes).numpy()))
        return {f'{self.prefix}/{name}' if self.prefix else name: value for name, value in metrics.items()}

    @property
    def domains(self) -> Names:
        """The seen domains, where steps add domains: each has a confusion matrix, and other images one behind them."""
        split = self.dataset_meta.get('split')
        domains = Split.from_dict(split).domains if split else None
        return domains.seen if domains else ()

    def compute_metrics(self, results: List[np.ndarray]) -> Dict[str, float]:
        """Metrics of confusion matrices: one of each domain, and one of other images."""
        confusion = np.sum(results, axis=0)
        iou, accuracy = iou_per_class(confusion), accuracy_per_class(confusion)
        classes = list(self.dataset_meta['classes'])
        groups = score_groups(classes, self.dataset_meta)
        labelled = confusion.sum(1) > 0
        absent = self.dataset_meta.get('absent', 'stock')
        # PLOP's code has two averages, one over all classes and one over groups.
        by_group = {'': 'skip'} if absent == 'plop' else {}
        means = {f'mIoU{name}': mean_of_group(iou, labelled, members, by_group.get(name, absent))
                 for name, members in groups.items()}
        of_domains = self._of_domains(results, groups[''], absent)
        means.update(of_domains.pop('means'))
        metrics = dict(means, mAcc=mean_over(accuracy, groups['']), aAcc=pixel_accuracy(confusion))
        metrics = {name: round(value, 2) for name, value in metrics.items()}
        self.report = dict(
            metrics,
            classes=classes,
            IoU=[_plain(value) for value in np.where(labelled, iou, iou if absent == 'stock' else np.nan)],
            Acc=[_plain(value) for value in accuracy],
            scored=[i in groups[''] for i in range(len(classes))],
            confusion=confusion.tolist(),
            **of_domains)
        print_log('\n' + class_table(self.report), logger=MMLogger.get_current_instance())
        return metrics

    def _of_domains(self, results: Sequence[np.ndarray], members: List[int], absent: str) -> Dict[str, Any]:
        """The mIoU of each seen domain (``domains``), and over those of step 0 and over the others (``means``)."""
        domains = self.domains
        if not domains:
            return dict(means={})

        def mean_iou(names: Iterable[str]) -> float:
            confusion = np.sum([results[domains.index(name)] for name in names], axis=0)
            return mean_of_group(iou_per_class(confusion), confusion.sum(1) > 0, members, absent)

        base = self.dataset_meta['split']['domains']['base']
        groups = {'mIoU_old': [name for name in domains if name in base],
                  'mIoU_new': [name for name in domains if name not in base]}
        return dict(means={name: mean_iou(group) for name, group in groups.items() if group},
                    domains={name: _plain(mean_iou([name])) for name in domains})


def score_groups(classes: Sequence[str], dataset_meta: Dict[str, Any]) -> Dict[str, List[int]]:
    """Class indices behind each mean: '' (all), '_old' and '_new'."""
    split = Split.from_dict(dataset_meta['split']) if dataset_meta.get('split') else None
    skipped = split.background if split and not dataset_meta.get('score_background', True) else None
    groups = {'': [i for i, name in enumerate(classes) if name != skipped]}
    if split and split.domains is None:
        groups['_old'] = [i for i in groups[''] if classes[i] in split.base]
        groups['_new'] = [i for i in groups[''] if classes[i] not in split.base]
    return {name: members for name, members in groups.items() if members}


def _plain(value: float) -> Optional[float]:
    """A float for JSON; None for NaN."""
    return None if np.isnan(value) else round(float(value), 4)
