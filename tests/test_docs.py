"""What README, CONTRIBUTING and docs point to is there, and their commands are ones that the tools accept."""
from __future__ import annotations

import argparse
import re
import runpy
import shlex
import sys
from importlib import import_module
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import pytest

import mmcss_cli
from tests.test_architecture import MAY_IMPORT
from tests.test_contributing import BLOCK

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / 'README.md', ROOT / 'CONTRIBUTING.md', *sorted((ROOT / 'docs').rglob('*.md'))]
LINK = re.compile(r'\]\(([^)\s]+)\)|^\[[^\]]+\]: (\S+)$', re.MULTILINE)
INCLUDED = re.compile(r'^--8<-- "([^:"]+):(\w+)"$', re.MULTILINE)
NAMED = re.compile(r'(?<![\w/.~-])(?:configs|docs|mmcss|tests|tools)/[\w/.,*{}-]*[\w}*/]')
BRACES = re.compile(r'\{([^{}]*)\}')

# Files that a reader is to write, and whose text no page gives.
TO_BE_WRITTEN = {'configs/lucir/deeplabv3_r101_voc_15-1.py', 'configs/_base_/scenarios/voc_10-2.py'}
WRITTEN = {name for page in PAGES for name, _ in BLOCK.findall(page.read_text())} | TO_BE_WRITTEN


def name_of(page: Path) -> str:
    """A page's path from the root."""
    return str(page.relative_to(ROOT))


def anchors(text: str) -> set[str]:
    """What links within a page may name: its headings, in small letters, spaces as hyphens, without punctuation.

    Besides, the objects of the package that it documents (``::: mmcss.parts.Part``), which mkdocstrings writes.
    """
    objects = set(re.findall(r'^::: (\S+)$', text, re.MULTILINE))
    text = re.sub(r'^```.*?^```', '', text, flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r'^#+ (.*)$', text, re.MULTILINE)
    return objects | {re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-') for heading in headings}


def expanded(name: str) -> list[str]:
    """['a/b.py', 'a/c.py'] of 'a/{b,c}.py'."""
    pieces = [piece.split(',') if i % 2 else [piece] for i, piece in enumerate(BRACES.split(name))]
    return [''.join(chosen) for chosen in product(*pieces)]


def broken_links(page: Path, text: str) -> list[str]:
    """The relative links of a page that lead to no file, or to no heading of it."""
    found = []
    for link in (inline or defined for inline, defined in LINK.findall(text)):
        if not re.match(r'[a-z]+:', link):
            path, _, anchor = link.partition('#')
            target = page.parent / path if path else page
            if not target.exists() or anchor and anchor not in anchors(target.read_text()):
                found.append(link)
    return found


def missing(text: str) -> list[str]:
    """The files and folders that a text names by their path from the root, and that are not there."""
    names = [name for match in NAMED.findall(text) for name in expanded(match) if 'METHOD' not in name]
    return [name for name in names if name not in WRITTEN and not any(ROOT.glob(name.rstrip('/')))]


def test_what_is_found(tmp_path):
    (tmp_path / 'b.md').write_text("# It's `a.b` and C\n```\n# no heading\n```\n")
    page = tmp_path / 'a.md'
    page.write_text('# Top\n')
    text = '[1](b.md) [2](c.md) [3](b.md#its-ab-and-c) [4](b.md#no-heading) [5](#top) [6](#bottom) [7](https://a.org/b)\n[8]: d.md'
    assert broken_links(page, text) == ['c.md', 'b.md#no-heading', '#bottom', 'd.md']
    assert expanded('a/{b,c}_{d,e}.py') == ['a/b_d.py', 'a/b_e.py', 'a/c_d.py', 'a/c_e.py']
    assert missing('`tools/{train,tame}.py`, configs/*/nothing.py, `mmcss/losses/`. See tests/test_docs.py.') == [
        'tools/tame.py', 'configs/*/nothing.py']


@pytest.mark.parametrize('page', PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    assert broken_links(page, page.read_text()) == []


@pytest.mark.parametrize('page', PAGES, ids=name_of)
def test_files_that_are_named_exist(page):
    assert missing(page.read_text()) == []


@pytest.mark.parametrize('page', PAGES, ids=name_of)
def test_what_is_included_exists(page):
    for file, section in INCLUDED.findall(page.read_text()):
        for end in ('start', 'end'):
            assert f'<!-- --8<-- [{end}:{section}] -->' in (ROOT / file).read_text()


def test_all_pages_are_in_the_site():
    named = set(re.findall(r'[\w/]+\.md', (ROOT / 'mkdocs.yml').read_text()))
    assert named >= {str(page.relative_to(ROOT / 'docs')) for page in PAGES if page.is_relative_to(ROOT / 'docs')}


def test_the_rooms_of_the_readme_are_those_of_the_package():
    rows = re.findall(r'^\| `mmcss/(\w+)` \|.*\| ([\w, ]*)\|$', (ROOT / 'README.md').read_text(), re.MULTILINE)
    rooms = {room for room in MAY_IMPORT if (ROOT / 'mmcss' / room).is_dir()}
    stated = {room: {above for above, _ in rows[:number]} if imports.strip() == 'all above' else set(re.findall(r'\w+', imports))
              for number, (room, imports) in enumerate(rows)}
    assert stated == {room: MAY_IMPORT[room] & rooms - {room} for room in rooms}


def test_the_readme_stays_short():
    assert len((ROOT / 'README.md').read_text().splitlines()) <= 200


def results(page: Path, heading: str) -> dict[str, list[str]]:
    """The table behind a heading: cells by method."""
    part = page.read_text().split(f'\n## {heading}', 1)[1].split('\n## ', 1)[0]
    rows = ([cell.strip() for cell in line.strip('|').split('|')] for line in part.splitlines() if line.startswith('| '))
    return {method: cells for method, *cells in rows}


def test_the_readme_s_results_are_those_of_the_page():
    page = ROOT / 'docs' / 'results.md'
    msrc, camvid = (results(page, heading) for heading in ('MSRC, 15 classes', 'CamVid, 6 classes'))
    short = results(ROOT / 'README.md', 'Results')
    for method in list(short)[2:]:
        assert short[method] == msrc[method][:3] + camvid[method][:3]
    assert len(short) > 8


# --- commands

LAUNCHED = {'dist_train.sh': (0, 'train.py'), 'dist_test.sh': (0, 'test.py'), 'slurm_train.sh': (2, 'train.py')}
COMMAND = re.compile(r'(?:[A-Z_]+=\S+ +)*(?:python |bash )?(?=tools/|mmcss )(.*)')
NUMBERS = {'N': '1', 'K': '1', 'K,K': '1,1', 'H': '64', 'W': '64'}


def commands(text: str) -> list[list[str]]:
    """The words of each command of mmcss in a page: lines of blocks, and code in a line that is a whole command.

    Optional parts (``[--step K]``) are taken along, of alternatives (``A|B``) the first.
    """
    blocks = re.findall(r'^```(\w*)\n(.*?)^```$', text, re.MULTILINE | re.DOTALL)
    rest = re.sub(r'^```.*?^```$', '', text, flags=re.MULTILINE | re.DOTALL)
    lines = [line for language, block in blocks if language in ('', 'bash') for line in _joined(block).splitlines()]
    lines += re.findall(r'`((?:python |bash )tools/[^`]*|mmcss [a-z-]+ [^`]*)`', rest)
    found = []
    for command in filter(None, map(COMMAND.match, lines)):
        stated = re.sub(r'\[options of [^]]*\]|\|[^\s\]]+', '', command[1])
        words = shlex.split(stated.replace('[', ' ').replace(']', ' '), comments=True)
        found.append([NUMBERS.get(word, word) for word in _without_dots(words)])
    return found


def _joined(block: str) -> str:
    """Lines that go on (behind a backslash, or by an option) in one."""
    return re.sub(r'\\\n *|\n +(?=\[?-|\[)', ' ', block)


def _without_dots(words: list[str]) -> list[str]:
    """'...' is a value behind an option and more of the same elsewhere."""
    return [word if word != '...' else 'VALUE' for before, word in zip(['', *words], words)
            if word != '...' or before.startswith('--')]


class _Accepted(Exception):
    """A parser has accepted its arguments."""


@pytest.fixture
def parse(monkeypatch):
    """A function that runs a command up to where its arguments are parsed."""
    original = argparse.ArgumentParser.parse_args

    def accept(*_):
        raise _Accepted

    def parse_args(self, *args, **kwargs):
        accept(original(self, *args, **kwargs))

    def without_run(name):
        module = import_module(name)
        return SimpleNamespace(__doc__=module.__doc__, add_arguments=module.add_arguments, run=accept)

    def run(name: str, arguments: list[str]) -> None:
        monkeypatch.setattr(sys, 'argv', [name, *arguments])
        with pytest.raises(_Accepted):
            if name == 'mmcss':
                mmcss_cli.main(arguments)
            else:
                runpy.run_path(str(ROOT / 'tools' / name), run_name='__main__')

    monkeypatch.setattr(argparse.ArgumentParser, 'parse_args', parse_args)
    monkeypatch.setattr(mmcss_cli, 'import_module', without_run)
    monkeypatch.syspath_prepend(str(ROOT / 'tools'))
    return run


def test_which_commands_are_found(parse, capsys):
    text = """
```python
command = 'tools/no.py'
```
```bash
python tools/train.py CONFIG [--step K|A-B] \\
    [--resume|--overwrite]  # a remark
NNODES=2 tools/dist_train.sh CONFIG 2 [options of tools/train.py]
pip install x
```
`python tools/show.py OUT --images ... --runs a=DIR ...` and `tools/train.py --amp`.
"""
    assert commands(text) == [
        ['tools/train.py', 'CONFIG', '--step', '1', '--resume'], ['tools/dist_train.sh', 'CONFIG', '2'],
        ['tools/show.py', 'OUT', '--images', 'VALUE', '--runs', 'a=DIR']]
    with pytest.raises(SystemExit):
        parse('train.py', ['CONFIG', '--stepp', '1'])
    assert 'unrecognized arguments: --stepp' in capsys.readouterr().err


@pytest.mark.parametrize('page', [page for page in PAGES if commands(page.read_text())], ids=name_of)
def test_commands_are_accepted(page, parse):
    for name, *arguments in commands(page.read_text()):
        for option, folder in (('--scenario', 'scenarios'), ('--model', 'models')):
            for before, value in zip(arguments, arguments[1:]):
                assert before != option or value.isupper() or (ROOT / f'configs/_base_/{folder}/{value}.py').is_file()
        tool = Path(name).name
        if tool in LAUNCHED:
            first, launched = LAUNCHED[tool]
            parse(launched, [arguments[first], *arguments[first + (1 if first else 2):]])
        elif tool.endswith('.sh'):
            script = (ROOT / 'tools' / tool).read_text()
            assert [option for option in arguments if option.startswith('--') and option not in script] == []
        else:
            parse(tool, arguments)
