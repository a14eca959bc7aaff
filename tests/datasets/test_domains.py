import numpy as np
import pytest

from mmcss.datasets import LabelledImages, StepDataset
from mmcss.datasets.domains import DomainImages, domain_reader
from mmcss.datasets.lists import listed_as, read_names
from mmcss.scenario import DomainIncremental, Domains, TrainView
from tests.makers import PIPELINE, folder_config

NAMES = [f'{city}/{city}_{i:02d}.png' for city, number in (('aachen', 10), ('bremen', 5), ('celle', 1)) for i in range(number)]
STEPS = DomainIncremental.from_config(('road', ), domains=['aachen', 'bremen', 'celle'])


def shown(images, step, **roles):
    chosen = images.chosen(NAMES, STEPS[step].domains, **roles)
    assert chosen.dtype == bool and chosen.shape == (16, )
    return {NAMES[i] for i in np.flatnonzero(chosen)}


def of(*cities):
    return {name for name in NAMES if name.startswith(cities)}


@pytest.mark.parametrize('rule, name, domain', [
    ('folder', 'train/aachen/x.png', 'aachen'), ('folder', 'x.png', None), (dict(prefix=6), 'a/0001TP_1.jpg', '0001TP'),
    (dict(regex=r'_(\w+)\.'), 'a/x_night.jpg', 'night'), (dict(regex=r'_(\w+)\.'), 'x.jpg', None)])
def test_rules(rule, name, domain):
    assert domain_reader(rule)(name) == domain


@pytest.mark.parametrize('line', ['a/x.y.png', 'a/x.y', 'x.y.png', 'x.y'])
def test_lists_name_images_in_several_ways(tmp_path, line):
    (tmp_path / 'day.txt').write_text(f'{line}\n\n')
    (tmp_path / 'night.txt').write_text('b/z\n')
    read = domain_reader(dict(lists=dict(day=str(tmp_path / 'day.txt'), night=str(tmp_path / 'night.txt'))))
    assert [read(name) for name in ('a/x.y.png', 'b/z.jpg', 'b/w.jpg')] == ['day', 'night', None]
    assert read_names(str(tmp_path / 'day.txt')) == [line]
    assert line in listed_as('a/x.y.png')


def test_an_image_in_two_lists(tmp_path):
    for name, lines in (('day', 'x\ny\n'), ('night', 'z\ny\n')):
        (tmp_path / f'{name}.txt').write_text(lines)
    with pytest.raises(ValueError, match=r"night.txt lists 'y', and so does the list of 'day' \(1 such images\)"):
        domain_reader(dict(lists={name: str(tmp_path / f'{name}.txt') for name in ('day', 'night')}))


def test_the_images_of_a_domain_may_be_gone():
    images = DomainImages('folder')
    with pytest.raises(ValueError, match=r"no image is of the domains \['a'\]"):
        images.chosen(['b/0.png'], Domains((), ('a', ), ('b', ), ('a', )), True)
    assert not images.chosen(['b/0.png'], Domains((), ('a', ), ('b', ), ('a', )), True, complete=False).any()


def test_a_test_set_of_its_own():
    images = DomainImages('folder')
    assert shown(images, 1, training=True) == of('bremen')
    assert shown(images, 1, training=False) == of('aachen', 'bremen')
    assert shown(images, 1, training=False, everything=True) == of('aachen', 'bremen', 'celle')
    other = images.chosen(['ulm/x.png'], STEPS[0].domains, training=False)
    assert other.tolist() == [True]  # of no domain of the scenario: tested at every step


@pytest.mark.parametrize('seed', [0, 1])
def test_no_image_is_ever_tested_that_was_trained_on(seed):
    images = DomainImages('folder', test_share=.2, seed=seed)
    trained = [shown(images, step, training=True) for step in range(3)]
    tested = [shown(images, step, training=False) for step in range(3)]
    assert [len(images) for images in trained] == [8, 4, 1]
    assert [len(images) for images in tested] == [2, 3, 3]  # one image alone is for training
    assert tested[0] < tested[1] == tested[2]
    assert not set.union(*trained) & tested[2]
    assert set.union(*trained) | tested[2] == set(NAMES)
    assert shown(images, 0, training=False, everything=True) == tested[2]


def test_the_draw_depends_on_the_seed_alone():
    drawn = [shown(DomainImages('folder', test_share=.2, seed=seed), 0, training=False) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    images = DomainImages('folder', test_share=.2)
    back = images.chosen(NAMES[::-1], STEPS[0].domains, training=False)[::-1]
    assert {NAMES[i] for i in np.flatnonzero(back)} == drawn[0]
    alone = images.chosen(NAMES[:10], STEPS[0].domains, training=False)
    assert {NAMES[i] for i in np.flatnonzero(alone)} == drawn[0]


def test_an_image_that_stands_in_two_data_sets_is_drawn_once():
    images = DomainImages('folder', test_share=.2)
    twice = images.chosen(NAMES + NAMES, STEPS[0].domains, training=True)
    assert np.array_equal(twice[:16], twice[16:])


@pytest.mark.parametrize('training, share', [(True, 0.), (False, .2)])
def test_a_domain_without_images(training, share):
    steps = DomainIncremental.from_config(('road', ), domains=['aachen', 'dresden'])
    with pytest.raises(ValueError, match=r"no image is of the domains \['dresden'\]; the rule finds \['aachen', 'bremen'"):
        DomainImages('folder', test_share=share).chosen(NAMES, steps[1].domains, training)


# Each data set is a domain.


def data_sets(root, *cities):
    """Data sets side by side, all of whose images have the same names; the second one stands there twice."""
    configs = [folder_config(root / city, {'x': (0, 1), 'y': (2, 255), 'z': (3, 4)}, pipeline=PIPELINE) for city in cities]
    configs[1] = dict(type='RepeatDataset', dataset=configs[1], times=2)
    return dict(type='ConcatDataset', datasets=configs)


def steps_of(**options):
    return DomainIncremental.from_config(tuple('abcd'), 'background', domains=[['aachen'], ['bremen', 'celle']],
                                         rule='dataset', **options)


def test_each_data_set_is_a_domain(tmp_path):
    images, steps = LabelledImages(data_sets(tmp_path, 'first', 'second', 'third')), steps_of()
    chosen = [images.select(TrainView(regime='sequential'), split, **steps.images(0)) for split in steps]
    assert [sorted(set(index[:, 0].tolist())) for index in chosen] == [[0], [1, 2, 3]]
    assert [len(index) for index in chosen] == [3, 9]


def test_the_test_images_of_data_sets_tell_their_domain(tmp_path):
    steps = steps_of(test_share=.34)
    dataset = StepDataset(data_sets(tmp_path, 'first', 'second', 'third'), steps[1].to_dict(), dict(role='test'),
                          **steps.images(1))
    assert [dataset[i]['data_samples'].domain for i in range(len(dataset))] == ['aachen', 'bremen', 'bremen', 'celle']
    tested = {dataset.get_data_info(i)['img_path'] for i in range(len(dataset))}
    training = StepDataset(data_sets(tmp_path, 'first', 'second', 'third'), steps[1].to_dict(),
                           dict(role='train', regime='sequential'), **steps.images(1))
    trained = {training.get_data_info(i)['img_path'] for i in range(len(training))}
    assert len(trained) == 4 and not tested & trained


def test_not_as_many_data_sets_as_domains(tmp_path):
    with pytest.raises(ValueError, match=r"scenario\.rule: 'dataset' makes each data set .* there are 2 data sets and 3 domains, "
                                         r"\['aachen', 'bremen', 'celle'\]\. List one for each in training and test data"):
        LabelledImages(data_sets(tmp_path, 'first', 'second')).select(TrainView(regime='sequential'), steps_of()[0],
                                                                **steps_of().images(0))
