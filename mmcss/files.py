"""Small files, written atomically, and the plain values that they hold."""
from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any, Mapping, Union

PathLike = Union[str, Path]


def write_json(path: PathLike, value: Any) -> None:
    """Write JSON so that a reader never sees half a file; NaN becomes null."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + '.partial')
    partial.write_text(json.dumps(_without_nan(value), indent=1) + '\n')
    os.replace(partial, path)


def read_json(path: PathLike) -> Any:
    """Read a JSON file."""
    return json.loads(Path(path).read_text())


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(entry) for entry in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def plain(node: Any) -> Any:
    """A nested value with dicts for ConfigDicts and other mappings, as files and comparisons need it."""
    if isinstance(node, Mapping):
        return {key: plain(value) for key, value in node.items()}
    if isinstance(node, (list, tuple)):
        return type(node)(plain(value) for value in node)
    return node
