"""The state of a step of a run, and the fate of the files in its folder: decided from facts alone."""
from __future__ import annotations

import enum
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Optional, Sequence


class State(enum.Enum):
    """Where a step stands, and so what is done with it: the word for it in the plan (:attr:`intent`), and its meaning."""

    START = 'train', 'It is trained from its beginning, whatever its folder holds.'
    RESUME = 'go on', 'Its training was stopped, and goes on from the last whole checkpoint.'
    TAKE = 'take over', 'It is step 0, and copied from where it was trained; then as FINISH.'
    FINISH = 'take over', 'It is copied; the parts of the method have yet to finish it, and it is tested.'
    EVALUATE = 'test', 'It is trained, and has no result under this protocol.'
    FINISHED = 'finished', 'It is trained and tested; nothing is left to do.'

    def __init__(self, intent: str, meaning: str) -> None:
        self.intent = intent
        self.__doc__ = meaning

    @property
    def begins(self) -> bool:
        """Whether the step begins anew, without anything from its folder."""
        return self in (State.START, State.TAKE)


class Fate(enum.Enum):
    """What happens to the files in a step's folder when its turn comes."""

    KEPT = 'The step goes on with them, or is done.'
    DELETED = 'They are of a training that did not end; those that another training could take for its own are deleted.'
    MOVED = 'They are moved aside: --overwrite asks for it, or the step before has changed since.'
    REFUSED = 'The step is finished, and nothing has asked to replace it: the run ends before it changes anything.'


@dataclass(frozen=True)
class Source:
    """The trained step 0 that a run takes over.

    Args:
        path: Its hand-over.
        is_there: Whether that is a file.
        is_this_run: Whether it is the very file that the run would copy it to.
        is_copied: Whether the run's hand-over has the same weights.
    """

    path: Path
    is_there: bool
    is_this_run: bool
    is_copied: Callable[[], bool]


@dataclass(frozen=True)
class Facts:
    """What the state of a step follows from; files are read only where it depends on them.

    Args:
        resume: The run goes on with what is there.
        overwrite: The run begins its steps anew; not with ``resume``.
        selected: The step is one of those that the run is about.
        hand_over: Where its hand-over is or will be; for errors.
        source: What it is copied from, if it is.
        has_files: Whether there is a folder of the step.
        handed_over: Whether there is a hand-over, of whatever training.
        trained: Whether the hand-over has the classes of the step, and was
            trained on top of the step before as it is now. Raises ValueError
            if it can't be read.
        differences: The keys in which the run that began the folder, if any,
            differs from this one.
        unfinished: Whether it was copied and not finished since.
        tested: Whether the hand-over has a result under the protocol.
        checkpoint: Whether there is a whole checkpoint of a training that
            began on top of the step before as it is now.
    """

    resume: bool
    overwrite: bool
    selected: bool
    hand_over: Path
    source: Optional[Source]
    has_files: Callable[[], bool]
    handed_over: Callable[[], bool]
    trained: Callable[[], bool]
    differences: Callable[[], Sequence[str]]
    unfinished: Callable[[], bool]
    tested: Callable[[], bool]
    checkpoint: Callable[[], bool]


def decide(facts: Facts) -> State:
    """Where a step stands.

    Raises:
        ValueError: The folder is of another run or from another step 0, or
            its files can't be read.
        FileNotFoundError: There is no step 0 to take over.
    """
    source = facts.source
    if source is not None and not source.is_there:
        raise FileNotFoundError(f'--first-step-from: {source.path} does not exist.')
    if source is not None and source.is_this_run:
        raise ValueError(f'--first-step-from: {source.path} belongs to this run itself; leave the option out and start with '
                         '--step 1 or --resume.')
    begun = State.START if source is None else State.TAKE
    if facts.selected and facts.overwrite:
        return begun  # even where what is there can't be read
    trained = facts.trained()
    if facts.selected and not facts.resume:
        return begun
    if facts.resume and facts.differences():
        raise ValueError(f'{facts.hand_over.parent} was trained with another scenario or method: {facts.differences()} of '
                         'step.json differ. Give another --work-dir, or --overwrite instead of --resume, which moves the '
                         'old steps aside and trains anew.')
    if trained and source is not None and not source.is_copied():
        if not facts.resume:
            return begun
        raise ValueError(f'{facts.hand_over} differs from the step 0 of {source.path}; leave --first-step-from out to go on '
                         'with it, or use --overwrite instead of --resume.')
    if trained and not facts.differences():
        if facts.unfinished():
            return State.FINISH
        return State.FINISHED if facts.tested() else State.EVALUATE
    goes_on = facts.resume and source is None and not facts.handed_over() and facts.checkpoint()
    return State.RESUME if goes_on else begun


def fate(facts: Facts) -> Fate:
    """What happens to the files in a step's folder.

    Raises:
        ValueError, FileNotFoundError: See :func:`decide`.
    """
    if not decide(facts).begins:
        return Fate.KEPT
    if facts.overwrite and facts.has_files():
        return Fate.MOVED
    if facts.handed_over():
        return Fate.MOVED if facts.resume else Fate.REFUSED
    return Fate.DELETED
