import pytest

from mmcss_cli import main
from tests.report.work_dirs import make_run


def call(*arguments):
    with pytest.raises(SystemExit) as stopped:
        main(['report', *map(str, arguments)])
    return stopped.value.code


def test_a_page_of_one_run_lies_beside_it(tmp_path, capsys):
    assert call(make_run(tmp_path / 'a')) is None
    assert capsys.readouterr().out == f'{tmp_path}/a/report/report.html\n'


def test_a_page_of_several_runs(tmp_path, monkeypatch, capsys):
    a, b = make_run(tmp_path / 'a=1'), make_run(tmp_path / 'b')
    monkeypatch.chdir(tmp_path)
    assert call(a, f'B={b}') is None
    assert capsys.readouterr().out == 'report/report.html\n'
    assert '| a=1 |' in (tmp_path / 'report' / 'report.md').read_text()
    assert call(a, f'B={b}', '--out', tmp_path / 'out') is None
    assert '\nB,B,' in (tmp_path / 'out' / 'scores.csv').read_text()


def test_errors_are_lines(tmp_path):
    assert call(tmp_path) == (f'mmcss report: there is no {tmp_path}/results.json: {tmp_path} is no work_dir of a run, or none '
                              'of its steps is finished.')
