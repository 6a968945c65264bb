"""Ways through a video with RollingDepth, and how they compare on the same clips."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from kinedepth.dense.rolling_depth.components import Components
from kinedepth.dense.rolling_depth.config import RollingDepthSettings
from kinedepth.dense.rolling_depth.scratch import ScratchArrays
from kinedepth.dense.rolling_depth.video_run import RollingDepthRun
from kinedepth.depth import DepthVideo
from kinedepth.evaluation.depth_truth import DepthTruth
from kinedepth.evaluation.video_depth import evaluate_depth
from kinedepth.training.footage import Footage
from kinedepth.training.held_out_footage import FARTHEST, middle_of_footage
from kinedepth.training.held_out_video import FIGURES

FRAMES = 78
"""Of a clip."""

DILATIONS = ((1,), (1, 25), (1, 10, 25))
REFINE_STEPS = (2, 5, 10)


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
WAYS = {
    SINGLE: RollingDepthSettings(resolution=0, dilations=(1,), snippet_length=1, solver="none"),
    **{named(some) + NOT_ALIGNED: unaligned(some) for some in DILATIONS},
    **{named(some): aligned(some) for some in DILATIONS},
}
REFINED_WAYS = {f"{named(ALL)}, refined in {steps}": aligned(ALL, steps) for steps in REFINE_STEPS}
"""They take most of the time, so fewer clips go them."""
QUESTIONS = (
    (named(DILATIONS[0]), SINGLE),
    (named(DILATIONS[1]), named(DILATIONS[0])),
    (named(DILATIONS[2]), named(DILATIONS[1])),
    (named(ALL), named(DILATIONS[0])),
    (named(ALL), SINGLE),
    *((named(some), named(some) + NOT_ALIGNED) for some in DILATIONS),
    *((way, named(ALL)) for way in REFINED_WAYS),
)
"""Is the first way better than the second?"""

SCORED = ("abs_rel", "delta1", "tae", "within")
Figures = dict[str, dict[str, float]]
"""Of each way."""


@torch.inference_mode()
def scored(parts: Components, footage: Footage) -> tuple[Figures, NDArray[np.float32]]:
    """Figures of each way, and the depth that all dilations give.

    A snippet is predicted once for all ways that have it.
    """
    video, truth = middle_of_footage(footage, min(footage.size), FRAMES)
    found = {}
    with contextlib.closing(RollingDepthRun(parts, aligned(ALL), video)) as everything:
        everything.encode()
        everything.predict()
        for way, settings in WAYS.items():
            with contextlib.closing(RollingDepthRun(parts, settings, video)) as run:
                take_over(run, everything)
                run.align()
                run.merge()
                depth = run.depth.read(range(len(video)))
            found[way] = figures_of(depth, truth)
            if way == named(ALL):
                kept = depth
    return found, kept


@torch.inference_mode()
def refined(parts: Components, footage: Footage, depth: NDArray[np.float32]) -> Figures:
    """Figures of the refinements of ``depth``."""
    video, truth = middle_of_footage(footage, min(footage.size), FRAMES)
    found = {}
    for way, settings in REFINED_WAYS.items():
        with contextlib.closing(RollingDepthRun(parts, settings, video)) as run:
            run.encode()
            run.depth = ScratchArrays(len(video), run.size)
            run.depth.write(range(len(video)), depth)
            run.refine()
            found[way] = figures_of(run.depth.read(range(len(video))), truth)
    return found


def figures_of(disparity: NDArray[np.float32], truth: DepthTruth) -> dict[str, float]:
    """:data:`SCORED` of one clip."""
    whole = evaluate_depth(predicted(disparity), truth)
    alone = [
        evaluate_depth(
            predicted(told[None]), DepthTruth.from_array(depth[None], truth.name, FARTHEST)
        ).abs_rel
        for told, depth in zip(disparity, truth.read(), strict=True)
    ]
    return {**{key: getattr(whole, key) for key in FIGURES}, "within": float(np.mean(alone))}


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


def mean(clips: Sequence[dict[str, float]]) -> dict[str, float]:
    """Of each figure."""
    return {key: float(np.mean([clip[key] for clip in clips])) for key in SCORED if clips}


def answered(ways: dict[str, list[dict[str, float]]], one: str, other: str) -> dict[str, Any]:
    """By how much one way differs from another, clip by clip: mean and standard error."""
    answer: dict[str, Any] = {"way": one, "against": other, "clips": len(ways[one])}
    for key in ("abs_rel", "delta1"):
        # Fewer clips are refined than go the other ways: the first ones.
        pairs = zip(ways[one], ways[other][: len(ways[one])], strict=True)
        differences = np.array([mine[key] - theirs[key] for mine, theirs in pairs])
        error = differences.std(ddof=1) / math.sqrt(len(differences))
        answer[key] = {
            "mean": float(differences.mean()),
            "standard_error": float(error),
            "lower_on": int((differences < 0).sum()),
            "beyond_chance": bool(abs(differences.mean()) > 2 * error),
        }
    return answer
