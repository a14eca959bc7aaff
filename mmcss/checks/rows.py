"""How the parts of a check have ended."""
from __future__ import annotations

from typing import List, NamedTuple

PASSED, FAILED, NOT_RUN = 'passed', 'FAILED', 'not run'


class Row(NamedTuple):
    """A line of the table: a part of the check, what was done, how it ended, and a note."""

    part: str
    case: str
    outcome: str
    note: str = ''


def judged(part: str, case: str, faults: List[str], note: str = '') -> Row:
    """A row that passed if there are no faults, and lists them otherwise."""
    return Row(part, case, FAILED if faults else PASSED, '; '.join(faults) or note)
