"""What stands in a nested config, and what its types name."""
from __future__ import annotations

from typing import Any, Collection, Dict, Iterator, Mapping, Tuple

from mmengine.config import Config
from mmengine.registry import Registry


def values_of(node: Any, place: str = '', skip: Collection[str] = ()) -> Iterator[Tuple[str, Any]]:
    """All values of a nested config with their places, such as 'custom_hooks[0].type', outer ones first.

    Args:
        node: The config.
        place: Its own place.
        skip: Keys whose values are left out, wherever they stand.
    """
    yield place, node
    if isinstance(node, Mapping):
        for key, value in list(node.items()):
            if key not in skip:
                yield from values_of(value, f'{place}.{key}' if place else str(key), skip)
    elif isinstance(node, (list, tuple)):
        for i, value in enumerate(node):
            yield from values_of(value, f'{place}[{i}]', skip)


def walk(node: Any) -> Iterator[Dict[str, Any]]:
    """All dicts of a nested config, outer ones first; each may be changed when its turn comes."""
    return (value for _, value in values_of(node) if isinstance(value, dict))


def with_settings(cfg: Config, settings: Mapping[str, Any]) -> Config:
    """A config of other settings that goes by the file of ``cfg``, which need not be there."""
    return Config(settings, cfg_text=cfg.text, filename=cfg.filename)


def class_of(registry: Registry, kind: Any) -> Any:
    """What a ``type`` names in a registry, None if nothing; a type that is no name is what it is."""
    return registry.get(kind) if isinstance(kind, str) else kind
