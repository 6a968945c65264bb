"""Held-out figures of RollingDepth: AbsRel, delta1 and TAE of footage with true depth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kinedepth.dense.rolling_depth.components import Components
from kinedepth.dense.rolling_depth.config import RollingDepthSettings
from kinedepth.dense.rolling_depth.depth_model import RollingDepthModel
from kinedepth.depth import DepthVideo
from kinedepth.evaluation.depth_truth import CameraPath, Crop, DepthTruth
from kinedepth.evaluation.video_depth import DepthScores, evaluate_depth, mean_scores
from kinedepth.training.footage import Footage
from kinedepth.training.held_out_video import FARTHEST, FIGURES
from kinedepth.video import Video

__all__ = ["FARTHEST", "middle_of_footage", "score_footage", "score_one"]


def score_footage(
    parts: Components,
    footage: Sequence[Footage],
    size: int,
    settings: RollingDepthSettings,
    frames: int,
    farthest: float = FARTHEST,
) -> dict[str, float]:
    """Means over footage; the arguments are those of :func:`score_one`.

    Returns:
        ``abs_rel``, ``delta1`` and ``tae`` (per cent; of footage in which nothing but the camera
        moves, without the key if there is none).
    """
    scores = [score_one(parts, each, size, settings, frames, farthest) for each in footage]
    means = mean_scores(scores)
    return {name: value for name in FIGURES if (value := means[name]) is not None}


def score_one(
    parts: Components,
    footage: Footage,
    size: int,
    settings: RollingDepthSettings,
    frames: int,
    farthest: float = FARTHEST,
) -> DepthScores:
    """Scores of one video, up to one scale and one shift of its disparity.

    Args:
        parts: the pipeline.
        footage: no stills.
        size: pixels a side of the middle that is looked at.
        settings: of the run.
        frames: looked at, from the first on.
        farthest: depth beyond which nothing counts.

    Raises:
        KinedepthError: if no depth is known and near enough.
    """
    video, truth = middle_of_footage(footage, size, frames, farthest)
    disparity = np.stack(list(RollingDepthModel(parts, settings).predict(video)))
    return evaluate_depth(DepthVideo(disparity, "affine_invariant_disparity", video.fps), truth)


def middle_of_footage(
    footage: Footage, size: int, frames: int, farthest: float = FARTHEST
) -> tuple[Video, DepthTruth]:
    """The middle ``size`` pixels a side of the first (at most) ``frames`` frames.

    The truth has cameras where nothing but the camera moves: else motion would count as error.
    """
    count = min(frames, len(footage))
    top, left = ((side - size) // 2 for side in footage.size)
    crop = Crop(top, top + size, left, left + size)
    pairs = [footage.read(frame) for frame in range(count)]
    images = np.stack([crop.cut(image) for image, _ in pairs])
    with np.errstate(divide="ignore"):
        depth = np.stack([1 / crop.cut(disparity) for _, disparity in pairs])
    cameras = None
    path = footage.cameras
    if path is not None and footage.static:
        cut = [crop.camera(camera) for camera in path.intrinsics[:count]]
        cameras = CameraPath(cut, path.camera_to_world[:count])
    truth = DepthTruth.from_array(depth, footage.name, farthest, cameras=cameras)
    return Video.from_array(np.ascontiguousarray(images)), truth
