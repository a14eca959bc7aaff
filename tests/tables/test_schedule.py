import sys
import threading
import time
from pathlib import Path

import pytest
from mmengine.config import Config

from mmcss.tables import Job, Schedule

# Stands for `mmcss train`: notes when it began and ended, and what it was given.
TRAIN = '''
import os, sys, time
from pathlib import Path
file = Path(sys.argv[1])
log = file.parent.parent / 'order.txt'
with log.open('a') as order:
    order.write(f'{file.parent.name} begins {sys.argv[2]} on {os.environ.get("SLOT")}\\n')
time.sleep(float(os.environ.get('SECONDS', 0)))
if file.parent.name.startswith('bad'):
    print('first line')
    sys.exit('it went wrong')
with log.open('a') as order:
    order.write(f'{file.parent.name} ends\\n')
'''


@pytest.fixture
def train(tmp_path):
    (tmp_path / 'train.py').write_text(TRAIN)
    return [sys.executable, str(tmp_path / 'train.py')]


def jobs_of(tmp_path, **first_steps):
    return [Job(name, Config(dict(name=name)), tmp_path / name, first) for name, first in first_steps.items()]


def order(tmp_path):
    return (tmp_path / 'order.txt').read_text().splitlines()


def test_a_job_waits_for_its_step_0(train, tmp_path):
    reported = []
    jobs = jobs_of(tmp_path, first=None, plop='first')
    failed = Schedule(train, jobs, [dict(SLOT='a'), dict(SLOT='b')], lambda job, error: reported.append((job.name, error))).run()
    assert (failed, reported) == ([], [('first', ''), ('plop', '')])
    assert [line.rpartition(' on ')[0] or line for line in order(tmp_path)] == [
        'first begins --resume', 'first ends', 'plop begins --resume', 'plop ends']
    assert Config.fromfile(tmp_path / 'plop' / 'run.py').run.first_step_from == str(tmp_path / 'first')
    assert 'run' not in Config.fromfile(tmp_path / 'first' / 'run.py')
    assert jobs[1].config == Config(dict(name='plop')) or 'run' not in jobs[1].config


def test_what_depends_on_a_failed_run_is_left_out_and_the_others_go_on(train, tmp_path):
    errors = {}
    jobs = jobs_of(tmp_path, bad=None, plop='bad', mib=None)
    failed = Schedule(train, jobs, [{}], lambda job, error: errors.update({job.name: error})).run()
    assert failed == ['bad', 'plop']
    assert errors['bad'].splitlines() == [f'ended with 1; the last lines of {tmp_path}/bad/run.log:', '  first line',
                                          '  it went wrong']
    assert errors['plop'] == 'the run bad, whose step 0 it takes, has failed'
    assert errors['mib'] == '' and 'mib ends' in order(tmp_path)


def test_a_run_of_another_config_is_begun_anew(train, tmp_path):
    for number in (1, 1, 2):
        Schedule(train, [Job('plop', Config(dict(number=number)), tmp_path / 'plop')], [{}], lambda *_: None).run()
    begun = [line.split()[2] for line in order(tmp_path) if 'begins' in line]
    assert begun == ['--resume', '--resume', '--overwrite']
    assert len((tmp_path / 'plop' / 'seconds.txt').read_text().split()) == 3


def test_as_many_run_at_once_as_there_are_slots(train, tmp_path, monkeypatch):
    monkeypatch.setenv('SECONDS', '1')
    Schedule(train, jobs_of(tmp_path, a=None, b=None, c=None), [dict(SLOT='0'), dict(SLOT='1')], lambda *_: None).run()
    lines = order(tmp_path)
    assert sorted(line.split()[-1] for line in lines[:2]) == ['0', '1']
    assert [line.split()[1] for line in lines] == ['begins', 'begins', 'ends', *(line.split()[1] for line in lines[3:])]


def test_processes_end_with_the_schedule(train, tmp_path, monkeypatch):
    monkeypatch.setenv('SECONDS', '60')
    begun = time.time()

    def stop(*_):
        raise KeyboardInterrupt

    schedule = Schedule(train, [*jobs_of(tmp_path, slow=None), *jobs_of(tmp_path, other=None)], [{}, {}], stop)
    # As if a signal came while they train: one of them is ended, and what is called then stops the rest.
    def end_one():
        while not Path(tmp_path / 'order.txt').exists() or len(order(tmp_path)) < 2:
            time.sleep(0.05)
        schedule._processes[0].terminate()

    threading.Thread(target=end_one).start()
    with pytest.raises(KeyboardInterrupt):
        schedule.run()
    assert time.time() - begun < 30
    assert all(process.poll() is not None for process in schedule._processes)
