"""What a depth model that works frame by frame gives along tracks, as it is and smoothed.

No image network is at hand, so the depth is a rendered clip's true one with the faults that such
models have (``benchmarks/anchoring.py``): edges smeared, a scale that differs by 10 % between
frames, and blobs that are wrong by far for some frames. The paper smooths ZoeDepth; how far this
is like it was not measured.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from anchoring import noised
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from ablation.clips import Stretch
from ablation.windows import LONG
from kinedepth.anchoring.paper import held
from kinedepth.anchoring.readings import read_depth
from kinedepth.synthesis.clip_files import read_clip_depth


def per_frame_log_depth(clips_folder: Path, stretch: Stretch) -> NDArray[np.float64]:
    """Log of the noisy depth ``(24, N)`` along tracks; while one is hidden, its last holds."""
    depth = read_clip_depth(clips_folder / f"{stretch.name}_depth.npz")[:LONG]
    seed = int(stretch.name.removeprefix("clip"))
    readings = read_depth(noised(depth, seed), stretch.queries, stretch.size, "metric")
    value = held(readings.value.astype(np.float64))
    return np.log(np.where(np.isfinite(value), value, np.nanmedian(value)))


def smoothed(log_depth: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    """Log ratio to the first frame after a Gaussian of ``sigma`` frames along each track."""
    if sigma:
        log_depth = gaussian_filter1d(log_depth, sigma, axis=0, mode="nearest")
    return log_depth - log_depth[0]
