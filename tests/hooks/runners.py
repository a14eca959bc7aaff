"""Runners of a step, for tests of hooks."""
from __future__ import annotations

from pathlib import Path
from typing import Any, Dict

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmcss.engine import build_scenario, step_config
from mmcss.engine.isolation import tear_down
from mmcss.hooks import HandOverHook
from tests.tiny import MIB, loader, tiny_config


def runner_of(cfg: Config, step: int) -> Runner:
    """The runner of a step; its model has no weights yet."""
    return Runner.from_cfg(step_config(cfg, build_scenario(cfg), step))


def hook_of(runner: Runner, kind: type) -> Hook:
    """The hook of that kind."""
    return next(hook for hook in runner.hooks if isinstance(hook, kind))


def leave_first_step(cfg: Config, *kinds: type) -> None:
    """Have an untrained step 0 leave its model, and what hooks of these kinds leave."""
    runner = runner_of(cfg, 0)
    runner.model.init_weights()
    for kind in (*kinds, HandOverHook):
        hook_of(runner, kind).after_train(runner)
    tear_down(runner)


def stream_config(root: Path, work_dir: Path, memory: Dict[str, Any], **changes: Any) -> Config:
    """MiB on a stream, two new images and two remembered ones a batch."""
    method = dict(MIB, memory=memory, online=dict(type='DynamicReplay', images=2))
    return tiny_config(root, work_dir, continual=method,
                       train_dataloader=dict(loader(root, 'train'), batch_size=2),
                       next_steps=dict(train_cfg=dict(max_epochs=1), param_scheduler=[]), **changes)
