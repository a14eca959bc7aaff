import pytest

from mmcss.report import read_runs
from mmcss.report import charts
from tests.report.work_dirs import make_run


@pytest.fixture
def runs(tmp_path):
    folders = [make_run(tmp_path / 'a'), make_run(tmp_path / 'b', entering=(('background', 'star'), ('disc', )), seed=1)]
    return read_runs([(None, folder) for folder in folders])


def test_curves_of_scores(runs):
    figure = charts.score_curves(runs, 'new')
    assert [(trace.name, trace.x, trace.y) for trace in figure.data] == [('a', (0, 1), (None, 71.43)), ('b', (0, 1), (None, 71.43))]


def test_boxes_of_methods(runs):
    box, = charts.score_boxes(runs, 'forgetting').data
    assert (box.name, box.y, box.text) == ('a', (36.3636, 36.3636), ('a', 'b'))


def test_bars_of_classes(runs):
    bars, = charts.class_bars(runs[:1]).data
    assert (bars.x, bars.y) == (('background', 'disc', 'star'), (56.25, 18.75, 71.4286))
    assert bars.marker.color == ('rgb(0, 0, 0)', 'rgb(230, 25, 75)', 'rgb(60, 180, 75)')
    both = charts.class_bars(runs).data
    assert [trace.y for trace in both] == [(56.25, 18.75, 71.4286), (56.25, 71.4286, 18.75)]
    assert both[0].marker.color != both[1].marker.color


def test_matrix_of_steps(runs):
    heat, = charts.step_matrix(runs[0]).data
    assert (heat.x, heat.y) == (('0', '1'), ('background', 'disc', 'star'))
    assert [list(row) for row in heat.text] == [['72.7', '56.2'], ['75.0', '18.8'], ['', '71.4']]


def test_confusion_parts_old_and_new_classes(runs):
    figure = charts.confusion_map(runs[0].last)
    assert [list(row) for row in figure.data[0].z] == [[90., 10., 0.], [60., 30., 10.], [0., 25., 75.]]
    assert [(line.x0, line.y0) for line in figure.layout.shapes] == [(1.5, 0), (0, 1.5)]
    assert charts.confusion_map(runs[0].steps[0]).layout.shapes == ()


def test_cells_of_many_classes_have_no_numbers(monkeypatch, runs):
    monkeypatch.setattr(charts, 'MOST_NUMBERS', 2)
    assert charts.step_matrix(runs[0]).data[0].text is None


def test_training_goes_on_over_steps(runs):
    assert charts.losses_of(runs[0]) == ['loss']
    curve, = charts.training_curves(runs[0], ['loss']).data
    assert curve.x[:3] + curve.x[4:6] == (1, 2, 3, 4, 5)
    assert curve.y[:3] == (2., 1., 2. / 3) and curve.y[3] is None  # the line is broken between steps


def test_costs(runs):
    bars, = charts.cost_bars(runs[:1], dict(a=[1.5, None]), 'minutes').data
    assert (bars.x, bars.y) == (('step 0', 'step 1'), (1.5, None))
