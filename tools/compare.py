"""Put the results of several runs into one table."""
from __future__ import annotations

import argparse

from _runs import METAVAR, NamedRuns

from mmcss.evaluation import compare_table, comparison_notes
from mmcss.files import read_json


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('runs', nargs='+', action=NamedRuns, metavar=METAVAR,
                        help='a name for the table and the run it stands for')
    parser.add_argument('--framed', action='store_true', help='a framed table instead of Markdown')
    args = parser.parse_args()
    results = {}
    for name, work_dir in args.runs.items():
        path = work_dir / 'results.json'
        if not path.is_file():
            parser.error(f'there is no {path}: no run, or none of its steps is finished')
        results[name] = read_json(path)
    print(compare_table(results, markdown=not args.framed))
    for note in comparison_notes(results):
        print(f'note: {note}')


if __name__ == '__main__':
    main()
