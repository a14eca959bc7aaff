"""What steps leave on disk, without their training."""
from __future__ import annotations

from pathlib import Path
from typing import Any, Dict

import torch
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS

from mmcss.engine import build_scenario, deploy_config
from mmcss.engine.folders import StepFolder
from mmcss.models import save_hand_over
from tests.tiny import CLASSES, COLOURS, tiny_config


def write_step(root: Path, work_dir: Path, step: int, **changes: Any) -> StepFolder:
    """``deploy.py`` and ``step_k.pth`` of a step of :func:`tiny_config`, whose model has random weights, the same each time."""
    init_default_scope('mmseg')  # fixtures of a session come before that of each test
    cfg = tiny_config(root, work_dir, **changes)
    scenario, folder = build_scenario(cfg), StepFolder(work_dir, step)
    deploy = deploy_config(cfg, scenario, step)
    folder.path.mkdir(parents=True)
    deploy.dump(str(folder.deploy))
    torch.manual_seed(step)
    model = MODELS.build(deploy.model)
    for parameter in model.decode_head.parameters():  # classes differ from place to place
        torch.nn.init.normal_(parameter)
    save_hand_over(folder.hand_over, model.state_dict(), step_meta(scenario[step].seen))
    return folder


def step_meta(seen: Any) -> Dict[str, Any]:
    """The metadata of a hand-over, as of its data set."""
    palette = [COLOURS[CLASSES.index(name)].tolist() for name in seen]
    return dict(classes=list(seen), dataset_meta=dict(classes=list(seen), palette=palette))
