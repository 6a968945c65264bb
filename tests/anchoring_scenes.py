"""Tracks on surfaces whose depth is known in closed form.

The depth of a frame is linear over the image, so that a bilinear reading of it is exact.
"""

import numpy as np

from kinedepth.anchoring.readings import DepthReadings
from kinedepth.camera import Intrinsics
from kinedepth.tracks import Tracks, Tracks3D

FRAMES, WIDTH, HEIGHT = 24, 160, 120
CAMERA = Intrinsics(150.0, 150.0, WIDTH / 2, HEIGHT / 2, WIDTH, HEIGHT)
SIZE = (WIDTH, HEIGHT)


def plane(frame: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """True depth ``(h, w)`` of a frame: linear over the image, receding over time."""
    x = (np.arange(width) + 0.5) / width
    y = (np.arange(height) + 0.5) / height
    return true_depth(np.full(1, frame), *np.meshgrid(x * WIDTH, y * HEIGHT)).astype(np.float32)


def true_depth(frame, x, y):
    return (2.0 + x / WIDTH + 2 * y / HEIGHT) * np.exp(0.4 * frame / FRAMES)


def scene(points: int = 7, visible: np.ndarray | None = None, query_frame=0) -> Tracks3D:
    """Tracks that wander over the plane, lifted with perfect ratios."""
    cells = (np.arange(points) + 0.5) / points
    x, y = np.meshgrid(20 + 100 * cells, 20 + 70 * cells)
    start = np.stack([x.ravel(), y.ravel()], -1)
    time = np.arange(FRAMES)[:, None, None]
    xy = start + time * np.array([0.7, -0.3]) + 4 * np.sin(time / 5)
    if visible is None:
        visible = np.ones(xy.shape[:2], bool)
    tracks = Tracks(xy, visible, np.broadcast_to(query_frame, xy.shape[1]))
    log_depth = np.log(depth_of(tracks))
    log_ratio = log_depth - log_depth[tracks.query_frame, np.arange(len(tracks))]
    xyz = CAMERA.unproject(tracks.xy, np.exp(log_ratio)).astype(np.float32)
    return Tracks3D(xyz, log_ratio.astype(np.float32), tracks, CAMERA)


def depth_of(tracks: Tracks) -> np.ndarray:
    xy = tracks.xy.astype(np.float64)
    return true_depth(np.arange(tracks.frames)[:, None], xy[..., 0], xy[..., 1])


def readings(lifted: Tracks3D, value: np.ndarray, kind="metric", per_frame=False) -> DepthReadings:
    """What a source would say that has ``value (T, N)`` along the tracks."""
    value = np.where(lifted.tracks.visible, value, np.nan).astype(np.float32)
    return DepthReadings(value, np.zeros_like(value), kind, per_frame)


def hidden_between(start: int, stop: int, point: int, points: int = 49) -> np.ndarray:
    visible = np.ones((FRAMES, points), bool)
    visible[start:stop, point] = False
    return visible
