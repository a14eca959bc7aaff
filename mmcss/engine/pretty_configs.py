"""Configs whose text is made pretty once.

mmengine writes the config into every checkpoint, and has yapf format it each
time: half a second, which is a third of a step of few images.
"""
from __future__ import annotations

import contextlib
from typing import Any, Dict, Iterator, Tuple

import mmengine.config.config as config_module
import yapf.yapflib.yapf_api as yapf_module

MOST = 8  # texts that are kept


@contextlib.contextmanager
def formatted_once() -> Iterator[None]:
    """Within it yapf formats equal texts once."""
    original = yapf_module.FormatCode
    known: Dict[str, Tuple[str, bool]] = {}

    def format_code(text: str, **options: Any) -> Tuple[str, bool]:
        if text not in known:
            while len(known) >= MOST:
                known.pop(next(iter(known)))
            known[text] = original(text, **options)
        return known[text]

    # The originals import the function when they are loaded, the fork when it is used.
    places = [module for module in (yapf_module, config_module) if hasattr(module, 'FormatCode')]
    before = [module.FormatCode for module in places]
    for module in places:
        module.FormatCode = format_code
    try:
        yield
    finally:
        for module, function in zip(places, before):
            module.FormatCode = function
