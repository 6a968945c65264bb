"""Does RollingDepth learn, and what do dilations, co-alignment and refinement do?

    python benchmarks/rolling_training.py [--folder FOLDER] [--minutes M] [--only WAY ...]

A tiny autoencoder and then a tiny network are trained from scratch on snippets of one to three
frames of rendered clips at 56x56. The network then predicts held-out clips of 78 frames of other
seeds, whole, in several ways: with fewer dilations, without co-alignment, with refinement. AbsRel
and delta1 are up to one scale and shift of the disparity of a clip; TAE is of those clips in which
only the camera moves. Runs that were stopped go on; --minutes 0 takes the network as far as it
is. Figures of a way are kept beside the runs, so that ways can be gone one by one.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from _report import print_table, write_results

from kinedepth.dense.rolling_depth.components import load_components
from kinedepth.dense.rolling_depth.config import RollingDepthSettings
from kinedepth.dense.rolling_depth.tiny import write_tiny_pipeline
from kinedepth.dense.rolling_depth.trained import read_training, save_trained
from kinedepth.evaluation.video_depth import mean_scores
from kinedepth.training.autoencoder import AutoencoderTask, set_scaling_factor
from kinedepth.training.footage import ClipFootage, Footage, ShrunkFootage
from kinedepth.training.held_out_footage import score_one
from kinedepth.training.held_out_video import FIGURES
from kinedepth.training.rendered_clips import read_clips, write_training_clips
from kinedepth.training.rolling_depth import RollingDepthTask
from kinedepth.training.trainer import LOG_FILE, Trainer, TrainingConfig

CLIPS, CLIP_SEED = 128, 0
HELD_OUT, HELD_OUT_SEED, HELD_OUT_FRAMES = 12, 27, 78
SHRINK, SIZE = 2, 56

AUTOENCODER = TrainingConfig(
    steps=800,
    batch=8,
    learning_rate=1e-3,
    average=0.99,
    test_every=100,
    save_every=50,
    decay="exponential",
    final_share=0.1,
)
NETWORK = TrainingConfig(
    steps=3000,
    batch=12,
    learning_rate=6e-4,
    average=0.995,
    test_every=250,
    save_every=50,
    decay="exponential",
    final_share=0.1,
)

WAYS: dict[str, RollingDepthSettings] = {
    "single frames": RollingDepthSettings(
        resolution=0, dilations=(1,), snippet_length=1, solver="none"
    ),
    **{
        f"dilations {', '.join(map(str, dilations))}": RollingDepthSettings(
            resolution=0, dilations=dilations
        )
        for dilations in ((1,), (1, 25), (1, 10, 25))
    },
    **{
        f"dilations {', '.join(map(str, dilations))}, not co-aligned": RollingDepthSettings(
            resolution=0, dilations=dilations, solver="none"
        )
        for dilations in ((1,), (1, 25), (1, 10, 25))
    },
    "dilations 1, 10, 25, refined in 10 steps": RollingDepthSettings(
        resolution=0, dilations=(1, 10, 25), refine_steps=10
    ),
}
PIPELINE = "pipeline"
COMPARED_WITH = "dilations 1, 10, 25"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("runs/rolling_tiny"))
    parser.add_argument("--minutes", type=float, default=math.inf, help="of each training")
    parser.add_argument("--only", nargs="+", choices=WAYS, help="ways to go now; then stop")
    parser.add_argument("--no-write", action="store_true", help="leave the results file alone")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    folder, seconds = arguments.folder, 60 * arguments.minutes
    sizes = {"width": 112, "height": 112}
    write_training_clips(
        folder / "held_out", HELD_OUT, frames=HELD_OUT_FRAMES, seed=HELD_OUT_SEED, **sizes
    )
    write_training_clips(folder / "clips", CLIPS, seed=CLIP_SEED, **sizes)
    clips, held_out = shrunk(folder / "clips", CLIPS), shrunk(folder / "held_out", HELD_OUT)
    begun_with = train_autoencoder(folder, clips, held_out, seconds)
    steps = train_network(folder, begun_with, clips, held_out, seconds)
    ways = {
        name: scored(folder, name, steps, held_out)
        for name in WAYS
        if arguments.only is None or name in arguments.only
    }
    if arguments.only is not None:
        return
    figures = {
        "steps": steps,
        "clips": CLIPS,
        "held_out_clips": HELD_OUT,
        "held_out_frames": HELD_OUT_FRAMES,
        "size": SIZE,
        "autoencoder": dataclasses.asdict(AUTOENCODER),
        "network": dataclasses.asdict(NETWORK),
        "autoencoder_tests": tests(folder / "autoencoder"),
        "network_tests": tests(folder / "network"),
        "ways": ways,
    }
    print_figures(figures)
    if not arguments.no_write:
        print(f"Wrote {write_results('rolling_training', figures)}")


def shrunk(folder: Path, count: int) -> list[Footage]:
    """Clips at half their size."""
    return [ShrunkFootage(ClipFootage(clip), SHRINK) for clip in read_clips(folder)[:count]]


def train_autoencoder(
    folder: Path, clips: Sequence[Footage], held_out: Sequence[Footage], seconds: float
) -> Path:
    """The pipeline that the network's training begins with."""
    pipeline = folder / "start"
    trainer = finish(
        AutoencoderTask(clips, held_out, SIZE), AUTOENCODER, folder / "autoencoder", seconds
    )
    if not (pipeline / "model_index.json").exists():
        trainer.network.load_state_dict(trainer.average)
        set_scaling_factor(trainer.network, clips, SIZE)
        torch.manual_seed(0)
        write_tiny_pipeline(pipeline, trainer.network)
    return pipeline


def train_network(
    folder: Path,
    begun_with: Path,
    clips: Sequence[Footage],
    held_out: Sequence[Footage],
    seconds: float,
) -> int:
    """Write the pipeline; how many steps it was trained for."""
    task = RollingDepthTask(clips, held_out, begun_with, size=SIZE)
    trainer = finish(task, NETWORK, folder / "network", seconds)
    target = folder / PIPELINE
    if not target.exists() or read_training(target)["steps"] != trainer.done:
        trainer.network.load_state_dict(trainer.average)
        save_trained(target, task.parts_with(trainer.network), begun_with, {"steps": trainer.done})
    return trainer.done


def finish(task: Any, config: TrainingConfig, run: Path, seconds: float) -> Trainer:
    """A run, gone on with to its end; tested before its first step, too."""
    trainer = Trainer(task, config, run, torch.device("cpu"))
    before = run / "before.json"
    if not before.exists():
        run.mkdir(parents=True, exist_ok=True)
        before.write_text(json.dumps({"step": 0, "seconds": 0.0, **trainer.test()}) + "\n")
    trainer.run(lambda step, figures: tell(run.name, step, figures), seconds)
    return trainer


def tell(name: str, step: int, figures: dict[str, float]) -> None:
    """Print the held-out figures of a test; other steps pass in silence."""
    if "gradient_norm" not in figures:
        shown = "  ".join(f"{key} {value:.4f}" for key, value in figures.items())
        print(f"{name}, step {step}: {shown}", flush=True)


def tests(run: Path) -> list[dict[str, float]]:
    """What was logged of a run's tests."""
    lines = [(run / "before.json").read_text(), *(run / LOG_FILE).read_text().splitlines()]
    return [json.loads(line) for line in lines]


def scored(folder: Path, way: str, steps: int, held_out: Sequence[Footage]) -> dict[str, Any]:
    """Mean and single figures of whole held-out clips, worked out once for a network."""
    kept = folder / "ways" / f"{way}, {steps} steps.json"
    if not kept.exists():
        parts = load_components(folder / PIPELINE)
        scores = [score_one(parts, clip, SIZE, WAYS[way], HELD_OUT_FRAMES) for clip in held_out]
        means = mean_scores(scores)
        found = {
            "mean": {key: means[key] for key in FIGURES},
            "clips": [{key: getattr(score, key) for key in FIGURES} for score in scores],
        }
        kept.parent.mkdir(exist_ok=True)
        kept.write_text(json.dumps(found))
        print(f"{way}: {' '.join(cells(found['mean']))}", flush=True)
    figures: dict[str, Any] = json.loads(kept.read_text())
    return figures


def print_figures(figures: dict[str, Any]) -> None:
    """One table of the training, one of the ways through a video."""
    rows = [[f"step {test['step']}", *cells(test)] for test in figures["network_tests"]]
    columns = ["AbsRel", "delta1", "TAE, %"]
    print_table("From scratch, first 32 frames of held-out clips", ["", *columns], rows)
    ways = figures["ways"]
    print_table(
        f"Then, {HELD_OUT_FRAMES} frames",
        ["", *columns, f"lower AbsRel than with {COMPARED_WITH}"],
        [
            [name, *cells(way["mean"]), lower(way, ways[COMPARED_WITH])]
            for name, way in ways.items()
        ],
    )


def lower(way: dict[str, Any], other: dict[str, Any]) -> str:
    """On how many clips AbsRel is lower."""
    pairs = zip(way["clips"], other["clips"], strict=True)
    better = sum(mine["abs_rel"] < theirs["abs_rel"] for mine, theirs in pairs)
    return f"{better} of {len(way['clips'])} clips"


def cells(figures: dict[str, float]) -> list[str]:
    """AbsRel, delta1 and TAE."""
    return [f"{figures['abs_rel']:.4f}", f"{figures['delta1']:.3f}", f"{figures['tae']:.3f}"]


if __name__ == "__main__":
    main()
