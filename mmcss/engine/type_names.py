"""Replaces all spellings of a type in a config by its registered name.

MMEngine takes a type as a registered name ('EncoderDecoder'), with a scope ('mmseg.EncoderDecoder'), as a path
('mmseg.models.EncoderDecoder') and, in configs of pure Python, as the class itself. mmcss compares registered names.
"""
from __future__ import annotations

from typing import Any, Dict, Iterator, Mapping, Tuple

import mmseg.registry
from mmengine.config import Config
from mmengine.registry import Registry
from mmengine.utils import get_object_from_string

from ..files import plain
from .config_nodes import walk, with_settings


def with_named_types(cfg: Config) -> Config:
    """A copy of a config whose types are names; the config itself where they are already.

    A class without a registered name gets its path, which registries import; one that can't be imported (it was defined
    within a function) stays.
    """
    # In a config of pure Python, imported names are among the keys.
    imported = getattr(cfg, '_imported_names', ())
    # plain() resolves MMEngine's lazy imports.
    settings = {key: plain(value) for key, value in cfg._cfg_dict.items() if key not in imported}
    unclear = [node for node in walk(settings) if 'type' in node and _is_unclear(node['type'])]
    if not unclear and not imported:
        return cfg
    known = _known()
    for node in unclear:
        node['type'] = _name(node['type'], *known)
    return with_settings(cfg, settings)


def _is_unclear(kind: Any) -> bool:
    return '.' in kind if isinstance(kind, str) else callable(kind)


def _registries() -> Iterator[Registry]:
    """MMSegmentation's registries; those of MMEngine are their parents."""
    for registry in vars(mmseg.registry).values():
        if isinstance(registry, Registry):
            registry.import_from_location()
            yield registry


def _known() -> Tuple[Dict[Any, str], Dict[str, Any]]:
    """The name of each registered class, and the class of each name with its scope."""
    names: Dict[Any, str] = {}
    members: Dict[str, Any] = {}
    for registry in _registries():
        levels = [level for level in (registry.parent, registry) if level is not None]
        visible = {name: member for level in levels for name, member in level.module_dict.items()}
        for name, member in visible.items():
            # Of several names of a class, __name__ is the best known.
            if member not in names or name == getattr(member, '__name__', None):
                names[member] = name
        for level in levels:
            members.update({f'{level.scope}.{name}': member for name, member in level.module_dict.items()})
    return names, members


def _name(kind: Any, names: Mapping[Any, str], members: Mapping[str, Any]) -> Any:
    member = kind
    if isinstance(kind, str):
        member = members.get(kind)
        if member is None and kind.count('.') > 1:  # a single dot may be another library's scope
            member = get_object_from_string(kind)
        if member is None:
            return kind
    if member in names:
        return names[member]
    path = kind if isinstance(kind, str) else f'{member.__module__}.{member.__qualname__}'
    return path if get_object_from_string(path) is member else kind
