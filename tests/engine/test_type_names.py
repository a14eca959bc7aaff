"""Types of a config that are classes, paths, or names with a scope."""
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import DefaultSampler, default_collate
from mmengine.runner import EpochBasedTrainLoop
from mmseg.datasets import BaseSegDataset
from mmseg.models import CrossEntropyLoss, EncoderDecoder, FCNHead, ResNetV1c, SegDataPreProcessor
from mmseg.registry import MODELS

from mmcss.engine import build_scenario, deploy_config, step_config
from mmcss.engine.type_names import with_named_types
from mmcss.losses import LocalPOD
from mmcss.models.targets import EntropyPseudoLabels
from tests.tiny import tiny_config

CLASSES = (BaseSegDataset, CrossEntropyLoss, DefaultSampler, EncoderDecoder, EntropyPseudoLabels, EpochBasedTrainLoop, FCNHead,
           LocalPOD, ResNetV1c, SegDataPreProcessor)


class Unregistered(torch.nn.Identity):
    """No registry knows it."""


@pytest.mark.parametrize('kind, name', [
    (EncoderDecoder, 'EncoderDecoder'),
    ('EncoderDecoder', 'EncoderDecoder'),
    ('mmseg.EncoderDecoder', 'EncoderDecoder'),
    ('mmseg.models.EncoderDecoder', 'EncoderDecoder'),
    ('mmseg.models.segmentors.encoder_decoder.EncoderDecoder', 'EncoderDecoder'),
    ('mmengine.EpochBasedTrainLoop', 'EpochBasedTrainLoop'),
    ('mmseg.LocalPOD', 'LocalPOD'),
    (torch.optim.SGD, 'SGD'),
    (torch.nn.BatchNorm2d, 'BN'),
    (default_collate, 'mmengine.dataset.utils.default_collate'),
    (Unregistered, f'{__name__}.Unregistered'),
    ('mmdet.CrossEntropyLoss', 'mmdet.CrossEntropyLoss'),  # another library's, not MMSegmentation's
    ('no.such.thing', 'no.such.thing'),
])
def test_a_type_has_one_name(kind, name):
    assert with_named_types(Config(dict(deep=[dict(within=dict(type=kind))]))).deep[0].within.type == name


def test_what_only_looks_like_a_type_stays():
    local = type('Local', (), {'__qualname__': 'somewhere.<locals>.Local'})
    cfg = Config(dict(a=dict(type=local), b=dict(type=None), c=torch.nn.GELU, d=dict(path='mmseg.EncoderDecoder')))
    assert with_named_types(cfg)._cfg_dict.to_dict() == cfg._cfg_dict.to_dict()


def test_a_config_of_names_is_left_alone():
    cfg = Config(dict(model=dict(type='EncoderDecoder')))
    assert with_named_types(cfg) is cfg


def test_a_config_of_pure_python(tmp_path):
    (tmp_path / 'base.py').write_text('from mmseg.models import EncoderDecoder, FCNHead\n'
                                      'import torch.nn as nn\n'
                                      'model = dict(type=EncoderDecoder, decode_head=dict(type=FCNHead, norm=nn.BatchNorm2d))\n')
    (tmp_path / 'config.py').write_text('from mmengine.config import read_base\n'
                                        'with read_base():\n    from .base import *\n'
                                        "model.update(dict(backbone=dict(type='ResNet')))\n")
    cfg = with_named_types(Config.fromfile(tmp_path / 'config.py'))
    assert cfg._cfg_dict.to_dict() == dict(model=dict(
        type='EncoderDecoder', backbone=dict(type='ResNet'), decode_head=dict(type='FCNHead', norm=torch.nn.BatchNorm2d)))


def of_classes(node):
    """A config node with classes for the names of :data:`CLASSES`."""
    known = {cls.__name__: cls for cls in CLASSES}
    if isinstance(node, dict):
        return {key: known.get(value, value) if key == 'type' else of_classes(value) for key, value in node.items()}
    return [of_classes(entry) for entry in node] if isinstance(node, list) else node


def test_steps_are_those_of_the_same_config_of_names(tmp_path):
    names = tiny_config(tmp_path, tmp_path / 'work')
    classes = Config(of_classes(names._cfg_dict.to_dict()))
    assert classes.model.type is EncoderDecoder and classes.continual.losses.local_pod.type is LocalPOD
    scenario = build_scenario(classes)
    assert [split.seen for split in scenario] == [split.seen for split in build_scenario(names)]
    for step in range(3):
        one, other = (step_config(cfg, scenario, step)._cfg_dict.to_dict() for cfg in (names, classes))
        assert one == other
    assert deploy_config(classes, scenario, 2)._cfg_dict.to_dict() == deploy_config(names, scenario, 2)._cfg_dict.to_dict()
    assert MODELS.get(one['model']['type']) is not None


def test_steps_look_types_up_in_mmsegmentation(tmp_path):
    cfg = tiny_config(tmp_path, tmp_path / 'work', default_scope=None)
    assert step_config(cfg, build_scenario(cfg), 0).default_scope == 'mmseg'
