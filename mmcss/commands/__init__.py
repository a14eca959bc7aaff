"""The commands of the command line, a module each, which ``mmcss_cli.py`` imports when its command is called.

The docstring of a module is what ``mmcss COMMAND --help`` begins with. A module has two functions:

- ``add_arguments(parser: argparse.ArgumentParser) -> None``;
- ``run(args: argparse.Namespace) -> Optional[int]``, which returns the exit status (None: 0). It may raise
  ``argparse.ArgumentError(None, message)``, which is shown below the command's usage, with exit status 2.
"""
