"""Names of classes, and the label values that they stand for."""
import pytest
from mmseg.registry import DATASETS

from mmcss.datasets import name_classes
from mmcss.datasets.class_names import clean_names, is_background, is_nothing
from tests.makers import CLASSES, folder_config, split_of


def test_background_listed_first():
    names = name_classes(('background', 'cat', 'dog'), zero_is_unlabelled=False)
    assert names.foreground == ('cat', 'dog')
    assert names.raw_ids == dict(background=0, cat=1, dog=2)


def test_background_is_the_unlisted_zero():
    names = name_classes(('cat', 'dog'), zero_is_unlabelled=True)
    assert names.foreground == ('cat', 'dog')
    assert names.raw_ids == dict(background=0, cat=1, dog=2)


def test_background_is_listed_beside_an_unlisted_zero():
    names = name_classes(('background', 'cat', 'dog'), zero_is_unlabelled=True)
    assert names.foreground == ('cat', 'dog')
    assert (names.raw_ids, names.ignored) == (dict(background=1, cat=2, dog=3), (0, 255))


def test_no_background():
    names = name_classes(('cat', 'dog'), zero_is_unlabelled=False)
    assert names.foreground == ('cat', 'dog')
    assert names.raw_ids == dict(cat=0, dog=1)


def test_background_listed_elsewhere():
    names = name_classes(('cat', 'background', 'dog'), zero_is_unlabelled=False)
    assert names.foreground == ('cat', 'dog')
    assert names.raw_ids == dict(cat=0, background=1, dog=2)


@pytest.mark.parametrize('name', ['Background', 'BACKGROUND', '_background_', '__background__', ' background ', 'bg', 'BG',
                                  '\ufeffbackground', 'back ground', 'back-ground', '__bg__', 'bkg'])
@pytest.mark.parametrize('place', [0, 2])
def test_spellings_of_the_background(name, place):
    """It keeps its label value, and has its common name everywhere."""
    classes = ['cat', 'dog']
    classes.insert(place, name)
    names = name_classes(classes, zero_is_unlabelled=False)
    assert names.foreground == ('cat', 'dog') and names.spelling == name
    assert names.listed[place] == 'background' and names.raw_ids == {name: i for i, name in enumerate(names.listed)}
    classes[place] = 'background'
    assert names == name_classes(classes, zero_is_unlabelled=False)  # as test data may spell it


@pytest.mark.parametrize('name', ['background clutter', 'playground', '__ignore__', 'void', 'b', 'ground', '_'])
def test_what_is_no_background(name):
    assert not is_background(name)


@pytest.mark.parametrize('name, sounds', [('void', True), ('_unlabeled_', True), ('Other', True), ('otter', False)])
def test_names_that_sound_like_no_class(name, sounds):
    assert is_nothing(name) is sounds


def test_names_without_what_editors_leave_around_them():
    assert clean_names(['\ufeffbackground', 'cat ', '\tdog\r', ' black cat', '', ' ']) == [
        'background', 'cat', 'dog', 'black cat']
    assert clean_names(['bed ', 'lamp '], as_written=('bed ', )) == ['bed ', 'lamp']
    assert name_classes(('background', 'bed ', ''), False).foreground == ('bed ', )


@pytest.mark.parametrize('classes, message', [
    (['background', 'cat', 'cat ', 'dog'], r"\['cat'\] are listed more than once"),
    (['background', '', 'cat'], 'name 1 of 3, counted from 0, is empty'),
    (['__ignore__', '_background_', 'cat'], "'__ignore__' is labelme's name .* remove it"),
    (['background', 1, 2], 'got 1 among the names, expected strings')])
def test_names_that_are_none(classes, message):
    with pytest.raises(ValueError, match=f'metainfo.classes: {message}'):
        clean_names(classes)


def test_two_backgrounds():
    with pytest.raises(ValueError, match=r"\['background', 'BG'\] all name the background"):
        name_classes(['background', 'cat', 'BG'], False)


@pytest.mark.parametrize('zero_is_unlabelled, most', [(False, 255), (True, 254)])
def test_more_classes_than_label_maps_tell(zero_is_unlabelled, most):
    names = [f'class {i}' for i in range(most + 1)]
    assert len(name_classes(names[:most], zero_is_unlabelled).listed) == most
    with pytest.raises(ValueError, match=f'got {most + 1} names, expected at most {most}'):
        name_classes(names, zero_is_unlabelled)


def test_a_step_calls_the_background_by_its_common_name(tmp_path):
    """With its colour."""
    stock = folder_config(tmp_path, classes=('_background_', *CLASSES[1:]))
    stock['metainfo']['palette'][0] = [7, 8, 9]
    step = DATASETS.build(dict(type='StepDataset', dataset=stock, split=split_of([['b', 'a'], ['d'], ['c']], 0),
                               view=dict(role='train')))
    assert step.metainfo['classes'] == ('background', 'b', 'a')
    assert step.metainfo['palette'] == [[7, 8, 9], [2, 4, 6], [1, 2, 3]]
