"""A wheel of mmcss works in an empty folder, as configs and tools are in it."""
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILT_FROM = ('setup.py', 'pyproject.toml', 'MANIFEST.in', 'README.md', 'LICENSE', 'model-index.yml', 'mmcss_cli.py',
              'mmcss', 'configs', 'tools')
OWN = '''
_base_ = ['mmcss::finetune/deeplabv3_r101_voc_15-1.py']
train_cfg = dict(max_epochs=7)
'''
READ = '''
import mmcss
from mmcss.engine import compose
from mmengine.config import Config
print(mmcss.__file__)
print(Config.fromfile('own.py').train_cfg.max_epochs)
cfg = compose('mmcss::plop/deeplabv3_r101_voc_15-1.py', 'voc_10-1')
print(cfg.scenario.base, cfg.filename)
'''


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
    """Built from a copy, as setuptools writes into the folder that it builds from."""
    source, out = tmp_path_factory.mktemp('source'), tmp_path_factory.mktemp('wheel')
    for name in BUILT_FROM:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=shutil.ignore_patterns('__pycache__'))
        else:
            shutil.copy(ROOT / name, source / name)
    subprocess.run([sys.executable, '-m', 'pip', 'wheel', '-q', '--no-deps', '--no-build-isolation', '--no-index', '-w', str(out),
                    str(source)], check=True)
    built, = out.glob('mmcss-*.whl')
    return built


def files_of(folder, pattern):
    return {f'mmcss/.mim/{path.relative_to(ROOT)}' for path in (ROOT / folder).rglob(pattern)}


def test_what_is_in_it(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    brought = {name for name in names if name.startswith('mmcss/.mim/')}
    assert brought >= files_of('configs', '*.py') | files_of('tools', '*.py') | {
        f'mmcss/.mim/{name}' for name in ('model-index.yml', 'configs/metafile.yml', 'tools/dist_train.sh', 'tools/_launch.sh')}
    assert names - brought >= {str(path.relative_to(ROOT)) for path in (ROOT / 'mmcss').rglob('*.py')} | {'mmcss_cli.py'}
    assert not {name.split('/')[0] for name in names} & {'configs', 'tools', 'tests'}
    entries = next(name for name in names if name.endswith('.dist-info/entry_points.txt'))
    assert zipfile.ZipFile(wheel).read(entries).decode() == '[console_scripts]\nmmcss = mmcss_cli:main\n'


def test_configs_are_read_from_it_in_an_empty_folder(wheel, tmp_path):
    """By MMEngine, which looks for the folder that mmcss is installed in."""
    installed, empty = tmp_path / 'installed', tmp_path / 'empty'
    zipfile.ZipFile(wheel).extractall(installed)
    empty.mkdir()
    (empty / 'own.py').write_text(OWN)
    done = subprocess.run([sys.executable, '-W', 'ignore', '-c', READ], cwd=empty, capture_output=True, text=True,
                          env=dict(os.environ, PYTHONPATH=str(installed)))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        f'{installed}/mmcss/__init__.py', '7', f'10 {installed}/mmcss/.mim/configs/plop/deeplabv3_r101_voc_10-1.py']
