import numpy as np
import pytest

from mmcss.scenario import ClassIncremental, Protocol, TrainView

# Files hold: background 0, a 1, b 2, c 3, d 4.
RAW = dict(background=0, a=1, b=2, c=3, d=4)
SCENARIO = ClassIncremental.from_config('abcd', steps=[['b', 'a'], ['d'], ['c']])


def presence(*images):
    table = np.zeros((len(images), 256), dtype=bool)
    for row, values in zip(table, images):
        row[list(values)] = True
    return table


IMAGES = presence({0, 1}, {0, 4}, {4, 1, 255}, {4, 3}, {3}, {0, 255})


@pytest.mark.parametrize('regime, steps', [
    ('overlapped', [[0, 2], [1, 2, 3], [3, 4]]),
    ('disjoint', [[0], [1, 2], [3, 4]]),
    ('sequential', [[0], [1, 2], [3, 4]]),
])
def test_train_images(regime, steps):
    view = TrainView(regime)
    assert [view.select(IMAGES, split, RAW).tolist() for split in SCENARIO] == steps


def test_train_labels():
    view = TrainView()
    # Learning order: background, b, a, d, c.
    assert view.table(SCENARIO[0], RAW)[[0, 1, 2, 3, 4, 255]].tolist() == [0, 2, 1, 0, 0, 255]
    assert view.table(SCENARIO[1], RAW)[[0, 1, 2, 3, 4, 255]].tolist() == [0, 0, 0, 0, 3, 255]


def test_sequential_keeps_old_labels():
    assert TrainView('sequential').table(SCENARIO[1], RAW)[[0, 1, 2, 3, 4]].tolist() == [0, 2, 1, 0, 3]


def test_an_oracle_keeps_old_labels_on_the_same_images():
    view = TrainView(keep_old_labels=True)
    assert view.table(SCENARIO[1], RAW)[[0, 1, 2, 3, 4, 255]].tolist() == [0, 2, 1, 0, 3, 255]
    assert view.select(IMAGES, SCENARIO[1], RAW).tolist() == TrainView().select(IMAGES, SCENARIO[1], RAW).tolist()


def test_ignored_pixels_as_background():
    assert TrainView(ignore_as_background=True).table(SCENARIO[1], RAW)[255] == 0


@pytest.mark.parametrize('protocol, labels', [
    (Protocol(), [0, 2, 1, 0, 3, 255]),
    (Protocol(future='ignore'), [0, 2, 1, 255, 3, 255]),
    (Protocol(background=False), [255, 2, 1, 255, 3, 255]),
])
def test_test_labels(protocol, labels):
    assert protocol.table(SCENARIO[1], RAW)[[0, 1, 2, 3, 4, 255]].tolist() == labels


def test_test_images():
    assert Protocol().select(IMAGES, SCENARIO[0], RAW).tolist() == [0, 2]
    assert Protocol().select(IMAGES, SCENARIO[1], RAW).tolist() == [0, 1, 2, 3]
    assert Protocol(images='all').select(IMAGES, SCENARIO[0], RAW).tolist() == [0, 1, 2, 3, 4, 5]


def test_data_without_a_background_gets_one():
    raw = dict(a=0, b=1, c=2, d=3)
    table = TrainView().table(SCENARIO[1], raw)
    assert table[[0, 1, 2, 3, 255]].tolist() == [0, 0, 0, 3, 255]


def test_classes_outside_the_scenario_stay_background():
    scenario = ClassIncremental.from_config('abcd', steps=[['a'], ['b']])
    assert TrainView().table(scenario[1], RAW)[[0, 1, 2, 3, 4]].tolist() == [0, 0, 2, 0, 0]


def test_unknown_values():
    with pytest.raises(ValueError, match='valid are background, ignore'):
        Protocol(future='scored')
    with pytest.raises(ValueError, match='valid are seen, all'):
        Protocol(images='some')
    with pytest.raises(ValueError, match='protocol.absent'):
        Protocol(absent='one')
    with pytest.raises(ValueError, match='valid are overlapped'):
        TrainView('other')
