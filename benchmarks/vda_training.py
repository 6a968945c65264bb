"""Does video depth learn, and what does each temporal loss do? A tiny model tells.

    python benchmarks/vda_training.py [--folder runs/vda_tiny] [--only scratch tgm-0 ...]

A model of width 96 and depth 4 is first trained from scratch on single frames of rendered clips,
then, from those weights and with a frozen encoder, on clips of 32 frames: once for each temporal
loss and seed, with the same steps and data. AbsRel, delta1 (up to one scale and shift of the
disparity of a clip) and TAE (of those clips in which only the camera moves) are of held-out clips
of other seeds. Runs that were stopped go on; those that are done are only tested.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

import torch
from _report import print_table, write_results

from kinedepth.dense.video_depth_anything.model import VideoDepth
from kinedepth.dense.video_depth_anything.trained import load_trained, save_trained
from kinedepth.evaluation.video_depth import mean_scores
from kinedepth.training.held_out_video import FARTHEST, FIGURES, score_clip
from kinedepth.training.rendered_clips import TrainingClip, read_clips, write_training_clips
from kinedepth.training.trainer import LOG_FILE, Trainer, TrainingConfig
from kinedepth.training.video_depth import TemporalLoss, VideoDepthTask

CLIPS, HELD_OUT = 128, 16
CLIP_SEED, HELD_OUT_SEED = 0, 7

SCRATCH = TrainingConfig(
    steps=700, batch=16, learning_rate=1e-3, average=0.99, test_every=100, save_every=50
)
TUNING = TrainingConfig(
    steps=250,
    batch=1,
    learning_rate=5e-4,
    warmup=20,
    average=0.98,
    test_every=125,
    save_every=25,
)
TUNING_FRAMES = 32
WEIGHTS_FILE = "tiny.safetensors"
BEFORE_FILE = "before.json"
"""Held-out figures before the first step, beside the trainer's own log of the later ones."""
LOSSES: tuple[TemporalLoss, ...] = ("none", "tgm", "opw", "se")
LABELS = {
    "scratch": "before: single frames",
    "none": "spatial alone",
    "tgm": "spatial + TGM",
    "opw": "spatial + OPW",
    "se": "spatial + SE",
}
SEEDS = (0, 1)
"""Of the order of the clips and their crops; the weights to begin with are the same."""
RUNS = {"scratch": ("scratch", 0)} | {f"{loss}-{s}": (loss, s) for s in SEEDS for loss in LOSSES}
"""Folder of each run, its loss and seed."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("runs/vda_tiny"))
    parser.add_argument("--only", nargs="+", help="runs to train now, e.g. tgm-0")
    parser.add_argument("--no-write", action="store_true", help="leave the results file alone")
    parser.add_argument("--scratch-steps", type=int, default=SCRATCH.steps)
    parser.add_argument("--tuning-steps", type=int, default=TUNING.steps)
    arguments = parser.parse_args()
    torch.set_num_threads(1)

    folder = arguments.folder
    write_training_clips(folder / "held_out", HELD_OUT, seed=HELD_OUT_SEED)
    write_training_clips(folder / "clips", CLIPS, seed=CLIP_SEED)
    clips, held_out = read_clips(folder / "clips")[:CLIPS], read_clips(folder / "held_out")
    for name in RUNS:
        if arguments.only is None or name in arguments.only:
            steps = arguments.scratch_steps if name == "scratch" else arguments.tuning_steps
            train(folder, name, steps, clips, held_out)
    figures = collect(folder, held_out)
    print_figures(figures)
    if not arguments.no_write:
        print(f"Wrote {write_results('vda_training', figures)}")


def train(
    folder: Path,
    name: str,
    steps: int,
    clips: list[TrainingClip],
    held_out: list[TrainingClip],
) -> None:
    """Run or finish one training; its log and weights lie in ``folder / name``."""
    if name == "scratch":
        task = VideoDepthTask(clips, held_out, temporal="none", frames=1)
        config = dataclasses.replace(SCRATCH, steps=steps)
    else:
        loss, seed = RUNS[name]
        task = VideoDepthTask(
            clips,
            held_out,
            temporal=loss,  # type: ignore[arg-type]
            frames=TUNING_FRAMES,
            freeze_encoder=True,
            init=folder / "scratch" / WEIGHTS_FILE,
        )
        config = dataclasses.replace(TUNING, steps=steps, seed=seed)
    run = folder / name
    trainer = Trainer(task, config, run, torch.device("cpu"))
    before = run / BEFORE_FILE
    if not before.exists():
        run.mkdir(parents=True, exist_ok=True)
        before.write_text(json.dumps({"step": 0, "seconds": 0.0, **trainer.test()}) + "\n")
    trainer.run(lambda step, figures: tell(name, step, figures))
    trainer.network.load_state_dict(trainer.average)
    assert isinstance(trainer.network, VideoDepth)
    save_trained(run / WEIGHTS_FILE, trainer.network, {"steps": trainer.done})


def tell(name: str, step: int, figures: dict[str, float]) -> None:
    """Print the held-out figures of a test; other steps pass in silence."""
    if "abs_rel" in figures:
        shown = "  ".join(f"{key} {value:.4f}" for key, value in figures.items())
        print(f"{name}, step {step}: {shown}", flush=True)


def collect(folder: Path, held_out: list[TrainingClip]) -> dict[str, Any]:
    """What was logged on the way, and the scores of every run's weights, clip by clip."""
    logged, ends = {}, {}
    for name in RUNS:
        run = folder / name
        if not (run / WEIGHTS_FILE).exists():
            continue  # Not trained yet.
        tests = [json.loads((run / BEFORE_FILE).read_text())]
        tests += [json.loads(line) for line in (run / LOG_FILE).read_text().splitlines()]
        kept = ("step", "seconds", *FIGURES)
        logged[name] = [{key: record[key] for key in kept} for record in tests]
        # Anew, all by the same code: runs may have been trained on different days.
        network = load_trained(run / WEIGHTS_FILE)
        scores = [score_clip(network, clip, VideoDepthTask.size) for clip in held_out]
        clips = [{key: getattr(score, key) for key in FIGURES} for score in scores]
        ends[name] = {"mean": {key: mean_scores(scores)[key] for key in FIGURES}, "clips": clips}
    return {
        "training_clips": CLIPS,
        "held_out_clips": HELD_OUT,
        "farthest": FARTHEST,
        "scratch": dataclasses.asdict(SCRATCH),
        "tuning": {**dataclasses.asdict(TUNING), "frames": TUNING_FRAMES, "frozen": "encoder"},
        "logged": logged,
        "ends": ends,
    }


def print_figures(figures: dict[str, Any]) -> None:
    """One table of the first training over its steps, one of the temporal losses at their end."""
    columns = ["AbsRel", "delta1", "TAE, %"]
    if "scratch" in figures["logged"]:
        rows = [[f"step {one['step']}", *cells(one)] for one in figures["logged"]["scratch"]]
        print_table("From scratch, single frames", ["", *columns], rows)
    ends = figures["ends"]
    rows = []
    for name, end in ends.items():
        loss, seed = RUNS[name]
        other = ends.get(f"none-{seed}")
        better = lower(end, other) if other and loss in LOSSES[1:] else ""
        label = LABELS[loss] if loss == "scratch" else f"{LABELS[loss]}, seed {seed}"
        rows.append([label, *cells(end["mean"]), better])
    title = f"Then, after tuning on clips of {TUNING_FRAMES} frames"
    print_table(title, ["loss", *columns, "lower TAE than spatial alone"], rows)


def lower(end: dict[str, Any], other: dict[str, Any]) -> str:
    """On how many clips the TAE is lower."""
    pairs = [
        (mine["tae"], theirs["tae"])
        for mine, theirs in zip(end["clips"], other["clips"], strict=True)
        if mine["tae"] is not None
    ]
    return f"{sum(mine < theirs for mine, theirs in pairs)} of {len(pairs)} clips"


def cells(figures: dict[str, float]) -> list[str]:
    """AbsRel, delta1 and TAE."""
    return [f"{figures['abs_rel']:.4f}", f"{figures['delta1']:.3f}", f"{figures['tae']:.3f}"]


if __name__ == "__main__":
    main()
