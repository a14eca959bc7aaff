import pytest
import torch
from mmengine.config import Config

from mmcss.files import write_json
from mmcss.tables import Entry, Job, Reporter, entries_of, keep_result, left_jobs, slots


def finish(table, job, all_=40.0):
    """Keep a result of a job, as if it had trained."""
    write_json(job.work_dir / 'results.json', dict(
        steps=[dict(step=0, mIoU=50.0), dict(step=1, mIoU_old=all_ + 1, mIoU_new=None, mIoU=all_)],
        scenario=[['a'], ['b']], average=all_ / 2, mean_forgetting=2.0))
    (job.work_dir / 'seconds.txt').write_text('60\n')


def test_what_has_a_result_is_not_trained_again(write_table):
    table = write_table()
    entries = entries_of(table, ['finetune', 'plop'], [0], ['shapes8_5-1'])
    first, *jobs = left_jobs(table, entries)
    assert [job.name for job in jobs] == ['shapes8_5-1/finetune_seed0', 'shapes8_5-1/plop_seed0']
    assert first.entry is None and {job.first_step for job in jobs} == {first.name}
    finish(table, jobs[0])
    keep_result(table, jobs[0], jobs[0].entry)
    assert [job.name for job in left_jobs(table, entries)] == [first.name, jobs[1].name]
    assert left_jobs(table, entries[:1]) == [], 'nor the step 0 that it took'


@pytest.mark.parametrize('devices, number, expected', [
    (0, None, [dict(OMP_NUM_THREADS='2')] * 2),
    (0, 1, [dict(OMP_NUM_THREADS='4')]),
    (2, None, [dict(OMP_NUM_THREADS='2', CUDA_VISIBLE_DEVICES='0'), dict(OMP_NUM_THREADS='2', CUDA_VISIBLE_DEVICES='1')]),
    (1, 2, [dict(OMP_NUM_THREADS='2', CUDA_VISIBLE_DEVICES='0')] * 2)])
def test_what_trains_side_by_side(monkeypatch, devices, number, expected):
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: devices)
    monkeypatch.setattr('os.sched_getaffinity', lambda _: set(range(4)))
    assert slots(number) == expected


def test_each_run_that_has_ended_has_a_line(write_table, tmp_path, capsys):
    table = write_table()
    report = Reporter(table, 3)
    entry = Entry('finetune', 'shapes8_5-1', 0)
    job = Job(str(entry), Config(dict(name='run')), tmp_path / 'run', None, entry)
    finish(table, job)
    report(Job('first', Config(dict()), tmp_path / 'first'), '')
    report(job, '')
    report(job, 'ended with 1')
    lines = [line.split('] ')[1] for line in capsys.readouterr().out.splitlines()]
    assert lines == ['first: trained', 'shapes8_5-1/finetune_seed0: old 41.0, all 40.0', f'{job.name}: ended with 1']
