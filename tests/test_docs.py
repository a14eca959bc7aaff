"""What README, CONTRIBUTING and docs point to is there."""
from __future__ import annotations

import re
from itertools import product
from pathlib import Path

import pytest

from tests.test_architecture import MAY_IMPORT
from tests.test_contributing import BLOCK

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / 'README.md', ROOT / 'CONTRIBUTING.md', *sorted((ROOT / 'docs').glob('*.md'))]
LINK = re.compile(r'\]\(([^)\s]+)\)')
NAMED = re.compile(r'(?<![\w/.~-])(?:configs|docs|mmcss|tests|tools)/[\w/.,*{}-]*[\w}*/]')
BRACES = re.compile(r'\{([^{}]*)\}')

# Files that a reader is to write, and whose text no page gives.
TO_BE_WRITTEN = {'configs/lucir/deeplabv3_r101_voc_15-1.py', 'configs/_base_/scenarios/voc_10-2.py'}
WRITTEN = {name for page in PAGES for name, _ in BLOCK.findall(page.read_text())} | TO_BE_WRITTEN


def anchors(text: str) -> set[str]:
    """What links within a page may name: its headings, in small letters, spaces as hyphens, without punctuation."""
    text = re.sub(r'^```.*?^```', '', text, flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r'^#+ (.*)$', text, re.MULTILINE)
    return {re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-') for heading in headings}


def expanded(name: str) -> list[str]:
    """['a/b.py', 'a/c.py'] of 'a/{b,c}.py'."""
    pieces = [piece.split(',') if i % 2 else [piece] for i, piece in enumerate(BRACES.split(name))]
    return [''.join(chosen) for chosen in product(*pieces)]


def broken_links(page: Path, text: str) -> list[str]:
    """The relative links of a page that lead to no file, or to no heading of it."""
    found = []
    for link in LINK.findall(text):
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
    text = '[1](b.md) [2](c.md) [3](b.md#its-ab-and-c) [4](b.md#no-heading) [5](#top) [6](#bottom) [7](https://a.org/b)'
    assert broken_links(page, text) == ['c.md', 'b.md#no-heading', '#bottom']
    assert expanded('a/{b,c}_{d,e}.py') == ['a/b_d.py', 'a/b_e.py', 'a/c_d.py', 'a/c_e.py']
    assert missing('`tools/{train,tame}.py`, configs/*/nothing.py, `mmcss/losses/`. See tests/test_docs.py.') == [
        'tools/tame.py', 'configs/*/nothing.py']


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    assert broken_links(page, page.read_text()) == []


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_files_that_are_named_exist(page):
    assert missing(page.read_text()) == []


def test_the_rooms_of_the_readme_are_those_of_the_package():
    rows = re.findall(r'^\| `mmcss/(\w+)` \|.*\| ([\w, ]*)\|$', (ROOT / 'README.md').read_text(), re.MULTILINE)
    rooms = {room for room in MAY_IMPORT if (ROOT / 'mmcss' / room).is_dir()}
    stated = {room: {above for above, _ in rows[:number]} if imports.strip() == 'all above' else set(re.findall(r'\w+', imports))
              for number, (room, imports) in enumerate(rows)}
    assert stated == {room: MAY_IMPORT[room] & rooms - {room} for room in rooms}


def test_the_readme_stays_short():
    assert len((ROOT / 'README.md').read_text().splitlines()) <= 200
