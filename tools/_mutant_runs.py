"""What becomes of a config: refused, trained, or found too late."""
from __future__ import annotations

import contextlib
import gc
import io
import json
import logging
import multiprocessing
import multiprocessing.connection
import os
import re
import resource
import select
import signal
import tempfile
import time
import traceback
import warnings
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Dict, Iterable, Iterator, List, Mapping, Optional, Sequence, Tuple

import yapf.yapflib.yapf_api as yapf_module
from mmcss.arguments import arguments_of
from mmcss.engine import ContinualRunner
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmseg.registry import DATA_SAMPLERS, MODELS

from _mutants import BASES, Mutant, base_config

OUTCOMES = ('refused', 'trained', 'planned', 'diverged', 'vague', 'raw', 'late', 'silent', 'hung')
FAULTS = ('vague', 'raw', 'late', 'silent', 'hung')
CLEAR = (ValueError, OSError)
MEMORY = 8 * 2**30  # bytes of a process
SECONDS = 30
# Sections whose keys mmcss reads, and those below them whose keys are names of the user's.
STEPS = ('first_step', 'next_steps')
OWN = ('continual', 'scenario', 'protocol', 'run', 'profile', 'official', *STEPS)
# Settings that are called like what configs have for variables.
VARIABLES = ('seed', 'classes')
FREE = re.compile(r'(continual|official\.continual|next_steps\.continual)\.losses\.\w+')
# Words by which an error says what would do.
VALID = re.compile(r'\b(expected|valid|did you mean|lacks?|needs?|must|should|at least|at most|[Gg]ive|[Tt]ake|[Ss]et|'
                   r'[Cc]hoose|such as|[Ll]eave|only|required|missing|registered|no such|unexpected|unknown|it has|'
                   r'mmcss trains|exclusive|has to|train with|have to|[Ll]ook at|[Cc]heck|[Uu]se)\b')


@HOOKS.register_module()
class FewIterations(Hook):
    """Ends a step after a few iterations, whatever its schedule."""

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        if runner.iter >= 2:
            runner.train_loop.stop_training = True


@dataclass(frozen=True)
class Outcome:
    """What became of a mutant.

    Args:
        kind: One of :data:`OUTCOMES`.
        error: Type and text of what was raised, or ''.
        where: File and line that raised it, and the last ones of mmcss on the way.
        lacking: Of 'key', 'got' and 'valid' what the error doesn't say.
    """

    kind: str
    error: str = ''
    where: str = ''
    lacking: Tuple[str, ...] = ()


def judge(mutant: Mutant, config: Mapping[str, Any], error: Optional[BaseException], began: bool,
          trained: bool) -> Outcome:
    """The outcome of a run.

    Args:
        mutant: What was run.
        config: The valid config that it comes of.
        error: What it raised, or None.
        began: Whether a step had begun.
        trained: Whether it was to train, not only planned.
    """
    if error is None:
        return Outcome('silent' if is_own_key(mutant, config) else 'trained' if trained else 'planned')
    text = f'{type(error).__name__}: {error}'
    raised = error if began else error.__cause__
    if isinstance(raised, FloatingPointError) and mutant.value == mutant.value:  # else the NaN was there from the start
        return Outcome('diverged', text, _where(error))
    lacking = lacks(mutant, str(error))
    kind = 'late' if began else 'raw' if not isinstance(error, CLEAR) else 'vague' if lacking else 'refused'
    return Outcome(kind, text, _where(error), lacking)


def is_own_key(mutant: Mutant, config: Mapping[str, Any]) -> bool:
    """Whether a mutant of a valid config has a key where mmcss alone reads, and none such is known there."""
    place, top, *below = mutant.place, *mutant.path
    stock = top in STEPS and below[:1] not in ([], ['continual'])
    if mutant.action == 'rename':
        return (not below or top in OWN and not (stock and len(below) > 1)) and not FREE.fullmatch(place)
    if mutant.kind == 'foreign setting':
        return top in OWN and top != 'official' and not stock and not _takes(mutant, config)
    # A level up from one of mmcss's own sections is the top.
    return mutant.action == 'sink' and not below and top in OWN or (
        mutant.action == 'lift' and len(below) == 1 and top in OWN and top not in STEPS and below[0] not in VARIABLES)


def _takes(mutant: Mutant, config: Mapping[str, Any]) -> bool:
    """Whether the component that a setting is given to has it too."""
    for key in mutant.path:
        config = config[key]
    classes = [registry.get(config['type']) for registry in (MODELS, DATA_SAMPLERS)] if 'type' in config else []
    return mutant.path[0] in STEPS and len(mutant.path) == 1 or any(
        cls is not None and mutant.value[0] in arguments_of(cls) for cls in classes)


def lacks(mutant: Mutant, text: str) -> Tuple[str, ...]:
    """Which of key, got and valid an error doesn't say: the key may be the one above it as well."""
    keys = [key for key in mutant.path if isinstance(key, str)]
    named = keys[-2:]
    named += ['model'] if keys[0] == 'model' else []  # its components have to fit each other
    if mutant.action == 'rename':
        named.append(mutant.value)
    if mutant.action == 'insert':
        named.append(mutant.value[0] if mutant.kind == 'foreign setting' else keys[-1])
    missing = [] if _says(text, named) else ['key']
    if mutant.action in ('set', 'insert') and mutant.kind != 'foreign setting':
        shown = [repr(mutant.value), str(mutant.value), type(mutant.value).__name__, 'got']
        # Of numbers that are none, or too large, the rehearsal tells what becomes of them.
        shown += ['NaN', 'nan', 'inf'] if mutant.value != mutant.value or mutant.value == 10**9 else []
        shown += ['lacks', 'give', 'needs'] if not mutant.value else []  # as if it were not there
        missing += [] if _says(text, shown) else ['got']
    return (*missing, *(() if VALID.search(text) else ('valid', )))


def _says(text: str, words: Iterable[str]) -> bool:
    return any(re.search(rf'(?<![A-Za-z]){re.escape(word)}(?![A-Za-z])', text) for word in words)


def run_mutant(mutant: Mutant, config: Dict[str, Any], train: bool) -> Outcome:
    """Plan a config, or train it, in this process and its current folder."""
    began: List[int] = []

    class Watched(ContinualRunner):
        """Tells when its first step begins."""

        def _run_step(self, step: int) -> None:
            began.append(step)
            super()._run_step(step)

    error = None
    try:
        runner = Watched.from_cfg(Config(mutant.apply(config)))
        if train:
            runner.train()
        else:
            runner.describe()
    except BaseException as raised:  # whatever it is, it is what the user would see
        error = raised
    return judge(mutant, config, error, bool(began), train)


def _where(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if '/mmcss/' in frame.filename]
    places = [f'{Path(frame.filename).parent.name}/{Path(frame.filename).name}:{frame.lineno}'
            for frame in [*ours[-2:], *frames[-1:]]]
    return ' > '.join(dict.fromkeys(places))


# Processes.


class Trier:
    """A process that runs mutants, each in a fork of it.

    Args:
        data: Folder of the data.
        folder: A folder of its own.
        train: Share of the mutants that are trained, not only planned.
    """

    def __init__(self, data: Path, folder: Path) -> None:
        self.pipe, theirs = multiprocessing.Pipe()
        self.process = multiprocessing.get_context('spawn').Process(target=_serve, args=(theirs, data, folder), daemon=True)
        self.process.start()
        theirs.close()


def try_all(mutants: Sequence[Tuple[Mutant, bool]], data: Path, folder: Path,
            jobs: int = 2) -> Iterator[Tuple[int, Outcome, float]]:
    """Run mutants in some processes.

    Args:
        mutants: Each with whether it is trained, or only planned.
        data: Folder of :func:`_soak_runs.write_data`.
        folder: A folder for what they write.
        jobs: Number of processes.

    Yields:
        Number of the mutant, its outcome and the seconds that it took, as they end.
    """
    triers = [Trier(data, folder / str(number)) for number in range(jobs)]
    left = iter(enumerate(mutants))
    running: Dict[Connection, int] = {}
    pipes = [trier.pipe for trier in triers]
    try:
        for pipe in pipes:
            _next(pipe, left, running)
        while running:
            for pipe in multiprocessing.connection.wait(list(running)):
                number = running.pop(pipe)
                outcome, seconds = pipe.recv()
                _next(pipe, left, running)
                yield number, outcome, seconds
    finally:
        for trier in triers:
            trier.process.kill()
            trier.process.join()


def _next(pipe: Connection, left: Iterator[Tuple[int, Tuple[Mutant, bool]]], running: Dict[Connection, int]) -> None:
    following = next(left, None)
    if following is not None:
        running[pipe] = following[0]
        pipe.send(following[1])


def _serve(pipe: Connection, data: Path, folder: Path) -> None:
    """Warm up, and run what comes through the pipe, each in a fork: none finds what another left in the process."""
    folder.mkdir(parents=True)
    os.environ['MMCSS_CACHE'] = str(folder / 'cache')
    warnings.simplefilter('ignore')
    logging.disable(logging.CRITICAL)
    yapf_module.FormatCode = lambda text, **options: (text, True)  # half a second for nothing
    configs = {name: base_config(name, data, Path('work')) for name in BASES}
    os.chdir(tempfile.mkdtemp(dir=folder))
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        for name in ('plop', 'online_em'):
            ContinualRunner.from_cfg(Config(configs[name])).describe()
    gc.collect()
    gc.freeze()
    gc.disable()
    gc.collect = lambda *args: 0  # a quarter of a second, several times in a run
    while True:
        try:
            mutant, train = pipe.recv()
        except EOFError:
            return
        start = time.time()
        with tempfile.TemporaryDirectory(dir=folder) as work:
            outcome = _in_a_fork(mutant, configs[mutant.base], train, work)
        pipe.send((outcome, time.time() - start))


def _in_a_fork(mutant: Mutant, config: Dict[str, Any], train: bool, work: str) -> Outcome:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
            os.chdir(work)
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, 1)
            os.dup2(nothing, 2)
            outcome = run_mutant(mutant, config, train)
            os.write(writing, json.dumps(vars(outcome)).encode()[:60000])
        finally:
            os._exit(0)
    os.close(writing)
    written = b''
    until = time.time() + SECONDS
    while select.select([reading], [], [], max(until - time.time(), 0))[0]:
        chunk = os.read(reading, 65536)
        if not chunk:
            break
        written += chunk
    else:
        os.kill(child, signal.SIGKILL)
    os.close(reading)
    _, status = os.waitpid(child, 0)
    if not written:
        begun = any(Path(work).rglob('step_0'))
        return Outcome('hung', f'{"began and " if begun else ""}ended by signal {status & 127} after '
                       f'{time.time() - until + SECONDS:.0f} s')
    values = json.loads(written)
    return Outcome(**dict(values, lacking=tuple(values['lacking'])))
