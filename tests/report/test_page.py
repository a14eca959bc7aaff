"""The page is looked at by a browser where one is installed: charts are drawn, tables sort, the console is quiet."""
import html as html_module
import json
import re
import shutil
import subprocess

import pytest

from mmcss.report import read_runs, write_report
from mmcss.report.page import html, markdown
from tests.report.work_dirs import make_run

BROWSER = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome', 'chrome'))), None)

# Clicks the header of a score twice, shows the second run, and leaves what it sees in the page.
LOOK = '''
<script>
window.addEventListener('load', () => setTimeout(() => {
  const table = document.querySelector('table');
  const header = [...table.tHead.rows[0].cells].find(cell => cell.textContent.trim() === 'all');
  const names = () => [...table.tBodies[0].rows].map(row => row.cells[0].textContent);
  const orders = [0, 1].map(() => { header.querySelector('button').click(); return names(); });
  const drawn = () => [...document.querySelectorAll('.chart')].filter(chart => !chart.closest('[hidden]')).map(
    chart => chart.querySelectorAll('svg.main-svg').length > 0 && chart.querySelectorAll('.trace, .hm, .heatmaplayer').length > 0);
  const first = drawn();
  const chosen = document.getElementById('chosen');
  chosen.value = 1;
  chosen.dispatchEvent(new Event('change'));
  const wide = document.documentElement.scrollWidth > window.innerWidth;
  setTimeout(() => { document.title = JSON.stringify({orders, first, second: drawn(), wide}); }, 500);
}, 500));
</script>
'''


@pytest.fixture
def folders(tmp_path):
    other = [[[70, 30], [10, 90]], [[90, 10, 0], [60, 30, 10], [0, 100, 100]]]
    return [(None, make_run(tmp_path / 'a')), (None, make_run(tmp_path / 'b', seed=1, confusions=other)),
            ('c</script>', make_run(tmp_path / 'c', method=dict(new_rows='background')))]


def test_files(tmp_path, folders):
    page = write_report(folders, tmp_path / 'out')
    assert page == tmp_path / 'out' / 'report.html'
    assert sorted(path.name for path in page.parent.iterdir()) == ['classes.csv', 'report.html', 'report.md', 'scores.csv']
    assert (page.parent / 'report.md').read_text() == markdown(read_runs(folders))


def test_markdown(folders):
    assert markdown(read_runs(folders[:1])) == '''# Results

| run |                scenario | protocol | profile | seed |  steps |  old |  new |  all | average | forgetting |
| :---|-----------------------: |--------: |-------: |----: |------: |----: |----: |----: |-------: |----------: |
| a   | 1-1 classes, overlapped |  default |   paper |    0 | 2 of 2 | 37.5 | 71.4 | 48.8 |    61.3 |       36.4 |

## a

| step | test images |  old |  new |  all | iterations | ms per iteration | minutes | GPU memory, GiB |      new classes |
| :----|-----------: |----: |----: |----: |----------: |----------------: |-------: |---------------: |----------------: |
| 0    |           5 | 73.9 |    - | 73.9 |          3 |           1000.0 |     1.5 |             3.0 | background, disc |
| 1    |           6 | 37.5 | 71.4 | 48.8 |          2 |            750.0 |     3.0 |             2.0 |             star |

Which class took which pixels, after step 1:

| pixels of  | are taken for |    classes | share, % | pixels |
| :----------|-------------: |----------: |--------: |------: |
| disc       |    background | old to old |     60.0 |     60 |
| star       |          disc | new to old |     25.0 |     50 |
| background |          disc | old to old |     10.0 |     10 |
| disc       |          star | old to new |     10.0 |     10 |
'''


def test_a_page_refers_to_nothing_outside(folders):
    text = html(read_runs(folders))
    own = re.sub(r'<script>.*?</script>', '', text, flags=re.DOTALL)  # Plotly's and the page's
    assert len(own) < 100_000 and not re.search(r'https?:|(src|href)=|url\(|@import', own)
    assert not re.search(r'<(script|link|img)[^>]*(src|href)=', text)


def test_names_are_escaped(folders):
    text = html(read_runs(folders))
    assert text.count('</script>') == text.count('<script')
    assert html_module.escape('c</script>') in text and r'c\u003c\u002fscript\u003e' in text


def test_what_is_unknown_is_left_out(tmp_path, folders):
    folder = folders[0][1]
    for step in (0, 1):
        shutil.rmtree(folder / f'step_{step}')
    text = html(read_runs(folders[:1]))
    assert 'Over the steps' in text
    for absent in ('Training', 'Time and memory', 'Versions', 'took which pixels', 'Over the runs', 'id="chosen"', '<details>'):
        assert absent not in text


@pytest.mark.skipif(BROWSER is None, reason='needs chromium (apt-get install chromium)')
def test_a_browser_draws_it(tmp_path, folders):
    page = write_report(folders, tmp_path / 'out')
    page.write_text(page.read_text().replace('</body>', f'{LOOK}</body>'))
    command = [BROWSER, '--headless', '--no-sandbox', '--disable-gpu', f'--user-data-dir={tmp_path}/browser',
               '--window-size=500,900', '--enable-logging=stderr', '--virtual-time-budget=20000', '--dump-dom', page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert 'CONSOLE' not in done.stderr, done.stderr
    title = re.search('<title>(.*?)</title>', done.stdout)[1]
    assert json.loads(html_module.unescape(title)) == dict(
        orders=[['a', 'c</script>', 'b'], ['b', 'a', 'c</script>']], first=[True] * 13, second=[True] * 13, wide=False)
