"""Whether what a step costs grows with the number of steps."""
from __future__ import annotations

import gc
import json
import os
import statistics
import time
from pathlib import Path
from typing import Any, List, NamedTuple, Optional

from mmcss.checks import Row, judged
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from _soak_runs import attempt, make_config, run, write_data

FIRST = slice(6, 11)  # the steps that are early
MOST_TIME = 1.2
MOST_MEMORY = 1.1
MOST_DESCRIPTORS = 2


class Cost(NamedTuple):
    """What a step took, and what the process holds after it.

    Args:
        processor: Processor time in seconds.
        relative: The same, in units of a fixed calculation timed beside it:
            what else the machine does, and the clock of its processor, divide out.
        wall: Seconds.
        memory: MiB resident.
        descriptors: Open ones.
    """

    processor: float
    relative: float
    wall: float
    memory: float
    descriptors: int


class Meter:
    """Costs of the steps of a run in this process."""

    def __init__(self) -> None:
        self.costs: List[Cost] = []
        self.restart()

    def restart(self, unit: Optional[float] = None) -> None:
        """Begin to measure a step; what :func:`calculation` takes may be known."""
        self.unit = calculation() if unit is None else unit
        self.processor, self.wall = self._processor(), time.perf_counter()

    def note(self) -> None:
        """A step has ended."""
        processor, wall = self._processor() - self.processor, time.perf_counter() - self.wall
        after = calculation()
        unit = (self.unit + after) / 2
        gc.collect()
        resident = int(Path('/proc/self/statm').read_text().split()[1]) * os.sysconf('SC_PAGE_SIZE')
        self.costs.append(Cost(processor, processor / unit, wall, resident / 2**20, len(os.listdir('/proc/self/fd'))))
        self.restart(after)

    @staticmethod
    def _processor() -> float:
        """Processor time of this process and of those that it has waited for."""
        spent = os.times()
        return spent.user + spent.system + spent.children_user + spent.children_system


def calculation() -> float:
    """Processor seconds of a fixed piece of work of the kind that a step's bookkeeping is."""
    start = time.process_time()
    for _ in range(8):
        json.loads(json.dumps([dict(name=str(number), value=number / 7) for number in range(10000)]))
    return time.process_time() - start


meter = Meter()


@HOOKS.register_module(force=True)
class SoakMeterHook(Hook):
    """Notes what each step cost: from the test of the step before to its own."""

    def after_test(self, runner: Any) -> None:
        """See :class:`mmengine.hooks.Hook`."""
        meter.note()


def growing_config(root: Path, steps: int) -> Any:
    """A run of that many steps of one new class each, after a step 0 of two; each step of few images."""
    classes = steps + 1
    data = write_data(root / 'data', classes, train=2 * classes, val=8)
    return make_config(data, root / 'run', classes=classes, custom_hooks=[dict(type='SoakMeterHook')],
                       train_cfg=dict(max_epochs=1), protocol=dict(images='all'))


def medians(costs: List[Cost], steps: slice) -> Cost:
    """The median of each number over some steps."""
    return Cost(*(statistics.median(column) for column in zip(*costs[steps])))


def verdict(costs: List[Cost]) -> List[str]:
    """What is wrong with the costs of a run's steps."""
    early, late = medians(costs, FIRST), medians(costs, slice(len(costs) - 5, None))
    faults = []
    if late.relative > MOST_TIME * early.relative:
        faults.append(f'processor time is {late.relative / early.relative:.2f} times, at most {MOST_TIME} is meant')
    if late.memory > MOST_MEMORY * early.memory:
        faults.append(f'memory is {late.memory / early.memory:.2f} times, at most {MOST_MEMORY} is meant')
    if late.descriptors > early.descriptors + MOST_DESCRIPTORS:
        faults.append(f'{late.descriptors - early.descriptors} more descriptors are open')
    return faults


def growth(root: Path, steps: int) -> List[Row]:
    """Train many steps, and compare the last five with steps 6 to 10.

    Args:
        root: An empty folder.
        steps: Number of steps, 16 at least.
    """
    meter.costs.clear()
    config = growing_config(root, steps)
    meter.restart()
    error, _ = attempt(lambda: run(config))
    if error is not None:
        return [judged('growth', f'{steps} steps', [f'{type(error).__name__}: {error}'])]
    early, late = medians(meter.costs, FIRST), medians(meter.costs, slice(steps - 5, None))
    notes = [f'{name} {before:.2f} -> {after:.2f} ({after / before:.2f} x)'
             for name, before, after in zip(Cost._fields, early, late)]
    faults = verdict(meter.costs)
    return [judged('growth', f'steps 6 to 10 against {steps - 5} to {steps - 1}', [*faults, *notes] if faults else [],
                   ', '.join(notes))]
