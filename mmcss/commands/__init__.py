"""The command line: ``mmcss COMMAND ...``, a module of this folder each."""
from __future__ import annotations

import argparse
import sys
from importlib import import_module
from typing import Dict, Optional, Sequence

# Here, so that the list of commands costs no import of theirs.
COMMANDS: Dict[str, str] = {
    'train': 'train the steps of a scenario',
    'test': 'evaluate trained steps again',
    'plan': 'print what a run would do, and check it in miniature',
    'report': 'write a page with the results of runs',
    'predict': 'segment images with a trained step',
    'export': 'write a trained step as a plain MMSegmentation model and as ONNX',
    'check-data': 'find what is wrong with a data set',
    'check-gpu': "check what this machine's GPU does",
    'table': 'train a table of experiments, and write its pages',
}


def main(arguments: Optional[Sequence[str]] = None) -> None:
    """Run a command of the command line (by default ``sys.argv``'s)."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    listed = '\n'.join(f'  {name:<12}{text}' for name, text in COMMANDS.items())
    parser = argparse.ArgumentParser('mmcss', description='Continual semantic segmentation for MMSegmentation.',
                                     epilog=f'commands:\n{listed}\n\nmmcss COMMAND --help tells what each takes.',
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('command', choices=COMMANDS, metavar='COMMAND')
    chosen = parser.parse_args(arguments[:1]).command
    module = import_module(f'{__name__}.{chosen.replace("-", "_")}')
    options = argparse.ArgumentParser(f'mmcss {chosen}', description=module.__doc__,
                                      formatter_class=argparse.RawDescriptionHelpFormatter)
    module.add_arguments(options)
    sys.exit(module.run(options.parse_args(arguments[1:])))
