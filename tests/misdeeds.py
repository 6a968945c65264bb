"""Readers that do what the guard of the damaged inputs has to see."""

import os
import signal
import time

import numpy as np
from damaged.case import Case
from damaged.guard import Limits

from kinedepth.errors import KinedepthError

LIMITS = Limits(seconds=5.0, memory=300_000_000)


def _raise(error):
    raise error


def _leave_a_file():
    with open("left", "w"):
        pass


MISDEEDS = {
    "raises": (lambda: _raise(KeyError("x")), "KeyError"),
    "crashes": (lambda: os.kill(os.getpid(), signal.SIGSEGV), "SIGSEGV"),
    "hangs": (lambda: time.sleep(600), "hung for more than 5 s"),
    "takes all memory": (lambda: np.ones(300_000_000, "u1").sum(), "GB of memory"),
    "leaves a file": (_leave_a_file, "left files behind"),
    "mumbles": (lambda: _raise(KinedepthError("no")), "not a clear sentence"),
}
"""What each does, and what the guard says of it."""


def _read(name):
    MISDEEDS[name][0]()
    return "done"


def load():
    """A case without fault, and one for each misdeed."""
    names = list(MISDEEDS)
    cases = [Case("f", "good", "good", lambda folder: folder)]
    cases += [Case("f", name, name, lambda folder: folder) for name in names]
    readers = {name: lambda source, name=name: _read(name) for name in names}
    return cases, {"good": lambda source: "fine", **readers}
