"""States and fates of steps by what lies in a work_dir, laid out by hand: nothing is trained."""
import zipfile

import pytest
import torch

from mmcss.engine import ContinualRunner, progress as progress_module
from mmcss.engine.step_state import Fate, State
from mmcss.files import write_json
from mmcss.models import save_hand_over
from tests.tiny import MIB, tiny_config


@pytest.fixture
def progress_of(tiny_data, tmp_path):
    """Progress of a run in ``tmp_path/run`` of three steps."""

    def make(resume=False, folder='run', method=None, **options):
        changes = dict(continual=method) if method else {}
        cfg = tiny_config(tiny_data, tmp_path / folder, resume=resume, run=options, **changes)
        return ContinualRunner.from_cfg(cfg).progress

    return make


def lay(progress, step, *files, weights=1., parent=None):
    """Lay out what a step leaves: 'begun', 'copied', 'checkpoint', 'hand-over', 'result'."""
    folder, parent = progress.folder(step), parent or progress.parent_id(step)
    if {'begun', 'copied'} & {*files}:
        folder.begin(progress.about(step), None if 'copied' in files else {}, parent)
    if 'checkpoint' in files:
        with zipfile.ZipFile(folder.path / 'epoch_1.pth', 'w') as file:
            file.writestr('a', 'b')
    if 'hand-over' in files:
        classes = list(progress.scenario[step].seen)
        save_hand_over(folder.hand_over, dict(a=torch.tensor(weights)), dict(classes=classes, parent=parent))
    if 'result' in files:
        write_json(folder.result, dict(hand_over=folder.id, protocol=progress.protocol, mIoU=1., classes=classes,
                                       IoU=[1.] * len(classes), scored=[True] * len(classes)))


def held(progress):
    """Names of all files below the work_dir, without the time at which something was replaced."""
    paths = [path.relative_to(progress.work_dir).parts for path in progress.work_dir.rglob('*') if path.is_file()]
    return sorted('/'.join(['replaced', *parts[2:]] if parts[0] == 'replaced' else parts) for parts in paths)


@pytest.mark.parametrize('files, options, expected, becomes', [
    ([], {}, State.START, Fate.DELETED),
    (['begun', 'checkpoint'], {}, State.START, Fate.DELETED),
    (['begun', 'checkpoint'], dict(resume=True), State.RESUME, Fate.KEPT),
    (['begun', 'checkpoint'], dict(overwrite=True), State.START, Fate.MOVED),
    (['begun', 'hand-over'], dict(resume=True), State.EVALUATE, Fate.KEPT),
    (['begun', 'hand-over', 'result'], dict(resume=True), State.FINISHED, Fate.KEPT),
    (['copied', 'hand-over', 'result'], dict(resume=True), State.FINISH, Fate.KEPT),
    (['begun', 'hand-over', 'result'], {}, State.START, Fate.REFUSED),
    (['hand-over'], dict(resume=True), State.EVALUATE, Fate.KEPT),
])
def test_the_state_of_what_lies_there(progress_of, files, options, expected, becomes):
    lay(progress_of(), 0, *files)
    progress = progress_of(**options)
    assert (progress.state(0), progress.fate(0)) == (expected, becomes)


@pytest.mark.parametrize('weights, method, options, expected, becomes', [
    (None, None, {}, State.TAKE, Fate.DELETED),
    (1., None, {}, State.FINISH, Fate.KEPT),
    (2., None, {}, State.TAKE, Fate.REFUSED),
    (2., None, dict(overwrite=True), State.TAKE, Fate.MOVED),
    (1., MIB, dict(overwrite=True), State.TAKE, Fate.MOVED),
    (1., None, dict(overwrite=True, steps='0-1'), State.TAKE, Fate.MOVED),
])
def test_the_state_of_what_is_taken_over(progress_of, tmp_path, weights, method, options, expected, becomes):
    lay(progress_of(folder='source'), 0, 'begun', 'hand-over')
    if weights is not None:
        lay(progress_of(), 0, 'copied', 'hand-over', weights=weights)
    options = dict(dict(steps='1', first_step_from=str(tmp_path / 'source')), **options)
    progress = progress_of(method=method, **options)
    assert (progress.state(0), progress.fate(0)) == (expected, becomes)


def test_what_is_taken_over_is_read_once(progress_of, tmp_path, monkeypatch):
    reads, load = [], progress_module.load_first_step
    monkeypatch.setattr(progress_module, 'load_first_step',
                        lambda path, *names: (reads.append(path.name), load(path, *names))[1])
    for folder in ('source', 'run'):
        lay(progress_of(folder=folder), 0, 'begun', 'hand-over')
    progress = progress_of(resume=True, first_step_from=str(tmp_path / 'source'))
    assert [progress.state(0) for _ in range(3)] == [State.EVALUATE] * 3 and reads == ['step_0.pth']
    lay(progress_of(folder='source'), 0, 'hand-over', weights=2.)
    with pytest.raises(ValueError, match='differs from the step 0 of .*source.step_0.step_0.pth; leave'):
        progress.state(0)


def test_a_finished_step_that_is_stale_is_moved_aside_when_its_turn_comes(progress_of, capsys):
    first = progress_of()
    lay(first, 0, 'begun', 'hand-over', 'result')
    lay(first, 1, 'begun', 'hand-over', 'result', parent='another')
    progress = progress_of(resume=True)
    progress.make_room()
    assert progress.state(1) is State.START and progress.folder(1).handed_over
    progress.begin(1, {})
    told = capsys.readouterr().out
    assert 'note: step 1 was trained on top of another step 0 than the one that is there now\nnote: what was in' in told
    names = ['result.json', 'step.json']
    assert held(progress) == sorted([*(f'replaced/step_1/{name}' for name in [*names, 'step_1.pth']),
                                     *(f'step_0/{name}' for name in [*names, 'step_0.pth']), 'step_1/step.json'])


@pytest.mark.parametrize('steps, moved', [(None, [0, 1, 2, 3]), ('1', [1]), ('0-1', [0, 1])])
def test_overwriting_moves_what_is_asked_for(progress_of, steps, moved):
    first = progress_of()
    for step in range(2):
        lay(first, step, 'begun', 'hand-over')
    lay(first, 2, 'begun', 'checkpoint')
    (first.work_dir / 'step_3').mkdir()
    (first.work_dir / 'step_3' / 'step_3.pth').touch()  # of a scenario of more steps
    files = held(first)
    progress = progress_of(overwrite=True, **(dict(steps=steps) if steps else {}))
    progress.make_room()
    assert held(progress) == sorted(f'replaced/{name}' if int(name[5]) in moved else name for name in files)
    progress.make_room()  # nothing is left to move


def test_what_can_not_be_read_is_moved_aside_as_well(progress_of):
    lay(progress_of(), 0, 'begun', 'hand-over')
    for name in ('step_0.pth', 'step.json'):
        (progress_of().folder(0).path / name).write_bytes(b'half')
    with pytest.raises(ValueError, match=r'step_0\.pth can not be read'):
        progress_of().make_room()
    progress = progress_of(overwrite=True)
    progress.make_room()
    assert held(progress) == ['replaced/step_0/step.json', 'replaced/step_0/step_0.pth']


@pytest.mark.parametrize('method, whose', [(None, ''), (MIB, 'of another scenario or method ')])
def test_what_would_be_replaced_unasked(progress_of, method, whose):
    first = progress_of()
    lay(first, 0, 'begun', 'hand-over')
    lay(first, 1, 'begun', 'checkpoint')
    files, progress = held(first), progress_of(method=method)
    told = (f'{progress.work_dir} holds finished steps {whose}that this run would train anew: [0]. --resume goes on with '
            f'what is left of the same run, --overwrite moves the old steps to {progress.work_dir / "replaced"} first; or '
            'give another --work-dir.')
    assert progress.refusal() == told
    with pytest.raises(ValueError) as error:
        progress.make_room()
    assert str(error.value) == told and held(progress) == files
    assert progress_of(resume=True).refusal() is progress_of(overwrite=True).refusal() is None
