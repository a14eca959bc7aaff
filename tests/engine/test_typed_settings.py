"""Each setting of mmcss's own: its kind, its range and its default."""
from __future__ import annotations

import pytest

from mmcss.arguments import make
from mmcss.engine.typed_settings import MemorySettings, MethodSettings, RunSettings, UnknownSettings
from mmcss.scenario import TrainView

KINDS = {'memory': MemorySettings, 'unknown': UnknownSettings, 'continual': MethodSettings, 'run': RunSettings}
NEEDED = {'memory': dict(size=4), 'unknown': dict(of='background')}
CLASS = dict(unknown=UnknownSettings(of='background'))


def read(place, **given):
    """Settings of one kind, with what they need."""
    return make(KINDS[place], {**NEEDED.get(place, {}), **given}, place)


@pytest.mark.parametrize('place, given', [
    ('memory', dict(size=0)), ('memory', dict(share=.01)), ('memory', dict(share=.99)), ('memory', dict(policy='herding')),
    ('memory', dict(labels='seen')), ('memory', dict(iterations='all_new')), ('memory', dict(export=True)),
    ('unknown', dict(of='saliency', folder='../maps')), ('unknown', dict(scores='softmax')),
    ('continual', dict(frozen=('shared', 'old'))), ('continual', dict(row_lr=dict(background=0, old=1e-4))),
    ('continual', dict(new_rows='copy_background', average='all')), ('continual', dict(stages=['backbone.layer4'])),
    ('continual', dict(CLASS, memory=MemorySettings(size=3, labels='unshifted'))),
    ('run', dict(steps=2)), ('run', dict(steps='1-4')), ('run', dict(classes=['cat'])), ('run', dict(classes='names.txt')),
    ('run', dict(hand_over='best', overwrite=True, skip_broken=True)),
])
def test_what_is_taken(place, given):
    found = read(place, **given)
    assert {key: getattr(found, key) for key in given} == given


@pytest.mark.parametrize('place, given, message', [
    ('memory', dict(size=-1), 'memory.size: got -1, expected a number greater than or equal to 0.'),
    ('memory', dict(size=1.5), 'memory.size: got 1.5, expected an integer'),
    ('memory', dict(size=float('nan')), 'memory.size: got nan, expected an integer'),
    ('memory', dict(size='5'), "memory.size: got '5', expected an integer"),
    ('memory', dict(size=True), 'memory.size: got True, expected an integer'),
    ('memory', dict(share=0), 'memory.share: got 0, expected a number greater than 0'),
    ('memory', dict(share=1), 'memory.share: got 1, expected a number less than 1'),
    ('memory', dict(share=None), 'memory.share: got None, expected a number'),
    ('memory', dict(policy='best'), "memory.policy.type: got 'best', which is not registered, did you mean 'cbes'?; valid are cbes, "),
    ('memory', dict(policy=[]), 'memory.policy: got [], expected a string'),
    ('memory', dict(labels='all'), "memory.labels: got 'all', expected 'stored' or 'seen' or 'unshifted'."),
    ('memory', dict(iterations='all'), "memory.iterations: got 'all', expected 'kept' or 'all_new'."),
    ('memory', dict(export='no'), "memory.export: got 'no', expected True or False."),
    ('memory', dict(export=True, labels='seen'), "memory.labels: got 'seen', which copies of images don't have; remove export."),
    ('memory', dict(labels='unshifted', policy='herding'), 'memory.policy: Herding would use wrong classes'),
    ('unknown', dict(of='maps'), "unknown.of: got 'maps', expected 'background', 'saliency' or 'nothing'."),
    ('unknown', dict(scores='tanh'), "unknown.scores: got 'tanh', expected 'sigmoid' or 'softmax' or 'none'."),
    ('unknown', dict(folder=3), 'unknown.folder: got 3, expected a string.'),
    ('continual', dict(frozen='shared'), "continual.frozen: got 'shared', expected a list."),
    ('continual', dict(frozen=[['old']]), "continual.frozen[0]: got ['old'], expected a string."),
    ('continual', dict(row_lr=-1), 'continual.row_lr: got -1, expected a dict.'),
    ('continual', dict(row_lr=dict(background=None)), 'continual.row_lr.background: got None, expected a number.'),
    ('continual', dict(row_lr=dict(old=-1)), 'continual.row_lr.old: got -1, expected a number greater than or equal to 0.'),
    ('continual', dict(stages=1), 'continual.stages: got 1, expected a list.'),
    ('continual', dict(new_rows='zero'), "continual.new_rows: got 'zero', expected 'random' or 'background' or"),
    ('continual', dict(average='some'), "continual.average: got 'some', expected 'valid' or 'all'."),
    ('continual', dict(memory=MemorySettings(size=3, labels='unshifted')), 'a mistake of released code about the unknown class'),
    ('continual', dict(online=dict(type='UniformReplay')), 'continual.online: got a replay without a memory; set continual.memory.'),
    ('run', dict(step='1'), "run.step: there is no such setting, did you mean 'steps'?; valid are steps, first_step_from"),
    ('run', dict(steps=1.5), 'run.steps: got 1.5, expected an integer, or a string.'),
    ('run', dict(hand_over='first'), "run.hand_over: got 'first', expected 'last' or 'best'."),
    ('run', dict(first_step_from=0), 'run.first_step_from: got 0, expected a string, or a path.'),
])
def test_what_is_refused(place, given, message):
    with pytest.raises(ValueError) as error:
        read(place, **given)
    assert message in str(error.value)


def test_what_is_needed():
    for place, needed in (('memory', 'size'), ('unknown', 'of')):
        with pytest.raises(ValueError, match=f'{place}: got {{}}, which lacks {needed}'):
            make(KINDS[place], {}, place)


def test_defaults():
    """What is not said; those of labels are the view's."""
    assert read('memory') == MemorySettings(4, 'class_balanced', 'stored', .5, 'kept', False)
    assert read('unknown') == UnknownSettings('background', 'saliency_map', 'sigmoid')
    method, view = read('continual'), TrainView()
    assert (method.ignore_as_background, method.keep_old_labels) == (view.ignore_as_background, view.keep_old_labels)
    assert (method.new_rows, method.average, method.over_processes, method.parts) == ('random', 'valid', True, {})
    assert read('run') == RunSettings(None, None, None, False, 'last', False, True)


def test_parts_go_by_their_keys():
    losses = dict(kd=dict(type='KnowledgeDistillation'))
    method = read('continual', targets=dict(type='IgnoreBackground'), losses=losses)
    assert method.parts == {'targets': dict(type='IgnoreBackground'), 'losses.kd': losses['kd']}


@pytest.mark.parametrize('kind', KINDS.values())
def test_settings_do_not_change(kind):
    assert kind.__dataclass_params__.frozen
