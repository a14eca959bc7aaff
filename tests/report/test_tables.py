from dataclasses import replace

import numpy as np
import pytest

from mmcss.report import read_runs
from mmcss.report.tables import Table, classes_csv, method_table, run_table, scores_csv, shares_of_labels, step_table, taken_table
from tests.report.work_dirs import make_run


@pytest.fixture
def runs(tmp_path):
    other = [[[70, 30], [10, 90]], [[90, 10, 0], [60, 30, 10], [0, 100, 100]]]
    folders = [make_run(tmp_path / 'a'), make_run(tmp_path / 'b', seed=1, confusions=other),
               make_run(tmp_path / 'c', method=dict(new_rows='background'), steps=1)]
    return read_runs([(None, folder) for folder in folders])


def test_scores_of_runs(runs):
    assert run_table(runs).rows == [
        ['a', '1-1 classes, overlapped', 'default', 'paper', 0, '2 of 2', 37.5, 71.43, 48.81, 61.335, 36.3636],
        ['b', '1-1 classes, overlapped', 'default', 'paper', 1, '2 of 2', 35.27, 47.62, 39.38, 52.905, 31.1657],
        ['c', '1-1 classes, overlapped', 'default', 'paper', 0, '1 of 2', 73.86, None, 73.86, 73.86, None]]


def test_means_over_runs_of_a_method(runs):
    assert method_table(runs).rows == [
        ['a', 2, '36.4 ± 1.6', '59.5 ± 16.8', '44.1 ± 6.7', '57.1 ± 6.0', '33.8 ± 3.7'],
        ['c', 1, 73.86, None, 73.86, 73.86, None]]
    assert method_table(runs[1:]) is None


def test_steps_of_a_run(runs):
    assert step_table(runs[0]).rows == [
        [0, 5, 73.86, None, 73.86, 3, 1000., 1.5, 3., 'background, disc'],
        [1, 6, 37.5, 71.43, 48.81, 2, 750., 3., 2., 'star']]
    many = replace(runs[0].last, entering=tuple('abcdefghi'))
    assert step_table(replace(runs[0], steps=(many, ))).rows[0][-1] == 'a, b, c, d, e, f, ... (9)'


def test_which_class_took_which_pixels(runs):
    assert taken_table(runs[0].last).rows == [
        ['disc', 'background', 'old to old', 60., 60], ['star', 'disc', 'new to old', 25., 50],
        ['background', 'disc', 'old to old', 10., 10], ['disc', 'star', 'old to new', 10., 10]]
    assert len(taken_table(runs[0].last, most=1).rows) == 1
    assert np.array_equal(shares_of_labels(np.array([[1, 3], [0, 0]])), [[25., 75.], [np.nan, np.nan]], equal_nan=True)


def test_markdown_has_one_decimal():
    assert Table(['run', 'all'], [['a|b', 1.25], ['c', None], ['d', 3]]).markdown() == '\n'.join([
        '| run  | all |', '| :----|---: |', r'| a\|b | 1.2 |', '| c    |   - |', '| d    |   3 |'])


def test_csv_files(runs):
    assert scores_csv(runs[:1]) == (
        'run,method,scenario,protocol,profile,seed,step,old,new,all,test_images,seconds,memory_mib\n'
        'a,a,"1-1 classes, overlapped",default,paper,0,0,73.86,,73.86,5,90.0,3072\n'
        'a,a,"1-1 classes, overlapped",default,paper,0,1,37.5,71.43,48.81,6,180.0,2048\n')
    assert classes_csv(runs[2:]) == 'run,step,class,IoU,Acc\nc,0,background,72.7273,80.0\nc,0,disc,75.0,90.0\n'
