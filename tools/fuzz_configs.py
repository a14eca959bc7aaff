"""Change valid configs at random places, and see that each is refused clearly or trains.

Takes small valid configs of many methods, spoils one thing of each (a wrong kind
of value, a misspelt key or type, a key that is missing, moved, or of another
component), and runs them: to the end of two tiny steps. Prints a table of what
became of them, and each fault with what repeats it:

- refused: an error before anything is trained, that names the key, what was got
  and what is valid;
- trained: two steps were trained and tested;
- diverged: a loss or a weight became infinite, of numbers that are large beyond reason, which was said;
- vague: an error that does not say all three;
- raw: an error from inside, of another type than ValueError or OSError;
- late: an error after the first step had begun;
- silent: a key that mmcss should know is not known, and nobody said so;
- hung: no end, or the process died.
"""
from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Dict, List, Tuple

from prettytable import PrettyTable

from _mutants import BASES, Mutant, base_config, draw_mutants
from _mutant_runs import FAULTS, OUTCOMES, OWN, Outcome, try_all
from _soak_runs import write_data


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--number', type=int, default=2000, help='how many (default: 2000)')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--jobs', type=int, default=2, help='processes')
    parser.add_argument('--plan', action='store_true', help='train none, which takes a third of the time')
    parser.add_argument('--section', nargs='+', metavar='KEY', help='change these sections of the config only')
    parser.add_argument('--only', metavar='JSON', action='append', help='these, as they are printed with a fault')
    parser.add_argument('--all', action='store_true', help='print the others as well')
    args = parser.parse_args()
    start = time.time()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = write_data(folder / 'data', train=12, val=2)
        bases = {base: base_config(base, data, folder / 'work') for base in BASES}
        if args.only:
            drawn = [Mutant.from_json(text) for text in args.only]
        else:
            drawn = draw_mutants(args.number, args.seed, bases, args.section or ())
        outcomes: Dict[int, Outcome] = {}
        tries = [(mutant, not args.plan) for mutant in drawn]
        for number, outcome, _ in try_all(tries, data, folder / 'runs', args.jobs):
            outcomes[number] = outcome
            if outcome.kind in FAULTS or args.all or args.only:
                lacking = f' (does not say {", ".join(outcome.lacking)})' if outcome.lacking else ''
                print(f'{outcome.kind}{lacking}: {drawn[number]}\n  {outcome.error[:400]}\n  {outcome.where}\n'
                      f"  --only '{drawn[number].to_json()}'", flush=True)
    print(table([(mutant, outcomes[number]) for number, mutant in enumerate(drawn)]))
    print(f'{len(drawn)} mutants, seed {args.seed}, {time.time() - start:.0f} s')
    sys.exit(any(outcome.kind in FAULTS for outcome in outcomes.values()))


def table(tried: List[Tuple[Mutant, Outcome]]) -> str:
    """Outcomes by section of the config."""
    counts = Counter((mutant.path[0], outcome.kind) for mutant, outcome in tried)
    kinds = [kind for kind in OUTCOMES if any(kind == other for _, other in counts)]
    told = PrettyTable(['section', *kinds, 'all'], align='r')
    told.align['section'] = 'l'
    sections = sorted({mutant.path[0] for mutant, _ in tried}, key=lambda key: (key not in OWN, key))
    for section in sections:
        row = [counts[section, kind] for kind in kinds]
        told.add_row([section, *row, sum(row)])
    row = [sum(counts[section, kind] for section in sections) for kind in kinds]
    told.add_row(['all', *row, sum(row)])
    return told.get_string()


if __name__ == '__main__':
    main()
