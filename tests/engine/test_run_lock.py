"""One run at a time in a folder, whoever died there before."""
import json
import os
import socket
import subprocess
import sys
import time

import pytest

from mmcss.engine import run_lock
from mmcss.engine.run_lock import RunLock


def held_by(folder, **changes):
    folder.mkdir(exist_ok=True)
    holder = dict(process=os.getpid(), host=socket.gethostname(), since='then', began=run_lock._began(os.getpid()))
    (folder / 'run.lock').write_text(json.dumps(dict(holder, **changes)))


def taken(folder):
    """Whether a lock can be taken; it is given back."""
    lock = RunLock(folder)
    try:
        lock.take()
    except ValueError:
        return False
    lock.give_back()
    return True


def test_a_second_run_is_refused_until_the_first_one_ends(tmp_path):
    first = RunLock(tmp_path / 'run')
    first.take()
    with pytest.raises(ValueError, match=f'run is in use: process {os.getpid()} on {socket.gethostname()} has been .* since 20'):
        RunLock(tmp_path / 'run').take()
    first.give_back()
    assert not list((tmp_path / 'run').iterdir()) and taken(tmp_path / 'run')


def test_the_lock_of_a_process_that_was_killed_is_taken_over(tmp_path):
    code = ('import sys, os, signal; from pathlib import Path; from mmcss.engine.run_lock import RunLock; '
            'RunLock(Path(sys.argv[1])).take(); os.kill(os.getpid(), signal.SIGKILL)')
    subprocess.run([sys.executable, '-c', code, str(tmp_path)])
    assert (tmp_path / 'run.lock').is_file()
    assert taken(tmp_path) and not list(tmp_path.iterdir())


@pytest.mark.skipif(not os.path.exists('/proc/self/stat'), reason='this system does not tell when a process began')
def test_a_number_that_another_process_has_now(tmp_path):
    held_by(tmp_path, began=1)
    assert taken(tmp_path)


def test_a_damaged_lock_of_nobody(tmp_path):
    (tmp_path / 'run.lock').write_text('{"pro')
    lock = RunLock(tmp_path)
    with pytest.raises(ValueError, match='is in use: process None on None'):
        lock.take()  # it may be another machine's, half read
    os.utime(tmp_path / 'run.lock', (1, 1))
    assert taken(tmp_path)


def test_another_machine_s_lock_counts_while_it_shows_signs_of_life(tmp_path):
    held_by(tmp_path, host='elsewhere', process=1)
    with pytest.raises(ValueError, match=r'process 1 on elsewhere .* If it has ended, its lock expires 120 s after its last sign of life'):
        RunLock(tmp_path).take()
    os.utime(tmp_path / 'run.lock', (time.time() - 200, ) * 2)
    assert taken(tmp_path)


def test_a_running_process_shows_signs_of_life(tmp_path, monkeypatch):
    monkeypatch.setattr(run_lock, 'BEAT', .01)
    lock = RunLock(tmp_path)
    lock.take()
    os.utime(lock.path, (1, 1))
    deadline = time.time() + 5
    while lock.path.stat().st_mtime < 2 and time.time() < deadline:
        time.sleep(.01)
    assert lock.path.stat().st_mtime > 2
    lock.give_back()


def test_a_file_system_that_is_away_for_a_moment_does_not_end_the_signs_of_life(tmp_path, monkeypatch):
    calls, touch = [], os.utime

    def away_at_first(*args):
        calls.append(args)
        if len(calls) == 1:
            raise OSError('stale file handle')
        touch(*args)

    monkeypatch.setattr(run_lock, 'BEAT', .01)
    monkeypatch.setattr(run_lock.os, 'utime', away_at_first)
    lock = RunLock(tmp_path)
    lock.take()
    deadline = time.time() + 5
    while len(calls) < 3 and time.time() < deadline:
        time.sleep(.01)
    lock.give_back()
    assert len(calls) >= 3


def test_a_lock_that_another_run_has_taken_over_is_left_alone(tmp_path):
    lock = RunLock(tmp_path)
    lock.take()
    held_by(tmp_path, process=1)
    lock.give_back()
    assert json.loads((tmp_path / 'run.lock').read_text())['process'] == 1


def test_a_faster_run_s_lock_is_put_back(tmp_path):
    held_by(tmp_path, process=1)
    lock = RunLock(tmp_path)
    lock._remove(dict(process=2))
    assert json.loads((tmp_path / 'run.lock').read_text())['process'] == 1 and len(list(tmp_path.iterdir())) == 1


def test_file_systems_without_links(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError('no links here')

    monkeypatch.setattr(os, 'link', refuse)
    lock = RunLock(tmp_path)
    lock.take()
    with pytest.raises(ValueError, match='in use'):
        RunLock(tmp_path).take()
    lock._remove(dict(process=2))  # another one's: it is put back
    assert lock._is_held()
    lock.give_back()
    assert not list(tmp_path.iterdir())
