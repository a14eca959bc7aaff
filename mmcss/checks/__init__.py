"""Checks before one trains: of a data set, and of a GPU."""
from .data import DataChecker
from .gpu import PARTS, GPUCheck
from .rows import FAILED, NOT_RUN, PASSED, Row, judged

__all__ = ['DataChecker', 'FAILED', 'GPUCheck', 'NOT_RUN', 'PARTS', 'PASSED', 'Row', 'judged']
