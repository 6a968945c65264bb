"""Scenes of known depth, and flicker to be taken out of them."""

import dataclasses

import cv2
import numpy as np

from kinedepth.camera import Intrinsics
from kinedepth.steadying import steadier as steadier_module
from kinedepth.steadying.steadier import flicker_of_block
from kinedepth.tracks import Tracks, Tracks3D
from kinedepth.video import Video

WIDTH, HEIGHT, FRAMES = 160, 96, 32
CAMERA = Intrinsics.from_field_of_view(WIDTH, HEIGHT, 60)


def true_depth(frames=FRAMES):
    """A wall, oblique, with a thing before it; both come closer by a third, each in its way."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    depth = np.empty((frames, HEIGHT, WIDTH))
    depth[:] = 6 + columns / WIDTH * 2 + rows / HEIGHT
    time = np.linspace(0, 1, frames)[:, None, None]
    depth *= np.exp(-0.4 * time)
    depth[:, 30:70, 50:100] = 2 * np.exp(-0.3 * time**2)
    return depth


def tracks_over(depth, spacing=8, ratio_noise=0.0, seed=0):
    """Points that stay where they are in the image, with the depth ratios of ``depth``."""
    x, y = np.meshgrid(
        np.arange(spacing / 2, WIDTH, spacing), np.arange(spacing / 2, HEIGHT, spacing)
    )
    xy = np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float32)
    log_depth = np.log(depth[:, xy[:, 1].astype(int), xy[:, 0].astype(int)])
    rng = np.random.default_rng(seed)
    noise = rng.normal(0, ratio_noise, log_depth.shape).cumsum(axis=0) if ratio_noise else 0.0
    query = np.arange(len(xy)) % len(depth)
    log_ratio = log_depth + noise
    log_ratio = log_ratio - log_ratio[query, np.arange(len(xy))]
    return as_tracks(xy, log_ratio, query)


def as_tracks(xy, log_ratio, query, visible=None, log_ratio_std=None):
    frames, count = log_ratio.shape
    positions = np.broadcast_to(xy, (frames, count, 2))
    visible = np.ones((frames, count), bool) if visible is None else visible
    return Tracks3D(
        xyz=CAMERA.unproject(positions, np.exp(log_ratio)).astype(np.float32),
        log_ratio=log_ratio.astype(np.float32),
        tracks=Tracks(positions, visible, query),
        intrinsics=CAMERA,
        log_ratio_std=log_ratio_std,
    )


def regional_noise(std, frames=FRAMES, seed=1):
    """Log factors ``(T, H, W)``, new in every frame, smooth over a quarter of the image."""
    rng = np.random.default_rng(seed)
    maps = [
        cv2.GaussianBlur(rng.normal(size=(HEIGHT, WIDTH)), (0, 0), WIDTH / 8) for _ in range(frames)
    ]
    maps = np.stack(maps)
    return std * maps / maps.std()


def frame_noise(std, frames=FRAMES, seed=2):
    return np.random.default_rng(seed).normal(0, std, (frames, 1, 1))


def steadied(depth, tracks):
    depth = depth.astype(np.float32)
    field = flicker_of_block(tracks, depth, "metric")
    return np.stack([frame * np.exp(-field.log_factor(t, frame)) for t, frame in enumerate(depth)])


def flicker(depth, truth):
    """Root mean square of how log depth's error changes from frame to frame."""
    return np.sqrt(np.mean(np.diff(np.log(depth / truth), axis=0) ** 2))


def abs_rel(depth, truth):
    return np.mean(np.abs(depth - truth) / truth)


def lift_known_tracks(monkeypatch, truth):
    """Let lifting give the true ratios of the frames it is asked for; the list of these."""
    asked = []

    def lift(part, queries, progress=None, **_):
        if progress:
            progress("tracking", 1, 2)
            progress("seurat", 1, 1)
        first = int(part.frame(0)[0, 0, 0]) + 256 * int(part.frame(0)[0, 0, 1])
        asked.append((first, len(part)))

        @dataclasses.dataclass
        class Found:
            tracks: Tracks3D

        return Found(tracks_over(truth[first : first + len(part)]))

    monkeypatch.setattr(steadier_module, "lift", lift)
    return asked


def numbered_video(frames):
    """Frames whose first pixel tells their number."""
    images = np.zeros((frames, HEIGHT, WIDTH, 3), np.uint8)
    images[:, 0, 0, 0], images[:, 0, 0, 1] = np.arange(frames) % 256, np.arange(frames) // 256
    return Video.from_array(images)
