"""What stands at the top of the package, with MMSegmentation and without."""
import subprocess
import sys
from pathlib import Path

import pytest

import mmcss

ABSENT = '''
import sys

class Without:
    """A finder of modules that does not find some."""

    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in ('torch', 'mmengine', 'mmcv', 'mmseg', 'pydantic', 'prettytable', 'PIL'):
            return None
        return self.finder.find_spec(name, path, target)

sys.meta_path = [Without(finder) for finder in sys.meta_path]
'''


def alone(code):
    """Run code where numpy is all that is installed."""
    return subprocess.run([sys.executable, '-c', ABSENT + code], cwd=Path(mmcss.__file__).parents[1], text=True,
                          capture_output=True)


def test_scenarios_need_numpy_alone():
    done = alone('''
import mmcss.scenario
from mmcss import ClassIncremental, DomainIncremental, Split
steps = ClassIncremental.from_config(['a', 'b', 'c'], base=2, increment=1)
assert isinstance(steps[1], Split) and steps[1].seen == ('background', 'a', 'b', 'c')
print(sorted({name.partition('.')[0] for name in sys.modules} & {'numpy', 'torch', 'mmengine', 'pydantic'}))
print('StepSession' in dir(mmcss), hasattr(mmcss, 'anything'))
''')
    assert done.stdout == "['numpy']\nTrue False\n", done.stderr


@pytest.mark.parametrize('name', ['Method', 'StepDataset', 'StepSession', 'evaluate', 'models'])
def test_what_needs_the_stack_says_what_to_install(name):
    """In the words of :mod:`mmcss.stack`."""
    done = alone(f'''
import mmcss
try:
    mmcss.{name}
except ImportError as error:
    print(error)
''')
    assert done.stdout.startswith('mmcss needs MMSegmentation and the libraries below it:\n  mmengine: found nothing, ')
    assert "pip install 'mmcss[onedl]'" in done.stdout


def test_all_names_are_there():
    assert all(hasattr(mmcss, name) for name in mmcss.__all__) and set(mmcss.__all__) <= set(dir(mmcss))
    assert mmcss.StepSession is mmcss.session.StepSession and mmcss.evaluate is mmcss.evaluation.evaluate
