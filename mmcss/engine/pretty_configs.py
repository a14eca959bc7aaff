"""Formats the text of equal configs once.

mmengine writes the config into every checkpoint and has yapf format it each time: half a second, a third of a short step.
"""
from __future__ import annotations

import contextlib
from typing import Any, Dict, Iterator, Tuple

import mmengine.config.config as config_module
import yapf.yapflib.yapf_api as yapf_module

MOST = 8  # texts in memory


@contextlib.contextmanager
def formatted_once() -> Iterator[None]:
    """A context in which yapf formats equal texts once."""
    original = yapf_module.FormatCode
    formatted: Dict[str, Tuple[str, bool]] = {}

    def format_code(text: str, **options: Any) -> Tuple[str, bool]:
        if text not in formatted:
            if len(formatted) >= MOST:
                formatted.pop(next(iter(formatted)))
            formatted[text] = original(text, **options)
        return formatted[text]

    # The original mmengine imports the function when it is loaded, the fork when it is used.
    modules = [module for module in (yapf_module, config_module) if hasattr(module, 'FormatCode')]
    for module in modules:
        module.FormatCode = format_code
    try:
        yield
    finally:
        for module in modules:
            module.FormatCode = original
