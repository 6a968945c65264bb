"""Where the depth of 2D tracks can come from, other than from their motion.

The paper's baselines "X + tracker" are 2D tracks unprojected with X's depth, read bilinearly.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from kinedepth._safe_npz import load_arrays
from kinedepth.dense.base import DepthModel
from kinedepth.errors import KinedepthError
from kinedepth.prediction.clips import BenchmarkClip
from kinedepth.tracking._track_table import held
from kinedepth.tracks import Tracks


class DepthSource(Protocol):
    """Depth along tracks.

    Attributes:
        name: for tables and records.
    """

    name: str

    def along(self, clip: BenchmarkClip, tracks: Tracks) -> NDArray[np.float64]:
        """Depth ``(T, N)`` >= 0 of ``tracks``; 0 for a track that never has a reading."""
        ...


class ConstantDepth:
    """Depth 1 everywhere: what any method has to beat."""

    name = "constant"

    def along(self, clip: BenchmarkClip, tracks: Tracks) -> NDArray[np.float64]:
        """Ones."""
        return np.ones(tracks.visible.shape)


class OracleDepth:
    """The true depth of the point that a track is meant to follow."""

    name = "oracle"

    def along(self, clip: BenchmarkClip, tracks: Tracks) -> NDArray[np.float64]:
        """The true z; where unknown, that of the nearest frame in time."""
        return _held_depth(clip.truth.xyz[..., 2])


class FileDepth:
    """Dense depth from an ``.npz`` for each clip.

    Args:
        template: a path in which ``{clip}`` stands for the clip's name. The file holds
            ``depth (T, H, W)``, z at the size of the frames; 0 or NaN means no reading.
    """

    def __init__(self, template: str) -> None:
        if "{clip}" not in template:
            raise KinedepthError(
                f"{template} is one file, but each clip needs its own; put {{clip}} where the "
                f"clip's name belongs, e.g. files:depth/{{clip}}_depth.npz."
            )
        self.name = f"files:{template}"
        self._template = template

    def along(self, clip: BenchmarkClip, tracks: Tracks) -> NDArray[np.float64]:
        """The file's depth, read bilinearly."""
        path = Path(clip.fill_in(self._template))
        depth = load_arrays(path).get("depth")
        expected = (len(clip.video), clip.video.height, clip.video.width)
        if depth is None or depth.shape != expected or depth.dtype.kind not in "fiu":
            found = "no array depth" if depth is None else f"depth of shape {depth.shape}"
            raise KinedepthError(f"{path} holds {found}, but the clip asks for {expected}.")
        return _held_depth(
            np.stack([read_bilinear(d, xy) for d, xy in zip(depth, tracks.xy, strict=True)])
        )


class ModelDepth:
    """Dense depth from a model that knows it at least up to one scale for the clip.

    Raises:
        KinedepthError: if the model's depth has an unknown shift, which has to be fitted first.
    """

    def __init__(self, model: DepthModel) -> None:
        if model.kind not in ("metric", "scale_invariant"):
            raise KinedepthError(
                f"{model.name} gives {model.kind.replace('_', '-')} values, which are no depth "
                f"until a shift is known; choose a metric or scale-invariant model."
            )
        self.name = model.name
        self._model = model

    def along(self, clip: BenchmarkClip, tracks: Tracks) -> NDArray[np.float64]:
        """The model's depth, read bilinearly, frame by frame."""
        frames = self._model.predict(clip.video)
        return _held_depth(
            np.stack([read_bilinear(d, xy) for d, xy in zip(frames, tracks.xy, strict=True)])
        )


def read_bilinear(depth: NDArray[np.floating], xy: NDArray[np.floating]) -> NDArray[np.float64]:
    """Values ``(N,)`` of ``depth (H, W)`` at pixels ``xy (N, 2)``, whose centres are at +0.5.

    Beyond the outermost pixel centres the border's value holds. NaN where one of the pixels
    read from has no reading (0, negative or not finite).
    """
    valid = np.where(np.isfinite(depth) & (depth > 0), depth, np.nan).astype(np.float64)
    # Bounded first: NaN times a weight of 0 would be NaN, far outside as well as beside a hole.
    row = np.clip(xy[:, 1] - 0.5, 0, depth.shape[0] - 1)
    column = np.clip(xy[:, 0] - 0.5, 0, depth.shape[1] - 1)
    return np.asarray(map_coordinates(valid, [row, column], order=1, mode="nearest"))


def _held_depth(depth: NDArray[np.floating]) -> NDArray[np.float64]:
    """Depth ``(T, N)`` with gaps filled from the nearest frame in time; 0 without any reading."""
    usable = np.where(np.isfinite(depth) & (depth > 0), depth, np.nan)
    return held(np.stack([usable, usable], axis=-1))[..., 0].astype(np.float64)
