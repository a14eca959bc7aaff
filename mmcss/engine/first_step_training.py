"""How a method trains step 0, which methods that train it alike may share."""
from __future__ import annotations

from typing import Any, Dict

from mmseg.registry import MODELS

from ..files import plain
from .typed_settings import PartConfig, Settings


def first_step_training(settings: Settings) -> Dict[str, Any]:
    """What runs that share a step 0 should have in common.

    ``watching`` are the parts that gather something there and change nothing;
    without their ``loss_weight``, which counts in later steps.
    """
    method = settings.method(0)
    parts = {name: plain(part) for name, part in method.losses.items() if acts_at_first_step(part)}
    watching = {name: {key: value for key, value in part.items() if key != 'loss_weight'}
                for name, part in parts.items() if getattr(MODELS.get(part['type']), 'watches_first_step', False)}
    loss = method.loss_decode
    return dict(
        loss_decode=plain(loss) if loss and acts_at_first_step(loss) else None,
        losses={name: part for name, part in parts.items() if name not in watching},
        watching=watching,
        unknown=method.unknown.of if method.unknown else None,
        classifier=plain(method.classifier),
        average=method.average,
        ignore_as_background=method.ignore_as_background)


def acts_at_first_step(config: PartConfig) -> bool:
    """Whether a part or a loss of that config is used at step 0 as well."""
    return bool(getattr(MODELS.get(config['type']), 'from_first_step', False))
