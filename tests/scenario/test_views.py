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


def test_other_classes_ignored():
    assert TrainView(ignore_others=True).table(SCENARIO[1], RAW)[[0, 1, 2, 3, 4, 255]].tolist() == [
        0, 255, 255, 255, 3, 255]


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


def test_all_background_is_unknown():
    """Unknown comes behind all classes seen so far; ignored pixels and values of no class stay so."""
    view = TrainView(unknown='background')
    tables = [view.table(split, RAW)[[0, 1, 2, 3, 4, 5, 255]].tolist() for split in SCENARIO]
    assert tables == [[3, 2, 1, 3, 3, 255, 255], [4, 4, 4, 4, 3, 255, 255], [5, 5, 5, 4, 5, 255, 255]]
    assert view.table(SCENARIO[1], RAW).dtype == np.uint8


def test_unknown_of_other_kinds_is_not_in_the_table():
    for unknown in (None, 'saliency'):
        assert TrainView(unknown=unknown).table(SCENARIO[1], RAW)[[0, 1, 2, 3, 4, 255]].tolist() == [0, 0, 0, 0, 3, 255]


def test_unknown_and_old_labels():
    view = TrainView('sequential', unknown='background')
    assert view.table(SCENARIO[1], RAW)[[0, 1, 2, 3, 4, 255]].tolist() == [4, 2, 1, 4, 3, 255]


def test_ignored_pixels_as_background_that_is_unknown():
    view = TrainView(ignore_as_background=True, unknown='background')
    assert view.table(SCENARIO[1], RAW)[[0, 4, 255]].tolist() == [4, 3, 4]


def test_any_table_can_have_its_background_unknown():
    table = np.array([0, 1, 255, 0], dtype=np.uint8)
    assert TrainView(unknown='background').with_unknown(table, SCENARIO[2]).tolist() == [5, 1, 255, 5]
    assert TrainView(unknown='saliency').with_unknown(table, SCENARIO[2]).tolist() == [0, 1, 255, 0]
    assert TrainView().with_unknown(table, SCENARIO[2]).tolist() == [0, 1, 255, 0]
    assert table.tolist() == [0, 1, 255, 0]


def test_unknown_does_not_change_the_images():
    for unknown in ('background', 'saliency'):
        assert [TrainView(unknown=unknown).select(IMAGES, split, RAW).tolist() for split in SCENARIO] == \
            [[0, 2], [1, 2, 3], [3, 4]]


@pytest.mark.parametrize('view, step, kept', [
    (TrainView(), 0, ('background', 'b', 'a')),
    (TrainView(), 1, ('d', )),
    (TrainView('disjoint'), 1, ('d', )),
    (TrainView('sequential'), 1, ('background', 'b', 'a', 'd')),
    (TrainView(keep_old_labels=True), 2, ('background', 'b', 'a', 'd', 'c')),
])
def test_classes_that_keep_their_labels(view, step, kept):
    assert view.labelled_classes(SCENARIO[step]) == kept


@pytest.mark.parametrize('kept, labels', [
    (('b', ), [0, 0, 1, 0, 0, 255]),
    (('b', 'a'), [0, 2, 1, 0, 0, 255]),
    (('background', 'b', 'a', 'd'), [0, 2, 1, 0, 3, 255]),
    ((), [0, 0, 0, 0, 0, 255]),
    (None, [0, 0, 0, 0, 3, 255]),
])
def test_table_of_given_classes(kept, labels):
    assert TrainView().table(SCENARIO[1], RAW, kept)[[0, 1, 2, 3, 4, 255]].tolist() == labels
    unknown = [4 if label == 0 else label for label in labels]
    assert TrainView(unknown='background').table(SCENARIO[1], RAW, kept)[[0, 1, 2, 3, 4, 255]].tolist() == unknown


def test_given_classes_count_more_than_the_regime():
    assert TrainView('sequential').table(SCENARIO[1], RAW, ('a', ))[[0, 1, 2, 3, 4]].tolist() == [0, 2, 0, 0, 0]


def test_label_of_unknown():
    assert [split.unknown for split in SCENARIO] == [3, 4, 5]


@pytest.mark.parametrize('unknown', ['all', True, ''])
def test_an_unknown_of_no_kind(unknown):
    with pytest.raises(ValueError, match=f'unknown: got {unknown!r}, valid are None, background, saliency, nothing'):
        TrainView(unknown=unknown)
