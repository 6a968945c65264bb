"""Clips of TAPVid-3D that show an approaching wall, and rows of the tables made from them."""

import cv2
import numpy as np

from kinedepth.evaluation.tapvid3d_clips import load_truth
from kinedepth.seurat.config import SeuratConfig

WIDTH, HEIGHT, FRAMES, FOCAL = 96, 72, 9, 80.0
TINY = SeuratConfig(name="tiny", width=24, heads=2, layers=1, iterations=1, support_grid=6)
DEPTH = 4 * 0.97 ** np.arange(FRAMES)
"""Of the wall: it comes 3 % closer in every frame."""


def write_clip(path, seed=0, points=7):
    """A textured wall that approaches, seen by a still camera."""
    rng = np.random.default_rng(seed)
    texture = rng.integers(0, 255, (HEIGHT // 4, WIDTH // 4, 3), dtype=np.uint8)
    texture = cv2.resize(texture, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    middle = np.array([WIDTH / 2, HEIGHT / 2])
    images = np.empty(FRAMES, object)
    for frame, depth in enumerate(DEPTH):
        grow = DEPTH[0] / depth
        shift = (1 - grow) * (middle - 0.5)  # OpenCV counts from the centre of a pixel
        warp = np.array([[grow, 0, shift[0]], [0, grow, shift[1]]])
        image = cv2.warpAffine(texture, warp, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT)
        images[frame] = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
    start = middle + rng.uniform(-0.3, 0.3, (points, 2)) * (WIDTH, HEIGHT)
    ray = np.column_stack([(start - middle) / FOCAL * DEPTH[0], np.zeros(points)])
    xyz = np.repeat(ray[None], FRAMES, axis=0)
    xyz[..., 2] = DEPTH[:, None]
    visible = np.ones((FRAMES, points), bool)
    visible[5, 0] = False
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(
        path,
        images_jpeg_bytes=images,
        queries_xyt=np.column_stack([start, np.zeros(points)]),
        tracks_XYZ=xyz,
        visibility=visible,
        fx_fy_cx_cy=np.array([FOCAL, FOCAL, *middle]),
    )


def write_prediction(path, clip, factor=1.0):
    truth = load_truth(clip)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, tracks_XYZ=factor * truth.xyz, visibility=truth.visible)


PLACES = ("adt/a.npz", "adt/b.npz", "pstudio/c.npz")


def figures(line):
    """The numbers of a table's row."""
    return [float(cell) for cell in line.replace("|", " ").split() if cell[0].isdigit()]


def row_of(table, name):
    return next(line for line in table.splitlines() if line.startswith(name))
