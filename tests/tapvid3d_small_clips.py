"""Small clips of points for the tests of TAPVid-3D."""

import numpy as np

from kinedepth.camera import Intrinsics
from kinedepth.evaluation.tapvid3d_clips import ClipPrediction, ClipTruth

CAMERA = Intrinsics(300.0, 280.0, 170.0, 130.0, 340, 256)


def clip(
    seed: int = 0, frames: int = 10, points: int = 14, error: float = 0.03
) -> tuple[ClipTruth, ClipPrediction]:
    """A made-up clip and a prediction 1.7 times too small, with errors of ``error`` at depth 1.

    Points come in threes that lie within the radius of a local neighbourhood of each other.
    """
    rng = np.random.default_rng(seed)
    centres = rng.uniform((-1.5, -1.2, 2.0), (1.5, 1.2, 6.0), (-(-points // 3), 3))
    start = np.repeat(centres, 3, axis=0)[:points] + rng.uniform(-0.02, 0.02, (points, 3))
    drift = np.repeat(rng.normal(0, 0.05, (frames, len(centres), 3)).cumsum(0), 3, axis=1)
    xyz = start + drift[:, :points] + rng.normal(0, 0.002, (frames, points, 3))
    visible = rng.random((frames, points)) < 0.75
    query_frame = rng.integers(0, frames, points)
    visible[query_frame, np.arange(points)] = True
    pixels = CAMERA.project(xyz[query_frame, np.arange(points)])
    queries = np.column_stack([pixels, query_frame])
    predicted = xyz * (1 + rng.normal(0, error, xyz.shape)) / 1.7
    said = visible ^ (rng.random(visible.shape) < 0.1)
    return ClipTruth(xyz, visible, queries, CAMERA), ClipPrediction(predicted, said)


def exact(truth: ClipTruth) -> ClipPrediction:
    return ClipPrediction(np.nan_to_num(truth.xyz), truth.visible)


def still(depth: float = 3.0, frames: int = 4, points: int = 5) -> ClipTruth:
    """Points that stand still and are always visible, all at one depth and queried at once."""
    x = np.arange(points) - points / 2
    xyz = np.broadcast_to(
        np.column_stack([x, 0 * x + 0.2, 0 * x + depth]), (frames, points, 3)
    ).copy()
    queries = np.zeros((points, 3))
    return ClipTruth(xyz, np.ones((frames, points), bool), queries, CAMERA)
