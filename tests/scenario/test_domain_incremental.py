import pytest

from mmcss.scenario import DomainIncremental, Domains, Split
from mmcss.scenario.domain_incremental import check_rule

CLASSES = ('road', 'sky')


def make(**changes):
    return DomainIncremental.from_config(CLASSES, **dict(dict(domains=['a', ['b', 'c'], 'd']), **changes))


def test_steps_bring_domains_and_no_classes():
    scenario = make()
    assert len(scenario) == 3 and scenario.regime == 'sequential'
    first, second, third = scenario
    assert first == Split(0, (), CLASSES, (), CLASSES, None, Domains((), ('a', ), ('b', 'c', 'd'), ('a', )))
    assert second == Split(1, CLASSES, (), (), CLASSES, None, Domains(('a', ), ('b', 'c'), ('d', ), ('a', )))
    assert third.domains == Domains(('a', 'b', 'c'), ('d', ), (), ('a', ))
    assert third.domains.seen == ('a', 'b', 'c', 'd')
    assert (second.num_new, second.num_seen, second.entering, first.entering) == (0, 2, ('b', 'c'), ('a', ))
    with pytest.raises(IndexError, match='step 3 is not in this scenario of 3 steps'):
        scenario[3]


def test_a_background_stands_first():
    assert make().classes == CLASSES
    scenario = DomainIncremental.from_config(CLASSES, 'background', domains=['a'])
    assert scenario[0].seen == ('background', 'road', 'sky') and scenario[0].background == 'background'
    assert (scenario[0].first_foreground, make()[0].first_foreground) == (1, 0)


def test_joint_training_takes_all_domains_in_one_step():
    scenario = make(joint=True)
    assert len(scenario) == 1
    assert scenario[0].domains == Domains((), ('a', 'b', 'c', 'd'), (), ('a', ))


def test_a_split_survives_json():
    for split in make():
        values = split.to_dict()
        assert Split.from_dict(values) == split
        assert values['domains']['new'] == list(split.domains.new) and type(values['domains']['old']) is list
    plain = Split(0, (), CLASSES, (), CLASSES)
    assert 'domains' not in plain.to_dict() and Split.from_dict(plain.to_dict()) == plain


def test_what_tells_the_images():
    scenario = make(rule=dict(prefix=6), test_share=.2, seed=3)
    assert scenario.images(1) == dict(domains=dict(rule=dict(prefix=6), test_share=.2, seed=3, partition='once'))


@pytest.mark.parametrize('changes, message', [
    (dict(domains=[]), r'scenario.domains: got \[\]'),
    (dict(domains=['a', []]), r"scenario.domains: got \[\['a'\], \[\]\]"),
    (dict(domains=['a', ['b', 'a']]), r"scenario.domains: \['a'\] are in two steps"),
    (dict(test_share=1.), 'scenario.test_share: got 1.0'),
    (dict(test_share=-.1), 'scenario.test_share: got -0.1'),
    (dict(partition='twice'), "scenario.partition: got 'twice', valid are once, published"),
    (dict(partition='published'), 'set test_share'),
    (dict(rule='name'), "scenario.rule: got 'name', valid are 'folder'"),
])
def test_bad_scenarios(changes, message):
    with pytest.raises(ValueError, match=message):
        make(**changes)


@pytest.mark.parametrize('rule', ['folder', 'dataset', dict(prefix=1), dict(regex='^(.)'), dict(lists=dict(a='a.txt'))])
def test_rules(rule):
    check_rule(rule)


@pytest.mark.parametrize('rule, message', [
    (dict(regex='^.'), 'has no group'), (dict(regex='('), 'is no regular expression'), (dict(prefix=0), 'got'),
    (dict(prefix='6'), 'got'), (dict(lists={}), 'got'), (dict(prefix=1, regex='(.)'), 'got'), ({}, 'got'), (6, 'got')])
def test_bad_rules(rule, message):
    with pytest.raises(ValueError, match=f'scenario.rule: .*{message}'):
        check_rule(rule)
