"""Put the results of several runs into one table."""
from __future__ import annotations

import argparse
from pathlib import Path

from mmcss.evaluation import compare_table
from mmcss.files import read_json


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('runs', nargs='+', metavar='NAME=WORK_DIR', help='a name for the table and the run it stands for')
    parser.add_argument('--framed', action='store_true', help='a framed table instead of Markdown')
    args = parser.parse_args()
    runs = dict(run.partition('=')[::2] for run in args.runs)
    print(compare_table({name: read_json(Path(folder) / 'results.json') for name, folder in runs.items()},
                        markdown=not args.framed))


if __name__ == '__main__':
    main()
