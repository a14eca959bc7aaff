"""The frame of the command line, and the tools that call it."""
import argparse
import importlib
import os
import subprocess
import sys
import types
from pathlib import Path

import pytest

import mmcss_cli
from tests import processes

ROOT = Path(__file__).resolve().parents[2]
ENTRIES = {'train': 'train', 'test': 'test', 'check-data': 'check_data', 'check-gpu': 'check_gpu', 'table': 'run_table'}
# Says which modules of the package the command line has imported.
WATCHED = '''
import sys
import mmcss_cli
try:
    mmcss_cli.main({arguments!r})
finally:
    print([name for name in sys.modules if name.split('.')[0] in ('mmcss', 'torch')])
'''


@pytest.fixture
def told(monkeypatch):
    """A command 'table' that takes a number; what it was told."""
    got = []

    def run(args):
        got.append(args.number)
        if args.number == 2:
            raise argparse.ArgumentError(None, 'number: got 2, expected another')
        return args.number or None

    module = types.ModuleType('mmcss.commands.table', 'Do it.\n\nMore.')
    module.add_arguments = lambda parser: parser.add_argument('number', type=int)
    module.run = run
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return got


@pytest.mark.parametrize('number, status', [('0', None), ('3', 3)])
def test_a_command_is_run_and_gives_the_exit_status(told, number, status):
    with pytest.raises(SystemExit) as ended:
        mmcss_cli.main(['table', number])
    assert (ended.value.code, told) == (status, [int(number)])


@pytest.mark.parametrize('arguments, message', [
    ([], 'mmcss: error: the following arguments are required: COMMAND'), (['tabel'], "invalid choice: 'tabel' (choose from"),
    (['table'], 'mmcss table: error: the following arguments are required: number'),
    (['table', '1', '--more'], 'mmcss table: error: unrecognized arguments: --more'),
    (['table', '2'], 'mmcss table: error: number: got 2, expected another')])
def test_wrong_arguments_are_told_below_the_usage(told, capsys, arguments, message):
    with pytest.raises(SystemExit) as ended:
        mmcss_cli.main(arguments)
    assert ended.value.code == 2
    usage, _, error = capsys.readouterr().err.partition('mmcss')
    assert usage == 'usage: ' and message in f'mmcss{error}'


def test_the_help_of_a_command_is_its_module_s(told, capsys):
    with pytest.raises(SystemExit) as ended:
        mmcss_cli.main(['table', '--help'])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith('usage: mmcss table [-h] number\n\nDo it.\n\nMore.\n')


def watched(arguments, **environment):
    return subprocess.run([sys.executable, '-c', WATCHED.format(arguments=arguments)], capture_output=True, text=True,
                          env=dict(os.environ, PYTHONPATH=str(ROOT), **environment))


def test_the_list_of_commands_costs_no_import_of_the_package():
    done = watched(['--help'])
    assert done.returncode == 0, done.stderr
    *shown, imported = done.stdout.splitlines()
    assert imported == '[]'
    assert [line.split()[0] for line in shown if line.startswith('  ') and line.split()[0] in mmcss_cli.COMMANDS] == list(
        mmcss_cli.COMMANDS)


def test_completion(tmp_path):
    """As a shell asks for it; it reads from file descriptor 8."""
    pytest.importorskip('argcomplete')

    def completions(line):
        environment = dict(os.environ, PYTHONPATH=str(ROOT), _ARGCOMPLETE='1', _ARGCOMPLETE_IFS=' ', COMP_LINE=line,
                           COMP_POINT=str(len(line)), _ARGCOMPLETE_STDOUT_FILENAME=str(tmp_path / 'told'))
        subprocess.run([sys.executable, str(ROOT / 'mmcss_cli.py')], env=environment, check=True)
        return (tmp_path / 'told').read_text().split()

    assert completions('mmcss ch') == ['check-data', 'check-gpu']


@pytest.mark.parametrize('command, tool', ENTRIES.items())
def test_tools_are_commands_under_another_name(command, tool):
    done = processes.call(ROOT / 'tools' / f'{tool}.py', '--help')
    assert done.returncode == 0 and done.stdout.startswith(f'usage: mmcss {command} [-h] '), done.stderr


def test_the_package_is_a_command(tmp_path):
    done = processes.call(ROOT / 'mmcss' / '__main__.py', 'check-gpu', '--keep', tmp_path, '--device', 'cpu')
    assert done.returncode == 2
    assert done.stderr.endswith(f'mmcss check-gpu: error: --keep: {tmp_path} is there; give a new folder\n')


def test_a_plan_takes_the_options_of_a_training():
    options = {}
    for command in ('train', 'plan'):
        parser = argparse.ArgumentParser()
        importlib.import_module(f'mmcss.commands.{command}').add_arguments(parser)
        options[command] = vars(parser.parse_args(['config.py', '--step', '1', '--first-step-from', 'work']))
    assert options['train'].pop('dry_run') is False and options['plan'].pop('dry_run') is True
    assert options['train'] == options['plan']
