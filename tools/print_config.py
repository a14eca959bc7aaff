"""Print an experiment's config as it is read, everything that it inherits and exchanges in it; or save it as one file."""
from __future__ import annotations

import argparse
from pathlib import Path

from mmcss.commands.config_options import add_config, read_config


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_config(parser)
    parser.add_argument('--save-path', type=Path, metavar='FILE', help='a new config file, which trains the same')
    args = parser.parse_args()
    cfg = read_config(args.config, args)
    if args.save_path is None:
        print(cfg.pretty_text)
        return
    if args.save_path.suffix != '.py':
        parser.error(f'--save-path: got {args.save_path}, expected a file that ends with .py')
    if args.save_path.exists():
        parser.error(f'--save-path: {args.save_path} is there; it is not overwritten')
    args.save_path.parent.mkdir(parents=True, exist_ok=True)
    cfg.dump(args.save_path)


if __name__ == '__main__':
    main()
