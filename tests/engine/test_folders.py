"""What is read of a step's folder, and what goes when it begins anew."""
import errno
import json
import zipfile

import pytest
import torch

from mmcss.engine import folders
from mmcss.engine.folders import StepFolder, full_disk_reported
from mmcss.files import write_json
from mmcss.models import save_hand_over
from mmcss.version import versions

CLASSES = ['background', 'a']
RESULT = dict(hand_over='x', protocol={}, mIoU=1., classes=CLASSES, IoU=[1., 2.], scored=[True, True])


def hand_over(folder, value=1., parent=None):
    return save_hand_over(folder.hand_over, dict(a=torch.tensor(value)), dict(classes=CLASSES, parent=parent))['id']


def checkpoint(path):
    with zipfile.ZipFile(path, 'w') as file:
        file.writestr('a', b'0123456789')


def test_a_step_is_trained_from_the_one_before_as_it_is_now(tmp_path):
    folder = StepFolder(tmp_path, 1)
    assert not folder.handed_over and folder.id is None and folder.trained_id(CLASSES, 'p') is None
    own = hand_over(folder, parent='p')
    assert folder.handed_over and folder.id == own == folder.trained_id(CLASSES, 'p')
    assert folder.trained_id(CLASSES, 'q') is None and folder.trained_id(CLASSES[:1], 'p') is None
    assert hand_over(folder, 2., 'p') == folder.id != own  # read again when it has changed


def test_a_damaged_hand_over_is_no_untrained_step(tmp_path):
    folder = StepFolder(tmp_path, 0)
    hand_over(folder)
    folder.hand_over.write_bytes(folder.hand_over.read_bytes()[:100])
    assert folder.handed_over
    for read in (lambda: folder.id, lambda: folder.trained_id(CLASSES, None)):
        with pytest.raises(ValueError, match=r'step_0\.pth can not be read'):
            read()


def test_a_result_of_another_hand_over_or_protocol_is_none(tmp_path):
    folder = StepFolder(tmp_path, 0)
    assert folder.current_result('x', {}) is None
    write_json(folder.result, RESULT)
    assert folder.current_result('x', {}) == RESULT
    assert folder.current_result('y', {}) is folder.current_result(None, {}) is None
    assert folder.current_result('x', dict(future='ignore')) is None


@pytest.mark.parametrize('change', [dict(IoU=[1.]), dict(scored=None), dict(classes='ab'), dict(mIoU=None)])
def test_a_result_without_its_numbers_is_damaged(tmp_path, change):
    folder = StepFolder(tmp_path, 0)
    write_json(folder.result, dict(RESULT, **change))
    with pytest.raises(ValueError, match=r'result\.json is damaged: it lacks the IoU .*mmcss test --step 0'):
        folder.current_result('x', {})


@pytest.mark.parametrize('content', [b'', b'[]', b'\x82'])
def test_a_damaged_note_is_named(tmp_path, content):
    folder = StepFolder(tmp_path, 0)
    folder.begin({})
    folder.record.write_bytes(content)
    for read in (lambda: folder.settings, lambda: folder.unfinished, lambda: folder.differences({}), folder.checkpoint):
        with pytest.raises(ValueError, match=r'step\.json is damaged.*--overwrite'):
            read()


def test_the_last_whole_checkpoint_of_the_same_parent(tmp_path):
    folder = StepFolder(tmp_path, 1)
    folder.begin({}, {}, parent='p')
    assert folder.checkpoint('p') is None
    for number in (2, 9, 10):
        checkpoint(folder.path / f'epoch_{number}.pth')
    pointer = folder.path / 'last_checkpoint'
    pointer.write_text('/elsewhere/epoch_9.pth')
    assert folder.checkpoint('p') == folder.path / 'epoch_9.pth' and folder.checkpoint('q') is None
    pointer.write_bytes(b'\x82\x00')  # damaged: the newest one
    assert folder.checkpoint('p') == folder.path / 'epoch_10.pth'
    pointer.unlink()
    whole = (folder.path / 'epoch_10.pth').read_bytes()
    for damaged in (whole[:40], whole.replace(b'0123', b'0223')):
        (folder.path / 'epoch_10.pth').write_bytes(damaged)
        assert folder.checkpoint('p') == folder.path / 'epoch_9.pth'


def test_a_checkpoint_is_read_once_while_it_stays_the_same(tmp_path, monkeypatch):
    folder, reads, look = StepFolder(tmp_path, 0), [], folders._is_whole
    monkeypatch.setattr(folders, '_is_whole', lambda path: (reads.append(path.name), look(path))[1])
    folder.begin({}, {})
    checkpoint(folder.path / 'epoch_1.pth')
    assert [folder.checkpoint() for _ in range(3)] == [folder.path / 'epoch_1.pth'] * 3 and reads == ['epoch_1.pth']
    (folder.path / 'epoch_1.pth').write_bytes(b'half')
    assert folder.checkpoint() is None and len(reads) == 2


def test_beginning_anew_leaves_nothing_of_a_run_that_was_stopped(tmp_path):
    folder = StepFolder(tmp_path, 0)
    folder.begin(dict(step=0), {})
    for name in ('epoch_1.pth', 'best_mIoU_epoch_1.pth', 'memory.json', 'result.json', 'last_checkpoint',
                 'step_0.pth.partial'):
        (folder.path / name).touch()
    (folder.path / 'memory' / 'images').mkdir(parents=True)
    (folder.path / 'log').mkdir()
    folder.begin(dict(step=0), dict(lr=1), parent='p')
    assert {path.name for path in folder.path.iterdir()} == {'step.json', 'log'}
    assert json.loads(folder.record.read_text()) == dict(step=0, parent='p', settings=dict(lr=1), unfinished=False,
                                                        versions=versions())


def test_a_finished_step_is_moved_and_never_begun_over(tmp_path):
    folder = StepFolder(tmp_path, 0)
    folder.begin({}, {})
    own = hand_over(folder)
    with pytest.raises(FileExistsError, match='a finished step is not overwritten'):
        folder.begin({}, {})
    assert folder.id == own
    folder.move_aside(tmp_path / 'replaced' / 'now')
    assert not folder.path.exists() and StepFolder(tmp_path / 'replaced' / 'now', 0).id == own
    folder.begin({}, {})


@pytest.mark.parametrize('name, deleted', [
    *((name, True) for name in ('epoch_3.pth', 'best_mIoU_iter_9.pth', 'step_1.pth.partial', 'parts', 'result.json',
                                'memory.json', 'memory', 'last_checkpoint')),
    *((name, False) for name in ('step.json', 'deploy.py', 'plop_voc.py', 'vis_data', '20240101_120000', 'scalars.json',
                                 'result_tta.json', 'step_1.pth.bak', 'notes.txt'))])
def test_what_a_step_that_is_begun_anew_deletes(tmp_path, name, deleted):
    folder = StepFolder(tmp_path, 0)
    folder.begin({}, {})
    (folder.path / name).touch()
    folder.begin({}, {})
    assert (folder.path / name).exists() is not deleted


def test_a_full_disk_is_named_and_half_files_go(tmp_path):
    folder = tmp_path / 'step_0'
    folder.mkdir()
    with zipfile.ZipFile(folder / 'epoch_1.pth', 'w') as file:
        file.writestr('a', 'b')
    (folder / 'epoch_2.pth').write_bytes(b'PK half')
    (tmp_path / 'results.json.partial').touch()
    (folder / 'memory.partial' / 'images').mkdir(parents=True)
    with pytest.raises(OSError, match=f'no space left on the disk of {folder} .*epoch_2.pth') as caught:
        with full_disk_reported(tmp_path):
            raise OSError(errno.ENOSPC, 'No space left on device')  # mmengine's write names no file
    assert caught.value.errno == errno.ENOSPC
    assert sorted(path.name for path in tmp_path.rglob('*')) == ['epoch_1.pth', 'step_0']


@pytest.mark.parametrize('error', [ValueError('of the config'), OSError(errno.EIO, 'broken'), KeyboardInterrupt()])
def test_other_errors_leave_all_as_it_is(tmp_path, error):
    (tmp_path / 'step_0').mkdir()
    (tmp_path / 'step_0' / 'epoch_2.pth').write_bytes(b'PK half')
    with pytest.raises(type(error)) as caught, full_disk_reported(tmp_path):
        raise error
    assert caught.value is error and (tmp_path / 'step_0' / 'epoch_2.pth').exists()


def test_times_add_up(tmp_path):
    folder = StepFolder(tmp_path, 0)
    folder.begin(dict(step=0), {})
    for seconds in (1.54, 2.):
        folder.add_seconds(seconds)
    assert folder.read_record()['seconds'] == 3.5 and folder.read_record()['step'] == 0
