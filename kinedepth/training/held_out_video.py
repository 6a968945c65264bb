"""Held-out figures of video depth while it trains: AbsRel, delta1 and TAE of clips."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from kinedepth.camera import Intrinsics
from kinedepth.dense.video_depth_anything.config import TEMPORAL_LENGTH
from kinedepth.dense.video_depth_anything.model import VideoDepth
from kinedepth.depth import DepthVideo
from kinedepth.evaluation.depth_truth import CameraPath, DepthTruth
from kinedepth.evaluation.video_depth import DepthScores, evaluate_depth, mean_scores
from kinedepth.training.clip_batches import middle_of
from kinedepth.training.rendered_clips import TrainingClip

FARTHEST = 10.0
"""Depth (scene units) beyond which nothing is scored, as on indoor benchmarks."""

FIGURES = ("abs_rel", "delta1", "tae")

_FPS = 30.0


def score_clips(network: VideoDepth, clips: Sequence[TrainingClip], size: int) -> dict[str, float]:
    """Means over clips of the figures of ``evaluation/video_depth.py``.

    A clip is its first 32 frames, one window, cut to the middle ``size`` pixels a side.

    Returns:
        ``abs_rel``, ``delta1`` and ``tae`` (per cent; of clips in which nothing but the camera
        moves, without the key if there is none).
    """
    means = mean_scores([score_clip(network, clip, size) for clip in clips])
    return {name: value for name in FIGURES if (value := means[name]) is not None}


@torch.no_grad()
def score_clip(network: VideoDepth, clip: TrainingClip, size: int) -> DepthScores:
    """Scores of one clip; see :func:`score_clips`.

    Raises:
        KinedepthError: if no depth of the clip is known and nearer than :data:`FARTHEST`.
    """
    piece = middle_of(clip, size, TEMPORAL_LENGTH)
    disparity = network(piece.frames.to(network.device))[0].float().cpu().numpy()
    with np.errstate(divide="ignore"):
        depth = 1 / piece.truth[0].numpy()  # Where nothing is known infinite, which never counts.
    truth = DepthTruth.from_array(depth, clip.name, FARTHEST, cameras=_cameras(clip, size))
    return evaluate_depth(DepthVideo(disparity, "affine_invariant_disparity", _FPS), truth)


def _cameras(clip: TrainingClip, size: int) -> CameraPath | None:
    """Of the clip's middle; None where a body may move by itself, which TAE takes for error."""
    if not clip.static or clip.intrinsics is None or clip.camera_to_world is None:
        return None
    top, left = ((side - size) // 2 for side in clip.size)
    (fx, _, cx), (_, fy, cy), _ = clip.intrinsics.tolist()
    camera = Intrinsics(fx, fy, cx - left, cy - top, size, size)
    poses = clip.camera_to_world[:TEMPORAL_LENGTH]
    return CameraPath([camera] * len(poses), poses)
