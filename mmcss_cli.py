# PYTHON_ARGCOMPLETE_OK
"""The command line: ``mmcss COMMAND ...``.

It stands beside the package and imports none of it before the command is known: importing mmcss takes seconds, which
``mmcss --help`` and the completion of a command's name need not.
"""
from __future__ import annotations

import argparse
import os
import sys
from importlib import import_module
from typing import Dict, Optional, Sequence

# A module of mmcss/commands each; here, so that the list of commands costs no import of theirs.
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
    """Run a command (by default that of ``sys.argv``), and end the process with its exit status."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    completing = '_ARGCOMPLETE' in os.environ
    listed = '\n'.join(f'  {name:<12}{text}' for name, text in COMMANDS.items())
    parser = argparse.ArgumentParser('mmcss', description='Continual semantic segmentation for MMSegmentation.',
                                     epilog=f'commands:\n{listed}\n\nmmcss COMMAND --help says what a command takes.',
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest='command', metavar='COMMAND', required=True, help='one of those below')
    options = {name: commands.add_parser(name, formatter_class=argparse.RawDescriptionHelpFormatter) for name in COMMANDS}
    words = os.environ['COMP_LINE'].split()[1:] if completing else arguments
    chosen = words[0] if words and words[0] in COMMANDS else ''
    if chosen:
        module = import_module(f'mmcss.commands.{chosen.replace("-", "_")}')
        options[chosen].description = module.__doc__
        module.add_arguments(options[chosen])
    if completing:
        import argcomplete
        argcomplete.autocomplete(parser)
    args, unknown = parser.parse_known_args(arguments)
    if unknown:
        options[chosen].error(f'unrecognized arguments: {" ".join(unknown)}')
    try:
        sys.exit(module.run(args))
    except argparse.ArgumentError as error:  # what a command finds wrong with its arguments when it looks closer
        options[chosen].error(str(error))


if __name__ == '__main__':
    main()
