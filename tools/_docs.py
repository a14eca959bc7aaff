"""What the site of the documentation (mkdocs.yml) needs beside its packages."""
from __future__ import annotations

import re
from typing import Any

import griffe
from latex2mathml.converter import convert

ROLE = re.compile(r':\w+:`~?(?:[\w.]*\.)?(\w+)`')


def formula(source: str, *_: Any, **__: Any) -> str:
    """A ``math`` block as MathML, which browsers draw without scripts and fonts of other servers."""
    lines = ''.join(f'<div>{convert(line, display="block")}</div>' for line in source.split('\n\n') if line.strip())
    return f'<div class="formula">{lines}</div>'


class Roles(griffe.Extension):
    """Sphinx's roles in docstrings: :class:`~mmcss.models.Method` is shown as ``Method``."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring:
            obj.docstring.value = ROLE.sub(r'`\1`', obj.docstring.value)
