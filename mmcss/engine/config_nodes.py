"""Walks through nested configs, and looks up the classes that their types name."""
from __future__ import annotations

from typing import Any, Collection, Dict, Iterator, Mapping, Tuple

from mmengine.config import Config
from mmengine.registry import Registry


def values_of(node: Any, place: str = '', skip: Collection[str] = ()) -> Iterator[Tuple[str, Any]]:
    """All values of a nested config with their places, such as 'custom_hooks[0].type', outer ones first.

    ``place`` is that of the config itself; values of keys in ``skip`` are left out, however deep.
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
    """All dicts of a nested config, outer ones first; each may be changed when it is yielded."""
    return (value for _, value in values_of(node) if isinstance(value, dict))


def with_settings(cfg: Config, settings: Mapping[str, Any]) -> Config:
    """A config of other settings under the file name of ``cfg``, which need not exist."""
    return Config(settings, cfg_text=cfg.text, filename=cfg.filename)


def class_of(registry: Registry, kind: Any) -> Any:
    """The class that a ``type`` names in a registry, None if it is not registered; a class is returned as it is."""
    return registry.get(kind) if isinstance(kind, str) else kind
