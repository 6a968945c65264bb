"""What dilations and co-alignment do for snippets that are right but for scale, shift and noise.

    python benchmarks/rolling_dilations.py --clips FOLDER [--noise 0.1] [--jitter 0.05]

In place of a network stands the truth: the disparity of each snippet brought to -1 to 1, as in
training; once as it is, once with each frame off by a little scale and shift of its own
(--jitter) and by a smooth random field (--noise, its standard deviation). Snippets are co-aligned
or not, and merged as in a run. So this tells what the method can do with a good network, apart
from how good a network is. AbsRel and delta1 are up to one scale and shift of the disparity of a
clip, TAE is of clips in which only the camera moves.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from _report import print_table, write_results
from numpy.typing import NDArray

from kinedepth.dense.rolling_depth.coalignment import coalign, merge_snippets
from kinedepth.dense.rolling_depth.snippets import SnippetPlan, plan_snippets
from kinedepth.depth import DepthVideo
from kinedepth.evaluation.depth_truth import DepthTruth
from kinedepth.evaluation.video_depth import evaluate_depth, mean_scores
from kinedepth.training.footage import ClipFootage, ShrunkFootage
from kinedepth.training.held_out_footage import middle_of_footage
from kinedepth.training.held_out_video import FIGURES
from kinedepth.training.rendered_clips import read_clips
from kinedepth.training.snippets import normalise_snippets

DILATIONS = ((1,), (1, 25), (1, 10, 25))
SHRINK, SIZE = 2, 56
_SMOOTH = 8
"""Pixels of the noise's grid: as large as what one latent tells of."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=Path, required=True, help="folder of training clips")
    parser.add_argument("--frames", type=int, default=78)
    parser.add_argument("--noise", type=float, default=0.1)
    parser.add_argument("--jitter", type=float, default=0.05)
    arguments = parser.parse_args()
    footage = [ShrunkFootage(ClipFootage(clip), SHRINK) for clip in read_clips(arguments.clips)]
    truths = [middle_of_footage(each, SIZE, arguments.frames)[1] for each in footage]
    figures: dict[str, Any] = {**vars(arguments), "clips": len(truths)}
    for told_how, noise, jitter in (
        ("right", 0.0, 0.0),
        ("noisy", arguments.noise, arguments.jitter),
    ):
        figures[told_how] = {}
        rows = []
        for dilations, aligned in itertools.product(DILATIONS, (True, False)):
            name = ", ".join(map(str, dilations)) + ("" if aligned else ", not co-aligned")
            figures[told_how][name] = scored(truths, dilations, aligned, noise, jitter)
            means = figures[told_how][name]["mean"]
            rows.append([name, *(f"{means[key]:.4f}" for key in FIGURES)])
        title = f"Snippets of {arguments.frames} frames, {told_how}"
        print_table(title, ["dilations", "AbsRel", "delta1", "TAE, %"], rows)
    print(f"Wrote {write_results('rolling_dilations', figures)}")


def scored(
    truths: Sequence[DepthTruth],
    dilations: tuple[int, ...],
    aligned: bool,
    noise: float,
    jitter: float,
) -> dict[str, Any]:
    """Mean and single figures."""
    scores = []
    for seed, truth in enumerate(truths):
        random = np.random.default_rng(seed)
        depth = np.stack(list(truth.read()))
        plan = plan_snippets(len(depth), dilations, cap=False)
        snippets = told(random, (1 / depth).astype(np.float32), plan, noise, jitter)
        merged = together(snippets, plan) if aligned else as_they_are(snippets, plan)
        scores.append(evaluate_depth(DepthVideo(merged, "affine_invariant_disparity", 30.0), truth))
    means = mean_scores(scores)
    return {
        "mean": {key: means[key] for key in FIGURES},
        "clips": [{key: getattr(score, key) for key in FIGURES} for score in scores],
    }


def told(
    random: np.random.Generator,
    disparity: NDArray[np.float32],
    plan: SnippetPlan,
    noise: float,
    jitter: float,
) -> NDArray[np.float32]:
    """Snippets ``(S, L, h, w)`` as a good network might tell them."""
    known = np.where(np.isfinite(disparity), disparity, 0)
    snippets, _ = normalise_snippets(known[plan.frames])
    shape = snippets.shape
    scale = 1 + jitter * random.standard_normal((*shape[:2], 1, 1))
    shift = jitter * random.standard_normal((*shape[:2], 1, 1))
    coarse = random.standard_normal((shape[0] * shape[1], SIZE // _SMOOTH, SIZE // _SMOOTH))
    fields = [cv2.resize(field, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC) for field in coarse]
    field = np.stack(fields).reshape(shape)
    return np.asarray(scale * snippets + shift + noise * field / field.std(), np.float32)


def together(snippets: NDArray[np.float32], plan: SnippetPlan) -> NDArray[np.float32]:
    """Frames of co-aligned snippets; frames are small, so every fourth pixel is compared."""
    return coalign(snippets, plan.frames, pixel_step=4).merged


def as_they_are(snippets: NDArray[np.float32], plan: SnippetPlan) -> NDArray[np.float32]:
    """Frames of snippets that are not aligned."""
    count = len(snippets)
    ones, zeros = np.ones(count, np.float32), np.zeros(count, np.float32)
    return merge_snippets(list(snippets), list(plan.frames), ones, zeros, 0.0)


if __name__ == "__main__":
    main()
