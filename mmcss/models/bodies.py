"""What has to be known of backbones by name."""
from __future__ import annotations

from typing import Any, List

import torch.nn as nn
from mmengine.model import BaseModule

# Backbones that return more in training than in evaluation: which of the outputs is the one of both.
MAIN_FEATURE = {'PIDNet': 1, 'DDRNet': -1}


def evaluated_features(backbone: BaseModule, features: Any) -> Any:
    """What a backbone returned, in training or not, as it returns it in evaluation."""
    main = MAIN_FEATURE.get(type(backbone).__name__)
    return features[main] if main is not None and isinstance(features, (tuple, list)) else features


def parts_at_rest(body: nn.Module) -> List[nn.Module]:
    """The modules that are put into evaluation mode where a backbone or neck is frozen.

    It itself, or its parts where the decode head in training needs what it
    returns in training alone.
    """
    return list(body.children()) if type(body).__name__ in MAIN_FEATURE else [body]
