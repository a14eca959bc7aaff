"""Commands of the command line, called in this process."""
from __future__ import annotations

import argparse
from importlib import import_module
from typing import Any, Optional


def call(name: str, *arguments: Any) -> Optional[int]:
    """Run ``mmcss NAME ARGUMENTS``; returns its exit status, None for 0."""
    command = import_module(f'mmcss.commands.{name}')
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args([*map(str, arguments)]))
