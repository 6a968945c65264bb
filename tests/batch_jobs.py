"""Work for the tests of batches. A module of its own, which a fresh process imports quickly."""

import json
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from kinedepth.errors import KinedepthError
from kinedepth.exporting.atomic import atomic_path


def finish(folder, **facts):
    (folder / "summary.json").write_text(json.dumps({"frames": 5, "seconds": {"all": 1}, **facts}))


@dataclass(frozen=True)
class Misbehaving:
    """Finishes every video but the named one, where it does a misdeed the first ``times``."""

    name: str
    misdeed: str
    times: int = 1

    def __call__(self, video: str, folder: Path) -> None:
        with open(folder / "tries", "a") as file:
            print(os.getpid(), os.environ.get("OMP_NUM_THREADS"), file=file)
        tries = len((folder / "tries").read_text().splitlines())
        if Path(video).stem == self.name and tries <= self.times:
            MISDEEDS[self.misdeed]()
        finish(folder, tracks=7)


def _raise(error):
    raise error


MISDEEDS = {
    "bad input": lambda: _raise(KinedepthError("It is\nbroken; mend it.")),
    "bug": lambda: _raise(RuntimeError("a bug")),
    "memory": lambda: _raise(MemoryError()),
    "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "exits": lambda: os._exit(3),
}


def write_for_ever(video: str, folder: Path) -> None:
    """Is in the middle of a file when it is stopped."""
    with atomic_path(folder / "half.txt") as path:
        path.write_text(str(os.getpid()))
        time.sleep(600)


@dataclass(frozen=True)
class LiftKilledOnce:
    """Lifts the named video; its process is killed once the tracks are there, the first time.

    Other videos are finished at once.
    """

    name: str
    options: tuple[str, ...]

    def __call__(self, video: str, folder: Path) -> None:
        from kinedepth import run_outputs
        from kinedepth.commands._batch_job import CommandJob

        if Path(video).stem != self.name:
            finish(folder)
            return
        if not (folder / "killed").exists():

            def kill(*_, **__):
                assert (folder / "tracks.npz").exists()
                (folder / "killed").touch()
                os.kill(os.getpid(), signal.SIGKILL)

            run_outputs.write_overlay = kill
        CommandJob("lift", self.options)(video, folder)
