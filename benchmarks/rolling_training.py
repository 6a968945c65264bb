"""Does RollingDepth learn, and what do dilations, co-alignment and refinement do?

    python benchmarks/rolling_training.py [--folder FOLDER] [--minutes M] [--refined CLIPS]

A tiny autoencoder and then a tiny network are trained from scratch on rendered clips of rooms at
96x96: the network on single frames at first, then on snippets of one to three frames. It then
predicts held-out clips of 78 frames of other seeds, whole, in several ways: with fewer dilations,
without co-alignment, with refinement. AbsRel and delta1 are up to one scale and shift of the
disparity of a clip, "each frame aligned" up to those of each frame: what no alignment over time
can mend. Ways are compared clip by clip. What is tested while training, and what settings were
chosen by, are clips of a third seed. Runs that were stopped go on; --minutes 0 takes the network
as far as it is. Figures of a clip are kept beside the runs.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _report import print_table, write_results
from _rolling_ways import (
    ALL,
    FRAMES,
    QUESTIONS,
    REFINED_WAYS,
    SCORED,
    WAYS,
    Figures,
    answered,
    mean,
    named,
    refined,
    scored,
)

from kinedepth.dense.rolling_depth.components import load_components
from kinedepth.dense.rolling_depth.tiny import write_tiny_pipeline
from kinedepth.dense.rolling_depth.trained import read_training, save_trained
from kinedepth.training.autoencoder import AutoencoderTask, set_scaling_factor
from kinedepth.training.footage import ClipFootage, Footage
from kinedepth.training.held_out_video import FIGURES
from kinedepth.training.rendered_clips import read_clips, write_training_clips
from kinedepth.training.rolling_depth import RollingDepthTask
from kinedepth.training.trainer import LOG_FILE, Trainer, TrainingConfig

CLIPS, CLIP_FRAMES, CLIP_SEED = 210, 52, 0
AUTOENCODER_CLIPS = 150
TESTED, TESTED_SEED = 8, 28
HELD_OUT, HELD_OUT_SEED = 24, 27
KNOWN = 24
"""Clips that the network was trained on, to see what a network does that knows the rooms."""
SIZE = 96

AUTOENCODER = TrainingConfig(
    steps=500,
    batch=8,
    learning_rate=3e-3,
    warmup=50,
    average=0.99,
    precision="bfloat16",
    test_every=100,
    save_every=50,
    decay="exponential",
    final_share=0.05,
)
SINGLE_FRAMES = TrainingConfig(
    steps=700,
    batch=16,
    learning_rate=1.5e-3,
    average=0.99,
    precision="bfloat16",
    test_every=350,
    save_every=50,
    decay="exponential",
    final_share=0.2,
)
"""First the network learns from single frames, at the last time only: most for the same work."""

SNIPPETS = TrainingConfig(
    steps=1300,
    batch=12,
    learning_rate=8e-4,
    average=0.99,
    precision="bfloat16",
    test_every=325,
    save_every=50,
    decay="exponential",
    final_share=0.05,
)

AUTOENCODER_RUN, SINGLE_FRAMES_RUN, SNIPPETS_RUN = "autoencoder", "single_frames", "snippets"
TRAININGS = {
    AUTOENCODER_RUN: AUTOENCODER,
    SINGLE_FRAMES_RUN: SINGLE_FRAMES,
    SNIPPETS_RUN: SNIPPETS,
}

COLUMNS = ("AbsRel", "delta1", "TAE, %", "AbsRel, each frame aligned")
PIPELINE = "pipeline"
KNOWN_ROOMS = f"Clips of {CLIP_FRAMES} frames that it was trained on", "_on_known_rooms"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("runs/rolling_rooms"))
    parser.add_argument("--minutes", type=float, default=math.inf, help="of each training")
    parser.add_argument("--only-train", action="store_true", help="leave the held-out clips alone")
    parser.add_argument("--refined", type=int, default=HELD_OUT, help="clips that are refined")
    parser.add_argument("--known-refined", type=int, default=KNOWN, help="the same of known rooms")
    parser.add_argument("--no-write", action="store_true", help="leave the results file alone")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    folder, seconds = arguments.folder, 60 * arguments.minutes
    clips = rooms(folder / "clips", CLIPS, CLIP_FRAMES, CLIP_SEED)
    tested = rooms(folder / "tuning", TESTED, FRAMES, TESTED_SEED)
    held_out = rooms(folder / "held_out", HELD_OUT, FRAMES, HELD_OUT_SEED)
    begun_with = train_autoencoder(folder, clips[:AUTOENCODER_CLIPS], tested, seconds)
    steps = train_network(folder, begun_with, clips, tested, seconds)
    if arguments.only_train:
        return
    ways = gone(folder / "ways" / f"{steps} steps", folder, held_out, arguments.refined)
    known = gone(
        folder / "ways_known" / f"{steps} steps", folder, clips[:KNOWN], arguments.known_refined
    )
    figures: dict[str, Any] = {
        "steps": steps,
        "clips": CLIPS,
        "tested_clips": TESTED,
        "held_out_clips": HELD_OUT,
        "held_out_frames": FRAMES,
        "size": SIZE,
        "trainings": {
            name: {"config": dataclasses.asdict(config), "tests": tests(folder / name)}
            for name, config in TRAININGS.items()
        },
        "ways": with_means(ways),
        "ways_on_known_rooms": with_means(known),
    }
    for name, told in (("questions", ways), ("questions_on_known_rooms", known)):
        figures[name] = [answered(told, *each) for each in QUESTIONS if told[each[0]]]
    print_figures(figures)
    if not arguments.no_write:
        print(f"Wrote {write_results('rolling_training', figures)}")


def rooms(folder: Path, count: int, frames: int, seed: int) -> list[Footage]:
    """Rendered clips of still rooms; those that are there already are kept."""
    write_training_clips(folder, count, frames, SIZE, SIZE, seed, "rooms")
    return [ClipFootage(clip) for clip in read_clips(folder)[:count]]


def train_autoencoder(
    folder: Path, clips: Sequence[Footage], held_out: Sequence[Footage], seconds: float
) -> Path:
    """The pipeline that the network's training begins with."""
    pipeline = folder / "start"
    trainer = finish(
        AutoencoderTask(clips, held_out, SIZE), AUTOENCODER, folder / AUTOENCODER_RUN, seconds
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
    tested: Sequence[Footage],
    seconds: float,
) -> int:
    """Write the pipeline; for how many steps of snippets it was trained."""
    single = folder / SINGLE_FRAMES_RUN / PIPELINE
    task = RollingDepthTask(clips, tested, begun_with, (1,), SIZE, last_time_share=1)
    train_pipeline(task, SINGLE_FRAMES, single, begun_with, seconds)
    task = RollingDepthTask(clips, tested, single, size=SIZE)
    return train_pipeline(task, SNIPPETS, folder / SNIPPETS_RUN / PIPELINE, single, seconds)


def train_pipeline(
    task: RollingDepthTask, config: TrainingConfig, target: Path, begun_with: Path, seconds: float
) -> int:
    """Train in the folder that ``target`` lies in, and write it; how many steps were done."""
    trainer = finish(task, config, target.parent, seconds)
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


def gone(
    target: Path, folder: Path, clips: Sequence[Footage], refined_clips: int
) -> dict[str, list[dict[str, float]]]:
    """Figures of every way on clips; on the first few only where it refines."""
    pipeline = folder / SNIPPETS_RUN / PIPELINE
    told = [all_ways(target, pipeline, clip) for clip in clips]
    for clip, figures_of_clip in zip(clips[:refined_clips], told[:refined_clips], strict=True):
        figures_of_clip |= refined_ways(target, pipeline, clip)
    return {
        way: [figures_of_clip[way] for figures_of_clip in told if way in figures_of_clip]
        for way in (*WAYS, *REFINED_WAYS)
    }


def with_means(ways: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    """Means and single figures."""
    return {way: {"mean": mean(clips), "clips": clips} for way, clips in ways.items()}


def all_ways(target: Path, pipeline: Path, footage: Footage) -> Figures:
    """Figures of :data:`WAYS` on one clip, worked out once for a network."""
    kept = target / f"{footage.name}.json"
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        found, depth = scored(load_components(pipeline), footage)
        np.save(kept.with_suffix(".npy"), depth)
        kept.write_text(json.dumps(found))
        print(f"{footage.name}: AbsRel {found[named(ALL)]['abs_rel']:.4f}", flush=True)
    figures: Figures = json.loads(kept.read_text())
    return figures


def refined_ways(target: Path, pipeline: Path, footage: Footage) -> Figures:
    """Figures of :data:`REFINED_WAYS`, which begin with the depth that :func:`all_ways` kept."""
    merged = target / f"{footage.name}.npy"
    kept = merged.with_suffix(".refined.json")
    if not kept.exists():
        found = refined(load_components(pipeline), footage, np.load(merged))
        kept.write_text(json.dumps(found))
        print(f"{footage.name}: refined", flush=True)
    figures: Figures = json.loads(kept.read_text())
    return figures


def print_figures(figures: dict[str, Any]) -> None:
    """Tables of the trainings, of the ways through a video, and of what they differ by."""
    for name in (SINGLE_FRAMES_RUN, SNIPPETS_RUN):
        rows = [
            [f"step {test['step']}", *(f"{test[key]:.4f}" for key in FIGURES)]
            for test in figures["trainings"][name]["tests"]
        ]
        print_table(f"{name}: first 32 frames of clips for tuning", ["", *COLUMNS[:3]], rows)
    for which, ending in ((f"Held-out clips of {FRAMES} frames", ""), KNOWN_ROOMS):
        print_ways(which, figures[f"ways{ending}"], figures[f"questions{ending}"])


def print_ways(title: str, ways: dict[str, Any], questions: list[dict[str, Any]]) -> None:
    """What each way gives, and by how much they differ."""
    rows = [
        [way, str(len(told["clips"])), *(f"{told['mean'][key]:.4f}" for key in SCORED)]
        for way, told in ways.items()
        if told["clips"]
    ]
    print_table(title, ["", "clips", *COLUMNS], rows)
    rows = []
    for answer in questions:
        told = [answer["abs_rel"], answer["delta1"]]
        cells = [
            f"{each['mean']:+.4f} ± {each['standard_error']:.4f}{' *' * each['beyond_chance']}"
            for each in told
        ]
        better = f"{told[0]['lower_on']} of {answer['clips']}"
        rows.append([answer["way"], answer["against"], *cells, better])
    print_table(
        "Differences of single clips, with standard errors; * more than two of them",
        ["", "against", "AbsRel", "delta1", "lower AbsRel on"],
        rows,
    )


if __name__ == "__main__":
    main()
