import pytest

from mmcss.scenario import ClassIncremental, Split, parse_short_form

NAMES = tuple('abcdefg')


def make(**options):
    return ClassIncremental.from_config(NAMES, **options)


def test_base_and_increment():
    scenario = make(base=3, increment=2)
    assert len(scenario) == 3
    assert [split.new for split in scenario] == [('background', 'a', 'b', 'c'), ('d', 'e'), ('f', 'g')]
    split = scenario[1]
    assert split.old == ('background', 'a', 'b', 'c')
    assert split.seen == split.old + split.new
    assert split.future == ('f', 'g')
    assert split.base == split.old
    assert (split.num_old, split.num_new, split.num_seen) == (4, 2, 6)


def test_last_step_takes_what_is_left():
    assert [len(split.new) for split in make(base=4, increment=2)] == [5, 2, 1]


@pytest.mark.parametrize('text, numbers', [('15-1', (15, 1)), ('100-50', (100, 50)), (' 6-1 ', (6, 1))])
def test_short_form(text, numbers):
    assert parse_short_form(text) == numbers


def test_short_form_equals_base_and_increment():
    assert make(steps='3-2') == make(base=3, increment=2)


@pytest.mark.parametrize('text', ['15', '15-', 'a-b', '15-1-1'])
def test_bad_short_form(text):
    with pytest.raises(ValueError, match='BASE-INCREMENT'):
        parse_short_form(text)


def test_explicit_steps_may_leave_classes_out():
    scenario = make(steps=[['c', 'a'], ['g']])
    assert scenario[1].seen == ('background', 'c', 'a', 'g')
    assert scenario[1].future == ()


def test_class_order_by_name_and_by_position():
    order = ['g', 'f', 'e', 'd', 'c', 'b', 'a']
    assert make(base=5, increment=2, class_order=order) == make(base=5, increment=2, class_order=[7, 6, 5, 4, 3, 2, 1])


def test_without_background():
    scenario = ClassIncremental.from_config(NAMES, None, base=5, increment=2)
    assert scenario[0].seen == NAMES[:5]


def test_joint_is_one_step_that_still_knows_its_base():
    scenario = make(base=3, increment=2, joint=True)
    assert len(scenario) == 1
    assert scenario[0].new == ('background', ) + NAMES
    assert scenario[0].base == ('background', 'a', 'b', 'c')
    assert scenario[0].future == ()


def test_lists_of_images_are_kept_by_step():
    files = ['step_0.txt', 'step_1.txt', 'step_2.txt']
    assert make(base=3, increment=2, images_per_step=files).images_per_step == tuple(files)
    assert make(base=3, increment=2).images_per_step is None


def test_foreground_leaves_the_background_out():
    split = make(base=3, increment=2)[0]
    assert split.foreground(split.new) == ('a', 'b', 'c')


def test_split_survives_json():
    split = make(base=3, increment=2)[1]
    assert Split.from_dict(split.to_dict()) == split


@pytest.mark.parametrize('options, message', [
    (dict(steps=[['a', 'b'], ['c', 'a']]), r"class 'a' is in steps 0 and 1; a class enters once"),
    (dict(steps=[['a', 'x']]), r"scenario.steps: \['x'\] are no foreground classes"),
    (dict(steps=[['a'], []]), 'step 1 has no class'),
    (dict(steps=[]), 'got no step, expected at least one'),
    (dict(steps='3-2', base=3), "steps='3-2' sets base and increment; remove these or steps"),
    (dict(steps=[['a']], base=1), 'got a list of steps and base'),
    (dict(base=8), 'has 7 foreground classes'),
    (dict(base=3), 'scenario.increment: got None'),
    (dict(), 'give base and increment, or steps'),
    (dict(base=3, increment=2, regime='mixed'), "got 'mixed', valid are overlapped, disjoint, sequential"),
    (dict(base=3, increment=2, class_order=['a', 'a', 'b', 'c', 'd', 'e', 'f']), r"twice: \['a'\], missing: \['g'\]"),
    (dict(base=3, increment=2, class_order=[0, 1, 2, 3, 4, 5, 6]), 'got position 0, expected 1 to 7'),
    (dict(base=3, increment=2, class_order=['x']), r"scenario.class_order: \['x'\]"),
    (dict(base=3, increment=2, images_per_step=['0.txt', '1.txt']), 'images_per_step: got 2 files, expected 3, one'),
    (dict(base=3, increment=2, test_share=1.0), 'test_share: got 1.0, expected at least 0 and less than 1'),
    (dict(base=3, increment=2, images_per_step=[]), 'images_per_step: got 0 files, expected 3'),
    (dict(base=7, images_per_step=['0.txt'], joint=True), 'remove images_per_step or joint=True'),
    (dict(base=3, increment=2, images_per_step='abc'), "images_per_step: got 'abc', expected a list of names of text"),
    (dict(base=3, increment=2, images_per_step=['0.txt', None, '2.txt']), r"got \('0.txt', None, '2.txt'\), expected"),
    (dict(base=3, increment=2, images_per_step=['0.txt', '', '2.txt']), 'expected a list of names of text files'),
    (dict(base=3, increment=2, images_per_step=dict.fromkeys('abc')), 'expected a list of names of text files'),
])
def test_errors_say_what_is_wrong(options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)


def test_step_out_of_range():
    with pytest.raises(IndexError, match='scenario of 3 steps'):
        make(base=3, increment=2)[3]
