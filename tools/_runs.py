"""Runs that are named on the command line."""
from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Dict, Sequence

METAVAR = 'NAME=WORK_DIR'


class NamedRuns(argparse.Action):
    """Collects ``NAME=WORK_DIR`` arguments as a dict of paths by name."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Sequence[str],
                 *_: Any) -> None:
        runs: Dict[str, Path] = {}
        for text in values:
            name, _, work_dir = text.partition('=')
            if not name or not work_dir:
                parser.error(f'got {text!r}, expected {METAVAR}')
            if name in runs:
                parser.error(f'two runs are named {name!r}')
            runs[name] = Path(work_dir)
        setattr(namespace, self.dest, runs)
