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
import contextlib
import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _report import print_table, write_results
from numpy.typing import NDArray

from kinedepth.dense.rolling_depth.components import Components, load_components
from kinedepth.dense.rolling_depth.config import RollingDepthSettings
from kinedepth.dense.rolling_depth.scratch import ScratchArrays
from kinedepth.dense.rolling_depth.tiny import write_tiny_pipeline
from kinedepth.dense.rolling_depth.trained import read_training, save_trained
from kinedepth.dense.rolling_depth.video_run import RollingDepthRun
from kinedepth.depth import DepthVideo
from kinedepth.evaluation.depth_truth import DepthTruth
from kinedepth.evaluation.video_depth import evaluate_depth
from kinedepth.training.autoencoder import AutoencoderTask, set_scaling_factor
from kinedepth.training.footage import ClipFootage, Footage
from kinedepth.training.held_out_footage import FARTHEST, middle_of_footage
from kinedepth.training.held_out_video import FIGURES
from kinedepth.training.rendered_clips import read_clips, write_training_clips
from kinedepth.training.rolling_depth import RollingDepthTask
from kinedepth.training.trainer import LOG_FILE, Trainer, TrainingConfig

CLIPS, CLIP_FRAMES, CLIP_SEED = 210, 52, 0
AUTOENCODER_CLIPS = 150
TESTED, TESTED_SEED = 8, 28
HELD_OUT, HELD_OUT_FRAMES, HELD_OUT_SEED = 32, 78, 27
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
    steps=800,
    batch=12,
    learning_rate=8e-4,
    average=0.99,
    precision="bfloat16",
    test_every=400,
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

DILATIONS = ((1,), (1, 25), (1, 10, 25))
REFINE_STEPS = (2, 5, 10, 20)


def aligned(dilations: tuple[int, ...], refine_steps: int = 0) -> RollingDepthSettings:
    """As published, on frames as they are."""
    return RollingDepthSettings(resolution=0, dilations=dilations, refine_steps=refine_steps)


def unaligned(dilations: tuple[int, ...]) -> RollingDepthSettings:
    """Snippets are averaged as they are."""
    return RollingDepthSettings(resolution=0, dilations=dilations, solver="none")


def named(dilations: tuple[int, ...]) -> str:
    """The way with these dilations."""
    return f"dilations {', '.join(map(str, dilations))}"


ALL = DILATIONS[-1]
NOT_ALIGNED = ", not co-aligned"
SINGLE = "single frames"
WAYS: dict[str, RollingDepthSettings] = {
    SINGLE: RollingDepthSettings(resolution=0, dilations=(1,), snippet_length=1, solver="none"),
    **{named(some) + NOT_ALIGNED: unaligned(some) for some in DILATIONS},
    **{named(some): aligned(some) for some in DILATIONS},
    **{f"{named(ALL)}, refined in {steps}": aligned(ALL, steps) for steps in REFINE_STEPS},
}
QUESTIONS = (
    (named(DILATIONS[0]), SINGLE),
    (named(DILATIONS[1]), named(DILATIONS[0])),
    (named(DILATIONS[2]), named(DILATIONS[1])),
    *((named(some), named(some) + NOT_ALIGNED) for some in DILATIONS),
    *((f"{named(ALL)}, refined in {steps}", named(ALL)) for steps in REFINE_STEPS),
)
"""Is the first way better than the second?"""

SCORED = ("abs_rel", "delta1", "tae", "within")
COLUMNS = ("AbsRel", "delta1", "TAE, %", "AbsRel, each frame aligned")
PIPELINE = "pipeline"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("runs/rolling_rooms"))
    parser.add_argument("--minutes", type=float, default=math.inf, help="of each training")
    parser.add_argument("--only-train", action="store_true", help="leave the held-out clips alone")
    parser.add_argument("--clips", type=int, default=HELD_OUT, help="held out, to go the ways on")
    parser.add_argument("--no-write", action="store_true", help="leave the results file alone")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    folder, seconds = arguments.folder, 60 * arguments.minutes
    clips = rooms(folder / "clips", CLIPS, CLIP_FRAMES, CLIP_SEED)
    tested = rooms(folder / "tuning", TESTED, HELD_OUT_FRAMES, TESTED_SEED)
    held_out = rooms(folder / "held_out", HELD_OUT, HELD_OUT_FRAMES, HELD_OUT_SEED)
    begun_with = train_autoencoder(folder, clips[:AUTOENCODER_CLIPS], tested, seconds)
    steps = train_network(folder, begun_with, clips, tested, seconds)
    if arguments.only_train:
        return
    clips_of_ways = [all_ways(folder, steps, clip) for clip in held_out[: arguments.clips]]
    figures: dict[str, Any] = {
        "steps": steps,
        "clips": CLIPS,
        "tested_clips": TESTED,
        "held_out_clips": len(clips_of_ways),
        "held_out_frames": HELD_OUT_FRAMES,
        "size": SIZE,
        "trainings": {
            name: {"config": dataclasses.asdict(config), "tests": tests(folder / name)}
            for name, config in TRAININGS.items()
        },
        "ways": {
            way: {
                "mean": {
                    key: float(np.mean([clip[way][key] for clip in clips_of_ways]))
                    for key in SCORED
                },
                "clips": [clip[way] for clip in clips_of_ways],
            }
            for way in WAYS
        },
    }
    figures["questions"] = [answered(figures["ways"], *ways) for ways in QUESTIONS]
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


def all_ways(folder: Path, steps: int, footage: Footage) -> dict[str, dict[str, float]]:
    """Figures of each way on one clip, worked out once for a network."""
    kept = folder / "ways" / f"{steps} steps" / f"{footage.name}.json"
    if not kept.exists():
        parts = load_components(folder / SNIPPETS_RUN / PIPELINE)
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(scored(parts, footage)))
        print(f"{footage.name} done", flush=True)
    figures: dict[str, dict[str, float]] = json.loads(kept.read_text())
    return figures


@torch.inference_mode()
def scored(parts: Components, footage: Footage) -> dict[str, dict[str, float]]:
    """Figures of each way on one clip; a snippet is predicted once for all ways that have it."""
    video, truth = middle_of_footage(footage, SIZE, HELD_OUT_FRAMES)
    depth = list(truth.read())
    found = {}
    with contextlib.closing(RollingDepthRun(parts, aligned(ALL), video)) as everything:
        everything.encode()
        everything.predict()
        for way, settings in WAYS.items():
            with contextlib.closing(RollingDepthRun(parts, settings, video)) as run:
                take_over(run, everything)
                run.align()
                run.merge()
                if settings.refine_steps:
                    run.refine()
                disparity = run.depth.read(range(len(depth)))
            whole = evaluate_depth(predicted(disparity), truth)
            found[way] = {key: getattr(whole, key) for key in FIGURES}
            alone = [
                evaluate_depth(
                    predicted(disparity[frame, None]),
                    DepthTruth.from_array(depth[frame][None], footage.name, FARTHEST),
                ).abs_rel
                for frame in range(len(depth))
            ]
            found[way]["within"] = float(np.mean(alone))
    return found


def take_over(run: RollingDepthRun, everything: RollingDepthRun) -> None:
    """Give a run the predictions that another one has made, as far as they are the same."""
    run.images = everything.images
    if run.plan.length != everything.plan.length:
        run.predict()
        return
    length = run.plan.length
    place = {tuple(frames): index for index, frames in enumerate(everything.plan.frames.tolist())}
    run.predictions = ScratchArrays(run.plan.frames.size, run.size)
    for index, frames in enumerate(run.plan.frames.tolist()):
        first = place[tuple(frames)] * length
        snippet = everything.predictions.read(range(first, first + length))
        run.predictions.write(range(index * length, (index + 1) * length), snippet)


def predicted(disparity: NDArray[np.float32]) -> DepthVideo:
    """What a run gave."""
    return DepthVideo(disparity, "affine_invariant_disparity", 30.0)


def answered(ways: dict[str, Any], one: str, other: str) -> dict[str, Any]:
    """By how much one way differs from another, clip by clip: mean and standard error."""
    answer: dict[str, Any] = {"way": one, "against": other}
    for key in ("abs_rel", "delta1"):
        pairs = zip(ways[one]["clips"], ways[other]["clips"], strict=True)
        differences = np.array([mine[key] - theirs[key] for mine, theirs in pairs])
        error = differences.std(ddof=1) / math.sqrt(len(differences))
        answer[key] = {
            "mean": float(differences.mean()),
            "standard_error": float(error),
            "lower_on": int((differences < 0).sum()),
            "beyond_chance": bool(abs(differences.mean()) > 2 * error),
        }
    return answer


def print_figures(figures: dict[str, Any]) -> None:
    """Tables of the trainings, of the ways through a video, and of what they differ by."""
    for name in (SINGLE_FRAMES_RUN, SNIPPETS_RUN):
        rows = [
            [f"step {test['step']}", *(f"{test[key]:.4f}" for key in FIGURES)]
            for test in figures["trainings"][name]["tests"]
        ]
        print_table(f"{name}: first 32 frames of clips for tuning", ["", *COLUMNS[:3]], rows)
    rows = [
        [way, *(f"{told['mean'][key]:.4f}" for key in SCORED)]
        for way, told in figures["ways"].items()
    ]
    title = f"{figures['held_out_clips']} held-out clips of {HELD_OUT_FRAMES} frames"
    print_table(title, ["", *COLUMNS], rows)
    rows = []
    for answer in figures["questions"]:
        told = [answer["abs_rel"], answer["delta1"]]
        cells = [
            f"{each['mean']:+.4f} ± {each['standard_error']:.4f}{' *' * each['beyond_chance']}"
            for each in told
        ]
        rows.append([answer["way"], answer["against"], *cells, f"{told[0]['lower_on']}"])
    print_table(
        "Differences of single clips, with standard errors; * more than two of them",
        ["", "against", "AbsRel", "delta1", "lower AbsRel on"],
        rows,
    )


if __name__ == "__main__":
    main()
