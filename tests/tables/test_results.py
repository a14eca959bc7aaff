import json

import pytest
from mmengine.config import Config

from mmcss.files import write_json
from mmcss.tables import Entry, Job, entries_of, keep_result, kept_result, write_pages


def run_of(tmp_path, entry, all_, steps=2):
    """A work_dir with what a run leaves there."""
    job = Job(str(entry), Config(dict(name=str(entry))), tmp_path / 'run', 'first', entry)
    job.work_dir.mkdir(exist_ok=True)
    (job.work_dir / 'seconds.txt').write_text('60\n30\n')
    last = dict(step=1, mIoU_old=all_ + 1, mIoU_new=None, mIoU=all_)
    write_json(job.work_dir / 'results.json', dict(
        steps=[dict(step=0, mIoU=50.0), last][:steps], scenario=[['a'], ['b']], average=all_ / 2, mean_forgetting=2.0))
    return job


@pytest.fixture
def page(tmp_path):
    file = tmp_path / 'page.md'
    file.write_text('above\n<!-- results: main -->\nold\n<!-- end of main -->\nbelow\n')
    return file


def test_what_is_kept_of_a_run(write_table, tmp_path):
    table, entry = write_table(), Entry('rates@lr=0.1', 'shapes8_5-1', 3)
    job = run_of(tmp_path, entry, 40.0)
    keep_result(table, job, entry)
    result = json.loads((tmp_path / 'results' / 'small' / 'shapes8_5-1' / 'rates@lr=0.1_seed3.json').read_text())
    assert (result['title'], result['seed'], result['minutes'], result['first_step']) == ('PLOP, lr=0.1', 3, 1.5, 'first')
    assert result['options'] == {'train_cfg.max_epochs': 3, 'next_steps.optim_wrapper.optimizer.lr': 0.1}
    assert set(result['versions']) >= {'mmcss', 'torch'}
    assert kept_result(table, entry, job.digest) == kept_result(table, entry) == result
    assert kept_result(table, entry, 'of another config') is None
    assert kept_result(table, Entry('plop', 'shapes8_5-1', 0)) is None


def test_a_result_that_lacks_steps_is_none(write_table, tmp_path):
    table, entry = write_table(), Entry('plop', 'shapes8_5-1', 0)
    keep_result(table, run_of(tmp_path, entry, 40.0, steps=1), entry)
    assert kept_result(table, entry) is None


def test_pages_show_means_and_deviations(write_table, tmp_path, page):
    table = write_table(f'pages: {{main: {{file: {page}, scenario: shapes8_5-1, rows: [plop, rates]}}}}\n')
    for entry, all_ in ((Entry('plop', 'shapes8_5-1', 0), 40.0), (Entry('plop', 'shapes8_5-1', 1), 42.0),
                        (Entry('rates@lr=0.1', 'shapes8_5-1', 3), 30.0)):
        keep_result(table, run_of(tmp_path, entry, all_), entry)
    assert write_pages(table, entries_of(table)) == [str(page)]
    assert page.read_text() == '''above
<!-- results: main -->

| method       |        old | new |        all |        avg | forgetting | runs |       min |
| :------------|----------: |---: |----------: |----------: |----------: |----: |---------: |
| plop         | 42.0 ± 1.4 |   - | 41.0 ± 1.4 | 20.5 ± 0.7 |  2.0 ± 0.0 |    2 | 1.5 ± 0.0 |
| PLOP, lr=0.1 |       31.0 |   - |       30.0 |       15.0 |        2.0 |    1 |       1.5 |
| PLOP, lr=0.2 |          - |   - |          - |          - |          - |    0 |         - |

- PLOP, lr=0.1: rates
- PLOP, lr=0.2: rates
- PLOP, lr=0.2: 0 of 1 runs are trained so far.

<!-- end of main -->
below
'''
    before = page.read_text()
    write_pages(table, entries_of(table))
    assert page.read_text() == before


def test_a_page_without_the_markers(write_table, page):
    table = write_table(f'pages: {{other: {{file: {page}, scenario: shapes8_5-1}}}}\n')
    with pytest.raises(ValueError, match="page.md: there are no lines '<!-- results: other -->' and, behind it, "):
        write_pages(table, entries_of(table))
