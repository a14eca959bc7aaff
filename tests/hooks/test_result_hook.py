import logging
from types import SimpleNamespace

import pytest
import torch
from mmseg.evaluation import IoUMetric

from mmcss.evaluation import ContinualIoUMetric
from mmcss.files import read_json
from mmcss.hooks import ResultHook
from mmcss.models import save_hand_over


def runner(*metrics, loaded=None, iter=0):
    """A runner as far as the hook looks at it, which tested five images."""
    return SimpleNamespace(test_evaluator=SimpleNamespace(metrics=list(metrics)), _load_from=loaded, iter=iter,
                           test_dataloader=SimpleNamespace(dataset=range(5)), logger=logging.getLogger(__name__))


def evaluated():
    metric = ContinualIoUMetric()
    metric.dataset_meta = dict(classes=('background', 'a', 'b'), palette=[[0] * 3, [9] * 3, [5] * 3])
    labels = torch.tensor([[0, 0, 1, 1]])
    metric.process({}, [dict(pred_sem_seg=dict(data=labels), gt_sem_seg=dict(data=labels))])
    metric.evaluate(1)
    return metric


@pytest.mark.parametrize('handed_over', [False, True])
def test_result_names_the_model_it_judges(tmp_path, handed_over):
    if handed_over:
        save_hand_over(tmp_path / 'step_1.pth', {}, dict(id='abc', classes=['background', 'a', 'b']))
    hook = ResultHook(str(tmp_path / 'step_1' / 'result.json'), str(tmp_path / 'step_1.pth'), dict(step=1, num_steps=3))
    hook.after_test_epoch(runner(IoUMetric(), evaluated()), {})
    assert read_json(tmp_path / 'step_1' / 'result.json') == dict(
        step=1, num_steps=3, hand_over='abc' if handed_over else None, num_test_images=5, mIoU=100., mAcc=100.,
        aAcc=100., classes=['background', 'a', 'b'], IoU=[100., 100., None], Acc=[100., 100., None],
        scored=[True, True, True], confusion=[[2, 0, 0], [0, 2, 0], [0, 0, 0]], palette=[[0] * 3, [9] * 3, [5] * 3])


def test_needs_the_metric(tmp_path):
    hook = ResultHook(str(tmp_path / 'result.json'), '', {})
    with pytest.raises(ValueError, match='test_evaluator: got no ContinualIoUMetric.*add dict'):
        hook.after_test_epoch(runner(IoUMetric()), {})
    assert not (tmp_path / 'result.json').exists()


def test_only_the_main_process_writes(tmp_path, monkeypatch):
    monkeypatch.setattr('mmcss.hooks.result_hook.is_main_process', lambda: False)
    ResultHook(str(tmp_path / 'result.json'), '', {}).after_test_epoch(runner(evaluated()), {})
    assert not (tmp_path / 'result.json').exists()


@pytest.mark.parametrize('loaded, iterations, written', [
    ('step_1.pth', 0, True), ('epoch_1.pth', 0, False), ('epoch_1.pth', 7, True)])
def test_the_result_is_that_of_the_hand_over(tmp_path, loaded, iterations, written):
    """Another checkpoint is, unless it has been trained further in the same run."""
    hook = ResultHook(str(tmp_path / 'result.json'), str(tmp_path / 'step_1.pth'), {})
    hook.after_test_epoch(runner(evaluated(), loaded=str(tmp_path / loaded), iter=iterations), {})
    assert (tmp_path / 'result.json').exists() == written
