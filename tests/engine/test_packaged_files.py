from pathlib import Path

import pytest
import yaml
from mmengine.config import Config

from mmcss.engine import compose
from mmcss.engine.composition import _lineage
from mmcss.engine.packaged_files import PACKAGED, config_path, without_own_scope
from mmcss.engine.settings import read_settings

ROOT = Path(__file__).resolve().parents[2]
PLOP = 'mmcss::plop/deeplabv3_r101_voc_15-1.py'


def test_a_packaged_config_is_named():
    assert config_path(PLOP) == ROOT / 'configs' / 'plop' / 'deeplabv3_r101_voc_15-1.py'
    assert config_path('plop/own.py') == Path('plop/own.py')
    with pytest.raises(ValueError, match=r"no config plop/deeplabv3_r101_voc_15.py in .*did you mean 'plop/deeplabv3_r101_voc_15-1.py'"):
        config_path('mmcss::plop/deeplabv3_r101_voc_15.py')


def test_a_packaged_config_is_composed():
    file = ROOT / 'configs' / 'plop' / 'deeplabv3_r101_voc_15-1.py'
    named, given = (compose(path, 'shapes8_5-1', 'deeplabv3_r18_scratch', 'official') for path in (PLOP, file))
    assert named._cfg_dict == given._cfg_dict and named.filename == given.filename


@pytest.fixture
def own(tmp_path):
    path = tmp_path / 'own.py'
    path.write_text(f"_base_ = ['{PLOP}']\nmodel = dict(decode_head=dict(channels=64))\n")
    return path


def test_a_config_inherits_from_a_packaged_one(own):
    """MMEngine finds it, and looks up its types where mmcss registers."""
    read = Config.fromfile(own)
    assert read.model._scope_ == 'mmcss'
    cfg = compose(own)
    assert '_scope_' not in cfg.model and cfg.filename == str(own)
    assert cfg.model.decode_head.channels == 64 and cfg.scenario.increment == 1
    assert 'mmcss' not in str(without_own_scope(read)._cfg_dict).replace("'imports': ['mmcss']", '')
    assert '_scope_' not in read_settings(read).cfg.model
    assert read.model._scope_ == 'mmcss', 'the config that was given is not changed'


def test_scenario_and_model_of_one_that_inherits_are_exchanged(own):
    cfg = compose(own, 'voc_10-1', 'segformer_mit-b2')
    assert (cfg.scenario.base, cfg.model.backbone.type, cfg.model.decode_head.channels) == (10, 'MixVisionTransformer', 64)
    assert Path(cfg.filename).name == 'own_segformer_mit-b2_voc_10-1.py'
    assert [file.path.name for file in _lineage(own, ['models'])] == ['own.py', 'deeplabv3_r101_voc_15-1.py']


def test_the_index_of_models_names_all_configs():
    index = yaml.safe_load((PACKAGED / 'model-index.yml').read_text())
    assert index == dict(Import=['configs/metafile.yml'])
    listed = yaml.safe_load((PACKAGED / 'configs' / 'metafile.yml').read_text())
    configs = {str(path.relative_to(ROOT)) for path in ROOT.glob('configs/*/*.py') if path.parent.name != '_base_'}
    models = [(model['Config'], model['In Collection']) for model in listed['Models']]
    assert {config for config, _ in models} == configs and len(models) == len(configs)
    assert {method for _, method in models} == {method['Name'] for method in listed['Collections']}
