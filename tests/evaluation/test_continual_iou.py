import logging

import numpy as np
import pytest
import torch
from mmengine.logging import MMLogger
from mmseg.evaluation import IoUMetric
from mmseg.registry import METRICS
from torch import distributed

from mmcss.evaluation import ContinualIoUMetric
from mmcss.files import read_json, write_json
from mmcss.scenario import ClassIncremental, DomainIncremental
from tests.processes import spawn

NAMES = ('background', 'a', 'b', 'c')
SCENARIO = ClassIncremental.from_config(NAMES[1:], base=1, increment=1)


def meta(step, scenario=SCENARIO, **more):
    split = scenario[step]
    return dict(classes=split.seen, split=split.to_dict(), **more)


def sample(prediction, label):
    return dict(pred_sem_seg=dict(data=torch.as_tensor(prediction)[None]),
                gt_sem_seg=dict(data=torch.as_tensor(label)[None]))


def random_samples(number, num_classes, seed, size=(17, 13)):
    """Predictions that are right two times out of three, with ignored pixels."""
    draw = torch.Generator().manual_seed(seed)
    samples = []
    for _ in range(number):
        label = torch.randint(num_classes, size, generator=draw)
        wrong = torch.rand(size, generator=draw) < 1 / 3
        prediction = torch.where(wrong, torch.randint(num_classes, size, generator=draw), label)
        label[torch.rand(size, generator=draw) < 0.1] = 255
        samples.append(sample(prediction, label))
    return samples


def evaluate(samples, dataset_meta, size=None, metric=None, **options):
    metric = metric or ContinualIoUMetric(**options)
    metric.dataset_meta = dataset_meta
    for one in samples:
        metric.process({}, [one])
    return metric.evaluate(len(samples) if size is None else size), metric


@pytest.fixture
def log(caplog):
    """What mmengine's logger says, which does not hand on to the root logger."""
    # One of its own: runners of other tests leave loggers of other levels.
    logger = MMLogger.get_instance('log_of_a_metric', log_level='INFO')
    logger.addHandler(caplog.handler)
    yield caplog
    MMLogger._instance_dict.pop('log_of_a_metric')


# Learning order background, a | b | c. IoU: 50, 33.33, 100 and 0.
PUBLISHED = sample([[0, 1, 1, 3, 2, 2, 0, 3]], [[0, 0, 1, 1, 255, 2, 0, 0]])


def test_published_example():
    metrics, metric = evaluate([PUBLISHED], meta(2))
    assert metrics == {
        'continual/mIoU': 45.83, 'continual/mIoU_old': 41.67, 'continual/mIoU_new': 50.0, 'continual/mAcc': 66.67,
        'continual/aAcc': 57.14
    }
    assert metric.report['classes'] == list(NAMES)
    assert metric.report['IoU'] == [50.0, 33.3333, 100.0, 0.0]
    assert metric.report['Acc'] == [50.0, 50.0, 100.0, None]
    assert metric.report['scored'] == [True] * 4
    assert metric.report['mIoU_old'] == 41.67


@pytest.mark.parametrize('num_classes, images, seed', [(2, 1, 0), (5, 4, 1), (21, 3, 2), (151, 2, 3)])
def test_agrees_with_the_stock_metric(num_classes, images, seed):
    samples = random_samples(images, num_classes, seed)
    classes = tuple(map(str, range(num_classes)))
    metrics, metric = evaluate(samples, dict(classes=classes))
    stock = IoUMetric(iou_metrics=['mIoU'])
    stock.dataset_meta = dict(classes=classes)
    stock.process({}, samples)
    areas = [sum(column) for column in zip(*stock.results)]
    per_class = stock.total_area_to_metrics(*areas)
    for ours, theirs in ((metric.report['IoU'], per_class['IoU']), (metric.report['Acc'], per_class['Acc'])):
        np.testing.assert_allclose(np.array(ours, dtype=float), 100 * theirs, atol=1e-3)
    expected = {f'continual/{name}': round(float(value), 2) for name, value in stock.evaluate(images).items()}
    assert metrics == expected
    assert 40 < metrics['continual/mIoU'] < 80


def test_agrees_with_the_stock_metric_on_absent_classes():
    """Class 1 is neither labelled nor predicted, class 3 is only predicted."""
    samples = [sample([[0, 2, 3, 0]], [[0, 2, 2, 255]]), sample([[2, 2, 0, 0]], [[2, 0, 0, 0]])]
    metrics, metric = evaluate(samples, dict(classes=NAMES))
    stock, _ = evaluate(samples, dict(classes=NAMES), metric=IoUMetric(iou_metrics=['mIoU']))
    assert metrics == {f'continual/{name}': round(float(value), 2) for name, value in stock.items()}
    assert metric.report['IoU'] == [75.0, None, 50.0, 0.0]
    assert metrics['continual/mIoU'] == 41.67  # of three classes


@pytest.mark.parametrize('absent, means, iou', [
    ('stock', [41.67, 75., 25.], [75., None, 50., 0.]),
    ('skip', [62.5, 75., 50.], [75., None, 50., None]),
    ('zero', [31.25, 37.5, 25.], [75., None, 50., None]),
    ('plop', [62.5, 37.5, 25.], [75., None, 50., None]),
])
def test_absent_classes(absent, means, iou):
    """Class 1 (old) is neither labelled nor predicted, class 3 (new) is only predicted."""
    samples = [sample([[0, 2, 3, 0]], [[0, 2, 2, 255]]), sample([[2, 2, 0, 0]], [[2, 0, 0, 0]])]
    metrics, metric = evaluate(samples, meta(2, absent=absent))
    assert [metrics[f'continual/mIoU{group}'] for group in ('', '_old', '_new')] == means
    assert metric.report['IoU'] == iou


def test_groups_of_each_step():
    """Old means the classes of step 0, however many steps have passed."""
    confusion = np.diag([1, 2, 4, 8])
    confusion[:, 0] += [0, 2, 4, 24]  # IoU: 1/31, 1/2, 1/2, 1/4
    iou = np.array([100 / 31, 50, 50, 25])
    metric = ContinualIoUMetric()

    def means(step, scenario=SCENARIO):
        metric.dataset_meta = meta(step, scenario)
        seen = scenario[step].num_seen
        return {key: value for key, value in metric.compute_metrics([confusion[:seen, :seen]]).items() if 'mIoU' in key}

    assert means(2) == {'mIoU': round(iou.mean(), 2), 'mIoU_old': round(iou[:2].mean(), 2), 'mIoU_new': 37.5}
    first = round((100 / 3 + 50) / 2, 2)
    assert means(0) == {'mIoU': first, 'mIoU_old': first}  # nothing is new yet
    joint = ClassIncremental.from_config(NAMES[1:], base=1, increment=1, joint=True)
    assert means(0, joint) == means(2)


def test_background_that_is_not_scored_enters_no_mean():
    metrics, metric = evaluate([PUBLISHED], meta(2, score_background=False))
    assert metrics['continual/mIoU'] == round((100 / 3 + 100 + 0) / 3, 2)
    assert metrics['continual/mIoU_old'] == 33.33
    assert metrics['continual/mIoU_new'] == 50
    assert metrics['continual/mAcc'] == 75
    assert metric.report['scored'] == [False, True, True, True]


def test_stock_data_set_has_no_groups():
    metrics, _ = evaluate([PUBLISHED], dict(classes=NAMES))
    assert list(metrics) == ['continual/mIoU', 'continual/mAcc', 'continual/aAcc']
    assert metrics['continual/mIoU'] == 45.83


def test_order_of_the_classes_does_not_matter_to_the_groups():
    """Groups go by name: here a class of the base stands last."""
    metrics, _ = evaluate([PUBLISHED], dict(meta(2), classes=('background', 'b', 'c', 'a')))
    assert metrics['continual/mIoU_old'] == 25.0
    assert metrics['continual/mIoU_new'] == 66.67


def test_prefix():
    metrics, _ = evaluate([PUBLISHED], meta(2), prefix='test')
    assert metrics['test/mIoU_new'] == 50
    assert all(name.startswith('test/') for name in metrics)


def test_ignore_index():
    label = torch.tensor([[0, 0, 1, 1, 254, 2, 0, 0]])
    metrics, _ = evaluate([sample(PUBLISHED['pred_sem_seg']['data'][0], label)], meta(2), ignore_index=254)
    assert metrics['continual/mIoU'] == 45.83


def test_a_second_evaluation_starts_from_nothing():
    first, second = random_samples(2, 4, 0), random_samples(3, 4, 1)
    metric = ContinualIoUMetric()
    again = [evaluate(samples, meta(2), metric=metric)[0] for samples in (first, second, first)]
    fresh = [evaluate(samples, meta(2))[0] for samples in (first, second)]
    assert again == [fresh[0], fresh[1], fresh[0]]
    assert fresh[0] != fresh[1]


def test_number_of_classes_may_grow_between_evaluations():
    metric = ContinualIoUMetric()
    evaluate(random_samples(1, 3, 0), meta(1), metric=metric)
    assert evaluate([PUBLISHED], meta(2), metric=metric)[0]['continual/mIoU'] == 45.83
    assert metric.report['classes'] == list(NAMES)


def test_without_pixels_there_is_no_value(log):
    metrics, metric = evaluate([sample([[0, 1]], [[255, 255]])], meta(1))
    assert all(np.isnan(value) for value in metrics.values()) and len(metrics) == 5
    assert metric.report['IoU'] == [None] * 3


def test_images_counted_twice_are_noticed(log):
    samples = random_samples(3, 4, 0)
    evaluate(samples, meta(2))
    assert 'counts some twice' not in log.text
    evaluate(samples + samples[:1], meta(2), size=3)
    warnings = [record.getMessage() for record in log.records if record.levelno == logging.WARNING]
    assert warnings == ['evaluated 4 images of a data set of 3: a sampler with round_up=True counts some twice']


def test_table_is_logged(log):
    evaluate([PUBLISHED], meta(2))
    assert '33.33' in log.text and 'mIoU_old' in log.text


def test_is_registered():
    assert isinstance(METRICS.build(dict(type='ContinualIoUMetric')), ContinualIoUMetric)


def evaluate_share(rank, folder):
    """One of two processes: evaluates its share, twice."""
    distributed.init_process_group('gloo', init_method=f'file://{folder}/meeting', rank=rank, world_size=2)
    messages = []
    logger = MMLogger.get_current_instance()
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: messages.append(record.getMessage())
    logger.addHandler(handler)
    samples = random_samples(3, 4, 0)
    # DefaultSampler deals images out in turn; round_up gives the second process the first image again.
    shares = {'exact': samples[rank::2], 'rounded up': (samples + samples[:1])[rank::2], 'uneven': samples[:3 - 3 * rank]}
    results = {}
    for name, share in shares.items():
        messages.clear()
        metrics, metric = evaluate(share, meta(2), size=3)
        results[name] = dict(metrics=metrics, IoU=metric.report['IoU'],
                             warned=any('evaluated 4 images of a data set of 3' in text for text in messages))
    write_json(f'{folder}/{rank}.json', results)
    distributed.barrier()
    distributed.destroy_process_group()


def test_two_processes_equal_one(tmp_path):
    spawn(evaluate_share, str(tmp_path))
    samples = random_samples(3, 4, 0)
    whole, metric = evaluate(samples, meta(2))
    doubled, _ = evaluate(samples + samples[:1], meta(2))
    assert doubled != whole
    for rank in range(2):
        results = read_json(tmp_path / f'{rank}.json')
        # A process without any image still takes part.
        for name in ('exact', 'uneven'):
            assert results[name] == dict(metrics=whole, IoU=metric.report['IoU'], warned=False)
        assert results['rounded up']['metrics'] == doubled
        assert results['rounded up']['warned']


def of_domain(one, domain):
    return dict(one, domain=domain)


def test_domains_are_scored_apart():
    """Old are the images of step 0's domains, new those of the others; what is of no domain counts for all."""
    scenario = DomainIncremental.from_config(NAMES[1:], NAMES[0], domains=['day', 'night', 'snow', 'fog'])
    images = {name: random_samples(2, 4, seed) for seed, name in enumerate(('day', 'night', 'snow', 'elsewhere'))}
    tagged = [of_domain(one, name) for name, own in images.items() for one in own]
    metrics, metric = evaluate(tagged, meta(2, scenario))

    def alone(*names):
        return evaluate([one for name in names for one in images[name]], dict(classes=NAMES))[0]['continual/mIoU']

    assert metrics['continual/mIoU'] == alone('day', 'night', 'snow', 'elsewhere')
    assert metrics['continual/mIoU_old'] == alone('day') and metrics['continual/mIoU_new'] == alone('night', 'snow')
    assert {name: round(value, 2) for name, value in metric.report['domains'].items()} == {
        name: alone(name) for name in ('day', 'night', 'snow')}
    first, metric = evaluate([of_domain(one, 'day') for one in images['day']], meta(0, scenario))
    assert first['continual/mIoU'] == first['continual/mIoU_old'] and 'continual/mIoU_new' not in first
    assert list(metric.report['domains']) == ['day']


def test_scenarios_of_classes_report_no_domains():
    assert 'domains' not in evaluate(random_samples(1, 3, 0), meta(1))[1].report
