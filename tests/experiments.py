"""Experiments as users compose them: each method's own file, with another scenario and the model that goes with its data."""
from __future__ import annotations

from pathlib import Path
from typing import Optional

from mmengine.config import Config

from mmcss.engine import compose

CONFIGS = Path(__file__).resolve().parents[1] / 'configs'
PARTS = CONFIGS / '_base_'
METHODS = sorted(path.name for path in CONFIGS.iterdir() if path.is_dir() and path not in (PARTS, CONFIGS / 'tables'))
SCENARIOS = sorted(path.stem for path in (PARTS / 'scenarios').glob('*.py'))


def entry(method: str) -> Path:
    """The file of a method on VOC 15-1."""
    model = 'segformer_mit-b2' if method.startswith('sats') else 'deeplabv3_r101'
    return CONFIGS / method / f'{model}_voc_15-1.py'


def model_for(method: str, scenario: str) -> str:
    """The model that a method is trained with: small data sets have one that two cores can train."""
    small, attends = scenario.startswith(('camvid11', 'msrc21', 'shapes8', 'voc12')), method.startswith('sats')
    return (('segformer_mit-b0_scratch' if attends else 'deeplabv3_r18_scratch') if small else
            'segformer_mit-b2' if attends else 'deeplabv3_r101')


def experiment(method: str, scenario: str, profile: Optional[str] = None) -> Config:
    """The config of a method on a scenario."""
    return compose(entry(method), scenario, model_for(method, scenario), profile)
