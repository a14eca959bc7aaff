"""The supported stacks, the message when something is missing, and what is silenced at import."""

import io
import subprocess
import sys
import warnings
from importlib import metadata

import pytest
from mmengine.config import Config

from mmcss import stack

pytestmark = pytest.mark.stack
FORK = {'onedl-mmengine': '0.10.12', 'onedl-mmcv': '2.3.6', 'onedl-mmsegmentation': '1.4.2'}
ORIGINALS = {'mmengine': '0.10.7', 'mmcv': '2.1.0', 'mmsegmentation': '1.2.2'}


@pytest.fixture
def install(monkeypatch, tmp_path):
    """Pretend that these distributions, and no others of the two stacks, are installed."""

    def pretend(distributions: dict[str, str], source_trees: dict[str, str] | None = None) -> None:
        def version(name: str) -> str:
            if name not in distributions:
                raise metadata.PackageNotFoundError(name)
            return distributions[name]

        def spec(module: str):
            names = {requirements[module].split('>')[0] for requirements in stack.STACKS.values()}
            if not names & set(distributions) and module not in (source_trees or {}):
                return None
            folder = tmp_path / module
            folder.mkdir(exist_ok=True)
            if module in (source_trees or {}):
                (folder / 'version.py').write_text(f"__version__ = '{source_trees[module]}'\n")
            return type('Spec', (), {'origin': str(folder / '__init__.py')})

        monkeypatch.setattr(stack.metadata, 'version', version)
        monkeypatch.setattr(stack, 'find_spec', spec)

    return pretend


@pytest.mark.parametrize('distributions, name', [
    (FORK, 'onedl'),
    ({**FORK, 'onedl-mmcv': '2.4.0rc1'}, 'onedl'),
    (ORIGINALS, 'openmmlab'),
    ({**ORIGINALS, 'mmcv': '2.0.0rc4'}, 'openmmlab'),
    ({**ORIGINALS, 'mmcv': '2.1.0+cu118'}, 'openmmlab'),
])
def test_supported(install, distributions, name):
    install(distributions)
    assert stack.installed_stack() == stack.check_stack() == name


def test_nothing_installed_names_both_extras(install):
    install({})
    assert stack.installed_stack() is None
    with pytest.raises(ImportError) as error:
        stack.check_stack()
    message = str(error.value)
    assert 'mmseg: found nothing, supported: onedl-mmsegmentation>=1.4.2 or mmsegmentation>=1.2.2,<1.3' in message
    assert "pip install 'mmcss[onedl]'" in message and "pip install 'mmcss[openmmlab]'" in message


@pytest.mark.parametrize('distributions, line', [
    ({**FORK, 'onedl-mmcv': '2.2.0'}, 'mmcv: found 2.2.0, supported: onedl-mmcv>=2.3.6'),
    ({**ORIGINALS, 'mmcv': '2.2.0'}, 'mmcv: found 2.2.0, supported: mmcv>=2.0.0rc4,<2.2.0'),
    ({**ORIGINALS, 'mmengine': '0.10.3'}, 'mmengine: found 0.10.3, supported: mmengine>=0.10.7,<0.11'),
    ({**ORIGINALS, 'mmsegmentation': '0.30.0'}, 'mmseg: found 0.30.0, supported: mmsegmentation>=1.2.2,<1.3'),
    ({'mmengine': '0.10.7', 'mmcv': '2.1.0'}, 'mmseg: found nothing, supported: mmsegmentation>=1.2.2,<1.3'),
])
def test_unsupported_version(install, distributions, line):
    """The message has the line of what is wrong, no other line, and the command of the stack that is there."""
    install(distributions)
    with pytest.raises(ImportError) as error:
        stack.check_stack()
    lines = str(error.value).splitlines()
    assert lines[1:-1] == [f'  {line}']
    extra = 'onedl' if distributions.keys() & FORK.keys() else 'openmmlab'
    assert f"pip install 'mmcss[{extra}]'" in lines[-1]
    assert lines[-1].count('pip install') == 1


def test_both_stacks_are_refused(install):
    install({**FORK, 'mmcv': '2.1.0'})
    with pytest.raises(ImportError, match='overwrite each other.*pip uninstall onedl-mmengine .* mmcv'):
        stack.check_stack()


def test_source_tree_without_metadata(install):
    """A checkout on PYTHONPATH has no metadata: its version.py counts."""
    trees = {'mmengine': '0.10.7', 'mmcv': '2.1.0', 'mmseg': '1.2.2'}
    install({}, trees)
    assert stack.check_stack() == 'openmmlab'
    install({}, {**trees, 'mmcv': '1.7.0'})
    with pytest.raises(ImportError, match='mmcv: found 1.7.0, supported: mmcv>=2.0.0rc4,<2.2.0'):
        stack.check_stack()


def test_only_the_known_noise_is_dropped(monkeypatch):
    out = io.StringIO()
    monkeypatch.setattr(sys, 'stdout', out)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        with stack._quiet_imports():
            print('Could not import OneDL')
            print('kept: Could not import OneDL')
            print()
            sys.stdout.write('Could not import OneDL\nkept too\n')
            warnings.warn('Fail to import ``MultiScaleDeformableAttention`` from ``mmcv.ops``', UserWarning)
            warnings.warn('`torch.jit.script` is deprecated. Use `torch.compile`.', DeprecationWarning)
            warnings.warn('something else is deprecated', DeprecationWarning)
        warnings.warn('`torch.jit.script` is deprecated, after the import', DeprecationWarning)
    assert out.getvalue() == 'kept: Could not import OneDL\n\nCould not import OneDL\nkept too\n'
    assert [str(warning.message) for warning in caught] == [
        'something else is deprecated', '`torch.jit.script` is deprecated, after the import']


def test_import_is_quiet():
    """With every warning shown, importing mmcss and a stock model says nothing."""
    code = 'import mmcss.stack; mmcss.stack.prepare_stack(); import mmseg.apis'
    run = subprocess.run([sys.executable, '-W', 'default', '-c', code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert 'OneDL' not in run.stdout
    assert 'MultiScaleDeformableAttention' not in run.stderr and 'torch.jit' not in run.stderr


def test_config_inherits_from_mmseg(tmp_path):
    stack.prepare_stack()
    config = tmp_path / 'segformer.py'
    config.write_text("_base_ = ['mmseg::_base_/models/segformer_mit-b0.py']\n"
                      'model = dict(decode_head=dict(num_classes=7))\n')
    model = Config.fromfile(config).model
    assert model.backbone.type == 'MixVisionTransformer'
    assert model.decode_head.num_classes == 7
