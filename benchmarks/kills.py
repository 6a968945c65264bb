"""Is anything lost when a run is killed? Kills runs at random moments, goes on, compares.

    python benchmarks/kills.py [--kills 50] [--only lift,train,predict,batch] [--seed 0]
                               [--keep FOLDER]

Each program first runs once undisturbed. Then it is started again and again in a fresh folder;
each time a random while later all its processes get SIGKILL (as a power cut would have it) or
SIGINT (Ctrl-C), and the same command goes on (``lift`` with ``--resume``), until it ends by itself.
What it leaves is compared byte for byte with what the undisturbed run left: ``lift`` and ``batch``
by ``tracks.npz`` and ``scene.html``, ``predict tapvid3d`` by its predictions, ``train seurat`` by
every tensor of its state (weights, their average, the optimiser's) and of the exported weights;
their files besides tell seconds. Films are left out: their encoder does not always write the same
bytes for the same pictures.

Clips come from ``kinedepth synth``, the networks are tiny, and checkpoints are taken more often
than by default (every 16 frames, 3 steps), so that kills find something to go on with. Programs run
in forks of this process, which has loaded the libraries: loading them would be most of the time.
"""

from __future__ import annotations

import argparse
import functools
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _report import print_table, write_results
from safetensors.torch import load_file

from kinedepth import _training_run, run_outputs
from kinedepth.cli import main as kinedepth
from kinedepth.lifting import ratios, tracks2d
from kinedepth.lifting.run import LiftRun  # noqa: F401  # Loaded before the forks.
from kinedepth.prediction import split  # noqa: F401  # Likewise.
from kinedepth.seurat.checkpoint import save_checkpoint
from kinedepth.seurat.config import SeuratConfig
from kinedepth.seurat.model import Seurat
from kinedepth.training.seurat import SeuratTask

MOST_KILLS = 4
"""Of one run, before it may end by itself."""
WEIGHTS = {"lift": 18, "train": 10, "predict": 14, "batch": 8}
"""How the kills are divided: a batch loads the libraries anew in each of its processes."""
TINY = SeuratConfig(name="tiny", width=24, heads=2, layers=1, iterations=1, support_grid=5)


@dataclass(frozen=True)
class Program:
    """Something to kill.

    Attributes:
        name: of it.
        words: its command for an output folder, when it goes on or begins.
        is_done: whether a folder holds a finished run.
        result: what a finished run left, by name, as bytes.
    """

    name: str
    words: Callable[[Path], list[str]]
    is_done: Callable[[Path], bool]
    result: Callable[[Path], dict[str, bytes]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--only", default="lift,train,predict,batch")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="keep all folders here")
    parser.add_argument("--no-write", action="store_true", help="only print the count")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    choice = random.Random(arguments.seed)
    with work_folder(arguments.keep) as folder:
        names = arguments.only.split(",")
        programs = make_programs(folder, names)
        figures = {
            program.name: torment(program, folder, count, choice)
            for program, count in zip(programs, shares(arguments.kills, names), strict=True)
        }
    show(figures)
    lost = sum(figure["runs"] - figure["equal"] for figure in figures.values())
    if not arguments.no_write:
        print("written:", write_results("kills", figures).name)
    if lost:
        raise SystemExit(f"{lost} runs did not end as if they had never been killed.")


def shares(kills: int, names: list[str]) -> list[int]:
    """``kills`` divided among programs by their weights; the first gets what is left over."""
    weights = [WEIGHTS[name] for name in names]
    counts = [kills * weight // sum(weights) for weight in weights]
    counts[0] += kills - sum(counts)
    return counts


@contextmanager
def work_folder(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def make_programs(folder: Path, names: list[str]) -> list[Program]:
    """The programs, with the data they need."""
    clips, model = folder / "clips", folder / "tiny.safetensors"
    run_to_end(["synth", clips, "--clips", "3", "--frames", "12", "--size", "48x32"], folder)
    long = folder / "long"
    run_to_end(["synth", long, "--frames", "44", "--size", "48x32", "--seed", "7"], folder)
    torch.manual_seed(0)
    save_checkpoint(model, Seurat(TINY), {"steps": 0})
    videos = folder / "videos.txt"
    videos.write_text("".join(f"{path}\n" for path in sorted(clips.glob("*.mp4"))))
    few = ["--model", str(model), "--queries", "grid:3"]
    film = str(long / "clip0000.mp4")
    train = ["--model", "tiny", "--steps", "12", "--batch", "1", "--test-every", "12"]
    programs = {
        "lift": Program(
            "lift",
            lambda out: ["lift", film, "-o", str(out), *few, "--query-frame", "24", "--resume"],
            lambda out: (out / "summary.json").exists(),
            lambda out: files(out, "tracks.npz", "scene.html"),
        ),
        "train": Program(
            "train seurat",
            lambda out: ["train", "seurat", "-o", str(out), *train],
            lambda out: (out / "tiny.safetensors").exists(),
            lambda out: tensors(out, "*.safetensors"),
        ),
        "predict": Program(
            "predict tapvid3d",
            lambda out: [
                *("predict", "tapvid3d", "--data", str(clips), "-o", str(out)),
                *("--model", str(model)),
            ],
            lambda out: len(list(out.rglob("clip*.npz"))) == 3,
            lambda out: files(out, "*.npz"),
        ),
        "batch": Program(
            "batch",
            lambda out: ["batch", str(videos), "-o", str(out), "--", *few],
            lambda out: len(list(out.glob("*/summary.json"))) == 3,
            lambda out: files(out, "tracks.npz", "scene.html"),
        ),
    }
    return [programs[name] for name in names]


def files(folder: Path, *patterns: str) -> dict[str, bytes]:
    """What the files of these names hold, anywhere in ``folder``."""
    found = (path for pattern in patterns for path in folder.rglob(pattern))
    return {str(path.relative_to(folder)): path.read_bytes() for path in found if path.is_file()}


def tensors(folder: Path, pattern: str) -> dict[str, bytes]:
    """Every tensor of the files of these names."""
    return {
        f"{path.name}: {name}": np.asarray(value).tobytes()
        for path in folder.glob(pattern)
        for name, value in load_file(path).items()
    }


def torment(program: Program, folder: Path, kills: int, choice: random.Random) -> dict[str, Any]:
    """Kill a program so many times, each run until it ends as the undisturbed one did or not."""
    place = folder / program.name.replace(" ", "_")
    began = time.perf_counter()
    run_to_end(program.words(place / "whole"), folder)
    duration = time.perf_counter() - began
    whole = program.result(place / "whole")
    figures: dict[str, Any] = {"kills": 0, "SIGKILL": 0, "SIGINT": 0, "runs": 0, "equal": 0}
    figures["seconds_undisturbed"] = round(duration, 2)
    figures["killed_after_seconds"] = []
    while figures["kills"] < kills:
        out = place / f"run{figures['runs']}"
        most = min(MOST_KILLS, kills - figures["kills"])
        for moment, how in kill_until_done(program, out, folder, duration, most, choice):
            figures["kills"] += 1
            figures[how.name] += 1
            figures["killed_after_seconds"].append(round(moment, 3))
        figures["runs"] += 1
        found = program.result(out)
        figures["equal"] += found == whole
        if found != whole:
            print(f"{out}: {[n for n in whole if found.get(n) != whole[n]][:5]} differ", flush=True)
    print(f"{program.name}: {figures}", flush=True)
    return figures


def kill_until_done(
    program: Program,
    out: Path,
    folder: Path,
    duration: float,
    most: int,
    choice: random.Random,
) -> Iterator[tuple[float, signal.Signals]]:
    """Start, kill and go on until a run ends by itself; yield when and how each kill came."""
    killed = 0
    while not program.is_done(out):
        child = start(program.words(out), folder)
        moment = choice.uniform(0.0, 0.9 * duration) if killed < most else float("inf")
        code = wait_for(child, moment)
        if code is None:
            how = choice.choice([signal.SIGKILL, signal.SIGINT])
            os.killpg(child, how)
            os.waitpid(child, 0)
            killed += 1
            yield moment, how
        elif code != 0:
            raise SystemExit(f"{' '.join(program.words(out))} ended with {code}; see log.txt.")
        else:
            return


def wait_for(child: int, seconds: float) -> int | None:
    """The exit code of a child; None if it is still at work after ``seconds``."""
    deadline = time.perf_counter() + seconds
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        left = deadline - time.perf_counter()
        if left <= 0:
            return None
        time.sleep(min(0.005, left))


def run_to_end(words: list[Any], folder: Path) -> None:
    code = wait_for(start([str(word) for word in words], folder), float("inf"))
    if code != 0:
        raise SystemExit(f"{' '.join(map(str, words))} ended with {code}; see log.txt.")


def start(words: list[str], folder: Path) -> int:
    """Run the program in a child of this process, in a session of its own; returns its number."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        os.setsid()
        # Shells start what runs in the background with Ctrl-C turned off.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        log = os.open(folder / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        with_small_steps()
        kinedepth(words)
        code = 0
    except SystemExit as ending:
        code = ending.code if isinstance(ending.code, int) else int(ending.code is not None)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(code)


def with_small_steps() -> None:
    """Tiny trainings, and checkpoints that come often enough for tiny runs."""
    # Rerun takes seconds to load, and its recordings tell the time.
    run_outputs.write_rerun = lambda *_: None
    tracks2d.CHECKPOINT_FRAMES = 16
    ratios.CHECKPOINT_BATCHES = 2
    _training_run.MODELS["tiny"] = lambda: TINY
    often = functools.partial(_training_run.TrainingConfig, save_every=3)
    _training_run.TrainingConfig = often  # type: ignore[assignment,misc]
    SeuratTask.for_model = staticmethod(  # type: ignore[method-assign,assignment]
        lambda model: SeuratTask(model, held_out=1)
    )


def show(figures: dict[str, dict[str, Any]]) -> None:
    columns = ["program", "kills", "SIGKILL", "SIGINT", "runs", "equal in the end"]
    rows = [
        [name, *(str(figure[key]) for key in ("kills", "SIGKILL", "SIGINT", "runs", "equal"))]
        for name, figure in figures.items()
    ]
    total = [sum(f[k] for f in figures.values()) for k in ("kills", "SIGKILL", "SIGINT")]
    total += [sum(f[k] for f in figures.values()) for k in ("runs", "equal")]
    rows.append(["all", *map(str, total)])
    print_table("killed at random moments and gone on with", columns, rows)


if __name__ == "__main__":
    main()
