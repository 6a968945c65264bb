"""Reading many inputs in a process that may hang, crash or ask for all memory.

A worker, a fresh process, is told of one input after the other and answers how each ended. Where
it takes too long it is killed, whatever code is running; its address space is bounded. Where it
dies, that input is at fault, and a new worker goes on with the next. Linux.
"""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import resource
import shutil
import signal
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from damaged.case import Case
from damaged.corpus import corpus
from damaged.reading import READERS, Readers, import_readers, is_clear_sentence
from kinedepth.errors import KinedepthError

MOST_SECONDS = 60.0
MOST_BYTES = 2 * 10**9
_MORE_ADDRESSES = 8 * 2**30
"""What a worker may ask for beyond what it starts with. Far above MOST_BYTES: a request that is
refused must not pass for a reader that is careful; but the machine must survive."""

_MADE = "made"

Load = Callable[[], tuple[Sequence[Case], Readers]]
"""Gives the cases and what reads them. Cases do not travel between processes, so each calls it."""


@dataclass(frozen=True)
class Limits:
    """What an input may take."""

    seconds: float = MOST_SECONDS
    memory: int = MOST_BYTES  # bytes, of the whole process


@dataclass(frozen=True)
class Outcome:
    """How one input ended.

    Attributes:
        family, name: of the case.
        ending: ``result``, ``refused`` or ``fault``.
        says: what came out, the sentence, or the fault.
        seconds: it took.
        peak: bytes of memory the process had at most, everything included.
    """

    family: str
    name: str
    ending: str
    says: str
    seconds: float
    peak: int


def load_corpus() -> tuple[Sequence[Case], Readers]:
    """The corpus and the package's readers."""
    import_readers()  # Not within the time of the first case.
    return corpus(), READERS


def read_all(
    indices: Sequence[int], scratch: Path, load: Load = load_corpus, limits: Limits = Limits()
) -> list[Outcome]:
    """Read cases in turn, each in a folder of its own under ``scratch``.

    Args:
        indices: of the cases to read, among those that ``load`` gives.
        scratch: an empty folder.
        load: a function of a module, called in every worker.
        limits: beyond which an input is at fault.
    """
    cases, _ = load()
    outcomes = []
    worker = None
    try:
        for index in indices:
            worker = worker or _Worker(scratch, load, limits)
            outcome = worker.read(index)
            if isinstance(outcome, str):
                case = cases[index]
                outcome = Outcome(case.family, case.name, "fault", outcome, 0.0, 0)
                worker = None
            outcomes.append(outcome)
    finally:
        if worker is not None:
            worker.end()
    return outcomes


class _Worker:
    """A process that reads, and the way to talk to it."""

    def __init__(self, scratch: Path, load: Load, limits: Limits) -> None:
        # Spawned: a fork lacks its parent's threads, and would wait for them for ever.
        context = multiprocessing.get_context("spawn")
        self._limits = limits
        self._connection, theirs = context.Pipe()
        arguments = (theirs, scratch, load, limits)
        self._process = context.Process(target=_serve, args=arguments, daemon=True)
        self._process.start()
        theirs.close()  # So that the pipe ends when the worker does.

    def read(self, index: int) -> Outcome | str:
        """How a case ended, or in which way the worker did."""
        try:
            self._connection.send(index)
            made = self._connection.recv()
            if made != _MADE:
                self.end()
                return made
            if not self._connection.poll(self._limits.seconds):
                self.end()
                return f"hung for more than {self._limits.seconds:g} s"
            return self._connection.recv()
        except (EOFError, OSError):
            self._process.join()
            self._connection.close()
            code = self._process.exitcode or 0
            return f"ended the process by {signal.Signals(-code).name if code < 0 else code}"

    def end(self) -> None:
        self._process.kill()
        self._process.join()
        self._connection.close()


def _serve(connection: Connection, scratch: Path, load: Load, limits: Limits) -> None:
    """The worker's life."""
    cases, readers = load()
    limit = kernel_says("VmSize") + _MORE_ADDRESSES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 2)  # Image libraries write there what they think of damage.
    faulthandler.disable()
    warnings.simplefilter("ignore")
    while True:
        index = connection.recv()
        folder = scratch / f"case-{index}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        try:
            source = cases[index].make(folder)
        except Exception:
            connection.send(f"could not be made: {traceback.format_exc()}")
            return
        connection.send(_MADE)
        connection.send(_outcome(cases[index], readers, source, folder, limits.memory))
        os.chdir(scratch)
        shutil.rmtree(folder)


def _outcome(
    case: Case, readers: Readers, source: Path | str, folder: Path, most_bytes: int
) -> Outcome:
    os.chdir(folder)
    beside = {path.name for path in folder.parent.iterdir()}
    inside = sorted(folder.rglob("*"))
    Path("/proc/self/clear_refs").write_text("5")  # The peak counts from here.
    began = time.perf_counter()
    try:
        ending, says = "result", readers[case.reader](source)
    except KinedepthError as error:
        ending, says = "refused", " ".join(str(error).split())
        if not is_clear_sentence(says):
            ending, says = "fault", f"not a clear sentence: {says[:300]}"
    except BaseException as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        ending = "fault"
        says = f"{type(error).__name__}: {error} ({Path(place.filename).name}:{place.lineno})"
    seconds = time.perf_counter() - began
    peak = kernel_says("VmHWM")
    if peak > most_bytes:
        ending, says = "fault", f"took {peak / 1e9:.1f} GB of memory; {says}"
    if sorted(folder.rglob("*")) != inside or {p.name for p in folder.parent.iterdir()} != beside:
        ending, says = "fault", f"left files behind; {says}"
    says = says.replace(f"{folder}/", "").replace(str(folder), "the folder")
    return Outcome(case.family, case.name, ending, says[:400], round(seconds, 3), peak)


def kernel_says(key: str) -> int:
    """Bytes of this process: ``VmSize`` of addresses, ``VmHWM`` of memory at most."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key):
            return 1024 * int(line.split()[1])
    raise RuntimeError(f"the kernel does not tell {key}")
