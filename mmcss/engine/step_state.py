"""The state of a step of a run, and the fate of the files in its folder: decided from facts alone."""
from __future__ import annotations

import enum
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Optional, Sequence


class State(enum.Enum):
    """Where a step stands, and so what is done with it: the word that tells of it (:attr:`intent`), and its meaning."""

    START = 'train', 'It is trained from its beginning, whatever its folder holds.'
    RESUME = 'go on', 'Its training was stopped, and goes on from the last whole checkpoint.'
    TAKE = 'take over', 'It is step 0, and copied from where it was trained; then as FINISH.'
    FINISH = 'take over', 'It is copied; the parts of the method have still to look at it, and it is tested.'
    EVALUATE = 'test', 'It is trained, and has no result under this protocol.'
    FINISHED = 'finished', 'It is trained and tested; nothing is left to do.'

    def __init__(self, intent: str, meaning: str) -> None:
        self.intent = intent
        self.__doc__ = meaning

    @property
    def begins(self) -> bool:
        """Whether the step is done without anything of what its folder holds."""
        return self in (State.START, State.TAKE)


class Fate(enum.Enum):
    """What becomes of what a step's folder holds when its turn comes."""

    KEPT = 'The step goes on with it, or is done.'
    DELETED = 'A training that did not end has left it; all that another could take for its own goes.'
    MOVED = 'It goes aside as it is: --overwrite has asked for it, or the step before is another one by now.'
    REFUSED = 'The step is finished, and nothing has asked to replace it: the run ends before it touches anything.'


@dataclass(frozen=True)
class Source:
    """The trained step 0 that a run takes over.

    Args:
        path: Its hand-over.
        is_there: Whether that is a file.
        is_own: Whether it is the very file that the run would copy it to.
        same: Whether that has been done: the run's hand-over is of the same
            weights.
    """

    path: Path
    is_there: bool
    is_own: bool
    same: Callable[[], bool]


@dataclass(frozen=True)
class Facts:
    """What the state of a step follows from; what has to be read is called for only where it matters.

    Args:
        resume: The run goes on with what is there.
        overwrite: The run begins its steps anew; not with ``resume``.
        asked: The step is one of those that the run is about.
        hand_over: Where its hand-over is or will be; for errors.
        source: What it is copied from, if it is.
        has_files: Whether there is a folder of the step.
        handed_over: Whether there is a hand-over, of whatever training.
        trained: Whether the hand-over has the classes of the step and stems
            from the step before as it is now. Raises ValueError if it can't
            be read.
        others: What differs of the run that began in the folder, if one did.
        unfinished: Whether it was copied and not finished since.
        tested: Whether the hand-over has a result under the protocol.
        checkpoint: Whether there is a whole checkpoint of a training that
            began on top of the step before as it is now.
    """

    resume: bool
    overwrite: bool
    asked: bool
    hand_over: Path
    source: Optional[Source]
    has_files: Callable[[], bool]
    handed_over: Callable[[], bool]
    trained: Callable[[], bool]
    others: Callable[[], Sequence[str]]
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
        raise FileNotFoundError(f'--first-step-from: there is no {source.path}.')
    if source is not None and source.is_own:
        raise ValueError(f'--first-step-from: {source.path} is this run itself; leave the option out and start with '
                         '--step 1 or --resume.')
    begun = State.START if source is None else State.TAKE
    if facts.asked and facts.overwrite:
        return begun  # even where what is there can't be read
    trained = facts.trained()
    if facts.asked and not facts.resume:
        return begun
    if facts.resume and facts.others():
        raise ValueError(f'{facts.hand_over.parent} was trained with another scenario or method: {facts.others()} of '
                         'step.json differ. Give another --work-dir, or --overwrite in place of --resume, which moves the '
                         'old steps aside and trains anew.')
    if trained and source is not None and not source.same():
        if not facts.resume:
            return begun
        raise ValueError(f'{facts.hand_over} is another step 0 than that of {source.path}; leave --first-step-from out to '
                         'go on with it, or take --overwrite in place of --resume.')
    if trained and not facts.others():
        if facts.unfinished():
            return State.FINISH
        return State.FINISHED if facts.tested() else State.EVALUATE
    goes_on = facts.resume and source is None and not facts.handed_over() and facts.checkpoint()
    return State.RESUME if goes_on else begun


def fate(facts: Facts) -> Fate:
    """What becomes of what a step's folder holds.

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
