"""Frames for the tests of live runs."""

import numpy as np

from kinedepth.live.capture import Captured

WIDTH, HEIGHT = 96, 64


def picture(index: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """A noisy frame that moves by two pixels each time."""
    noise = np.random.default_rng(0).integers(0, 255, (height, 4 * width, 3))
    return noise[:, 2 * index : 2 * index + width].astype(np.uint8)


def captured(index: int, image: np.ndarray | None = None, arrived: float = 0.0) -> Captured:
    return Captured(picture(index) if image is None else image, index, index / 10, arrived)
