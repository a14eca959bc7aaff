"""Backbones that need special treatment, by name."""
from __future__ import annotations

from typing import Any, List

import torch.nn as nn
from mmengine.model import BaseModule

# Backbones that return several outputs in training: the number of the one that they return in evaluation.
MAIN_FEATURE = {'PIDNet': 1, 'DDRNet': -1}


def evaluated_features(backbone: BaseModule, features: Any) -> Any:
    """A backbone's output in the form that it has in evaluation mode, in whichever mode it ran."""
    main = MAIN_FEATURE.get(type(backbone).__name__)
    return features[main] if main is not None and isinstance(features, (tuple, list)) else features


def eval_mode_modules(module: nn.Module) -> List[nn.Module]:
    """The modules to put into evaluation mode for a frozen backbone or neck.

    Its children, if a decode head needs outputs that it returns in training
    mode only; otherwise the module itself.
    """
    return list(module.children()) if type(module).__name__ in MAIN_FEATURE else [module]
