import pytest

from mmcss.evaluation import means_text, step_means, summarise

NAN = float('nan')


def step(number, classes, iou, mean, scored=None, **more):
    return dict(step=number, classes=classes, IoU=iou, Acc=iou, mIoU=mean,
                scored=scored or [True] * len(classes), num_test_images=7, **more)


STEPS = [
    step(0, ['background', 'a'], [90., 60.], 75., mIoU_old=75.),
    step(1, ['background', 'a', 'b'], [92., 40., None], 66., mIoU_old=66., mIoU_new=NAN),
    step(2, ['background', 'a', 'b', 'c'], [88.5, 50., 30., 20.], 47.125, mIoU_old=69.25, mIoU_new=25.),
]


def test_matrix_has_a_row_a_class_and_a_column_a_step():
    assert summarise(STEPS)['matrix'] == {
        'background': [90., 92., 88.5], 'a': [60., 40., 50.], 'b': [None, None, 30.], 'c': [None, None, 20.]}


def test_forgetting_is_the_best_so_far_minus_now():
    results = summarise(STEPS)
    assert results['forgetting'] == {'background': 3.5, 'a': 10., 'b': None, 'c': None}
    assert results['mean_forgetting'] == 6.75
    assert summarise(STEPS[:2])['forgetting'] == {'background': 0., 'a': 20., 'b': None}


def test_a_class_that_is_absent_now_has_no_forgetting():
    results = summarise([*STEPS[:2], step(2, ['background', 'a', 'b'], [80., None, None], 80.)])
    assert results['forgetting'] == {'background': 12., 'a': None, 'b': None}
    assert results['mean_forgetting'] == 12.


def test_average_is_over_steps():
    assert summarise(STEPS)['average'] == pytest.approx((75 + 66 + 47.125) / 3, abs=1e-4)
    assert summarise(STEPS[:1])['average'] == 75.


def test_one_step_forgets_nothing():
    results = summarise(STEPS[:1])
    assert results['forgetting'] == {'background': None, 'a': None}
    assert results['mean_forgetting'] is None


def test_what_is_not_scored_is_left_out():
    results = summarise([step(0, ['background', 'a'], [90., 60.], 60., [False, True]),
                         step(1, ['background', 'a', 'b'], [80., 50., 40.], 45., [False, True, True])])
    assert results['matrix'] == {'background': [None, None], 'a': [60., 50.], 'b': [None, 40.]}
    assert results['forgetting'] == {'background': None, 'a': 10., 'b': None}


def test_steps_keep_all_but_the_values_per_class():
    assert summarise(STEPS)['steps'][2] == dict(
        step=2, classes=['background', 'a', 'b', 'c'], mIoU=47.125, num_test_images=7, mIoU_old=69.25, mIoU_new=25.)


def test_a_step_without_a_mean_does_not_stop_the_others():
    """result.json has null for a mean over no class (no pixel of a seen class in the test images)."""
    results = summarise([STEPS[0], step(1, ['background', 'a'], [None, None], None)])
    assert results['average'] == 75.
    assert results['matrix'] == {'background': [90., None], 'a': [60., None]}


def test_a_scenario_of_domains_has_a_row_a_domain():
    steps = [step(0, ['background', 'a'], [90., 60.], 75., domains=dict(day=75.)),
             step(1, ['background', 'a'], [80., 40.], 60., domains=dict(day=70., night=50.))]
    results = summarise(steps)
    assert results['matrix_of'] == 'domain' and summarise(STEPS)['matrix_of'] == 'class'
    assert results['matrix'] == {'day': [75., 70.], 'night': [None, 50.]}
    assert results['forgetting'] == {'day': 5., 'night': None} and results['mean_forgetting'] == 5.
    assert all('domains' not in one for one in results['steps'])


def test_means_of_a_step():
    result = dict(step=1, mIoU_old=40.12, mIoU_new=None, mIoU=33.3)
    assert step_means(result) == dict(old=40.12, new=None, all=33.3)
    assert step_means(dict(mIoU=50.0)) == dict(old=None, new=None, all=50.0)
    assert means_text(result) == 'old 40.1, all 33.3'
