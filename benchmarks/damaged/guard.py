"""Reading many inputs in a process that may hang, crash or ask for all memory.

A forked worker reads one input after the other and writes down how each ended. A timer of the
system ends it where an input takes too long, whatever code is running; its address space is
bounded. Where it dies, that input is at fault, and a new worker goes on with the next. Linux.
"""

from __future__ import annotations

import faulthandler
import json
import os
import resource
import shutil
import signal
import time
import traceback
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from damaged.case import Case
from damaged.reading import READERS, import_readers, is_clear_sentence
from kinedepth.errors import KinedepthError

MOST_SECONDS = 60
MOST_BYTES = 2 * 10**9
_MORE_ADDRESSES = 8 * 2**30
"""What a worker may ask for beyond what it starts with. Far above MOST_BYTES: a request that is
refused must not pass for a reader that is careful; but the machine must survive."""


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


def read_all(cases: Sequence[Case], scratch: Path) -> list[Outcome]:
    """Read every case in turn, each in a folder of its own under ``scratch``."""
    import_readers()  # Once, here, and not in every worker.
    record = scratch / "outcomes.jsonl"
    record.touch()
    outcomes: list[Outcome] = []
    while len(outcomes) < len(cases):
        done = len(outcomes)
        worker = os.fork()
        if worker == 0:
            _use_one_thread()
            _work(cases[done:], scratch, record)
        _, status = os.waitpid(worker, 0)
        lines = record.read_text().splitlines()
        outcomes = [Outcome(**json.loads(line)) for line in lines]
        if status != 0 and len(outcomes) < len(cases):
            case = cases[len(outcomes)]
            with record.open("a") as file:
                _note(file, Outcome(case.family, case.name, "fault", _death(status), 0.0, 0))
            outcomes = [Outcome(**json.loads(line)) for line in record.read_text().splitlines()]
    return outcomes


def _use_one_thread() -> None:
    """A fork lacks its parent's threads; a library that counts on them would wait for ever."""
    import cv2
    import torch

    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def _death(status: int) -> str:
    if not os.WIFSIGNALED(status):
        return "the case could not be made"
    number = os.WTERMSIG(status)
    if number == signal.SIGALRM:
        return f"hung for more than {MOST_SECONDS} s"
    return f"ended the process by {signal.Signals(number).name}"


def _work(cases: Sequence[Case], scratch: Path, record: Path) -> None:
    """The worker's life; it never returns."""
    status = 1
    try:
        limit = kernel_says("VmSize") + _MORE_ADDRESSES
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 2)  # Image libraries write there what they think of damage.
        faulthandler.disable()
        warnings.simplefilter("ignore")
        with record.open("a") as file:
            for number, case in enumerate(cases):
                folder = scratch / f"case-{os.getpid()}-{number}"
                folder.mkdir()
                source = case.make(folder)
                _note(file, _outcome(case, source, folder))
                os.chdir(scratch)
                shutil.rmtree(folder)
        status = 0
    except BaseException:
        (scratch / "not_made.txt").write_text(traceback.format_exc())
    finally:
        os._exit(status)


def _note(file, outcome: Outcome) -> None:  # type: ignore[no-untyped-def]
    file.write(json.dumps(asdict(outcome)) + "\n")
    file.flush()


def _outcome(case: Case, source: Path | str, folder: Path) -> Outcome:
    os.chdir(folder)
    beside = {path.name for path in folder.parent.iterdir()}
    inside = sorted(folder.rglob("*"))
    Path("/proc/self/clear_refs").write_text("5")  # The peak counts from here.
    signal.alarm(MOST_SECONDS)
    began = time.perf_counter()
    try:
        ending, says = "result", READERS[case.reader](source)
    except KinedepthError as error:
        ending, says = "refused", " ".join(str(error).split())
        if not is_clear_sentence(says):
            ending, says = "fault", f"not a clear sentence: {says[:300]}"
    except BaseException as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        ending = "fault"
        says = f"{type(error).__name__}: {error} ({Path(place.filename).name}:{place.lineno})"
    seconds = time.perf_counter() - began
    signal.alarm(0)
    peak = kernel_says("VmHWM")
    if peak > MOST_BYTES:
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
