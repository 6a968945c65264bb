"""Small tracks and videos for the tests of what shows them."""

from dataclasses import replace

import numpy as np

from kinedepth.camera import Intrinsics
from kinedepth.tracks import Tracks, Tracks3D, grid_points
from kinedepth.video import Video
from kinedepth.viewing.overlay import OverlayPainter

WIDTH, HEIGHT, FRAMES = 160, 120, 8


def make_tracks3d(
    xy,
    log_ratio,
    *,
    visible=True,
    metric=False,
    query_depth=1.0,
    width=WIDTH,
    height=HEIGHT,
):
    """Tracks at ``xy (T, N, 2)`` with ``log_ratio (T, N)``, broadcast against each other."""
    log_ratio = np.asarray(log_ratio, np.float32)
    xy = np.broadcast_to(np.asarray(xy, np.float32), (*log_ratio.shape, 2))
    tracks = Tracks(xy, np.broadcast_to(visible, log_ratio.shape), np.int64(0))
    camera = Intrinsics.from_field_of_view(width, height)
    xyz = camera.unproject(xy, np.exp(log_ratio) * query_depth).astype(np.float32)
    return Tracks3D(xyz, log_ratio, tracks, camera, metric)


def moving_grid(frames=FRAMES, columns=6, rows=5, **options):
    """A grid that drifts, its left half coming nearer and its right half receding."""
    start = grid_points(WIDTH, HEIGHT, columns, rows)
    time = np.linspace(0, 1, frames)[:, None]
    xy = start + 6 * np.stack([time, 0.5 * time], axis=-1)
    log_ratio = time * (start[:, 0] / WIDTH - 0.5) * 1.2
    return make_tracks3d(xy, log_ratio, **options)


def no_tracks(frames=FRAMES, **options):
    return make_tracks3d(np.zeros((frames, 0, 2)), np.zeros((frames, 0)), **options)


def one_track(log_ratio, xy=(80.5, 40.5), **options):
    log_ratio = np.asarray(log_ratio, np.float32)[:, None]
    return make_tracks3d(np.asarray(xy, np.float32), log_ratio, **options)


def with_std(tracks3d, std):
    """The tracks with a standard deviation of their log ratio, broadcast to all of them."""
    std = np.broadcast_to(np.float32(std), tracks3d.log_ratio.shape)
    return replace(tracks3d, log_ratio_std=std)


def anchored(tracks3d, metric=False, scale_std=0.02, poses=None):
    """The tracks with one scale for all, and camera poses if given."""
    scale_std = np.broadcast_to(np.float32(scale_std), len(tracks3d.tracks))
    return replace(tracks3d, metric=metric, log_scale_std=scale_std, extrinsics_w2c=poses)


def turning_camera(frames=FRAMES):
    """World-to-camera matrices ``(T, 4, 4)`` of a camera that turns and moves."""
    poses = np.tile(np.eye(4, dtype=np.float32), (frames, 1, 1))
    angle = np.linspace(0, 0.5, frames)
    poses[:, 0, 0] = poses[:, 2, 2] = np.cos(angle)
    poses[:, 0, 2], poses[:, 2, 0] = np.sin(angle), -np.sin(angle)
    poses[:, :3, 3] = angle[:, None] * [1.0, -0.5, 2.0]
    return poses


def black_video(frames=FRAMES, value=0):
    return Video.from_array(np.full((frames, HEIGHT, WIDTH, 3), value, np.uint8), fps=10)


def warmth(rgb):
    rgb = np.asarray(rgb, int)
    return rgb[..., 0] - rgb[..., 2]


def paint(tracks3d, index, value=0, **options):
    painter = OverlayPainter(tracks3d, WIDTH, HEIGHT, **options)
    return painter.paint(np.full((HEIGHT, WIDTH, 3), value, np.uint8), index), painter
