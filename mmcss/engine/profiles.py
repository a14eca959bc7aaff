"""The two profiles of a method: as in its paper, and as in its authors' code."""
from __future__ import annotations

from typing import Any, Dict, Literal, Mapping, get_args

from mmengine.config import Config

from .config_nodes import with_settings
from .type_names import with_named_types

Profile = Literal['paper', 'official']
PROFILES = get_args(Profile)


def with_profile(cfg: Config) -> Config:
    """The config with its profile applied, and with names for types (:func:`with_named_types`).

    ``profile='official'`` merges the method's ``official`` settings into the config: one switch for each difference
    between the paper and the authors' code. They win over all other settings (to keep a setting of yours, put it into
    ``official``), but not over what an ablation has removed or replaced.

    Returns:
        A copy without ``profile`` and ``official``; the config itself where it has neither.

    Raises:
        ValueError: The method has no official profile.
    """
    profile = cfg.get('profile', PROFILES[0])
    cfg = with_named_types(cfg)
    if not {'profile', 'official'} & set(cfg):
        return cfg
    settings = cfg._cfg_dict.to_dict()
    settings.pop('profile', None)
    official = settings.pop('official', None)
    if profile == 'official':
        if not isinstance(official, Mapping):
            raise ValueError(f'profile: got {profile!r}, but the method has no official settings (official={official!r}).')
        _apply(official, settings)
    return with_settings(cfg, settings)


def _apply(official: Mapping[str, Any], settings: Dict[str, Any]) -> None:
    """Merge official settings in place; those of a part (a dict with a type) only where the config has that part."""
    for key, value in official.items():
        here = settings.get(key)
        if key in settings and here is None:  # removed by an ablation
            continue
        if not isinstance(value, Mapping) or isinstance(here, str):
            settings[key] = value
        elif isinstance(here, dict) and value.get('type') in (None, here.get('type')):
            _apply(value, here)
        elif key not in settings and 'type' not in value:
            _apply(value, settings.setdefault(key, {}))
