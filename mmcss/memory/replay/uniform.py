"""Experience replay (ER, Chaudhry et al., 2019)."""
from __future__ import annotations

from .replay import REPLAY_REGISTRY, Replay


@REPLAY_REGISTRY.register_module()
class UniformReplay(Replay):
    """Experience replay: any stored images (ER, Chaudhry et al., 2019)."""
