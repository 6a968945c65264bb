"""Reading dense depth that was stored: ours, or made elsewhere."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np

from kinedepth._depth_folder import open_depth_folder
from kinedepth._depth_npz import open_depth_npz
from kinedepth._frame_source import ASSUMED_FPS
from kinedepth.depth import DepthKind, DepthVideo
from kinedepth.errors import KinedepthError

_RUN_OUTPUTS = ("depth.npz", "depth_exr", "depth_png16")
"""What a run's folder may hold that depth can be read back from, the most exact first."""

_PLAUSIBLE_METRES = (0.001, 500.0)
"""Median depth outside of these is hardly in metres."""

_SAMPLED_FRAMES = 16


def load_depth_video(
    path: str | Path,
    *,
    fps: float | None = None,
    kind: DepthKind | None = None,
    png_scale: float | None = None,
) -> DepthVideo:
    """Open stored depth; long videos stay on disk.

    Args:
        path: a ``.npz`` with ``depth (T, H, W)`` and, best, ``kind`` and ``fps``; a folder of
            single-channel EXR files, one a frame; a folder of 16-bit PNG files, one a frame; or
            the folder of a run that holds one of these.
        fps: frames a second, in place of what is stored; 25 where nothing is.
        kind: what the values mean, in place of what is stored. Needed where nothing is, except
            for PNG files with ``png_scale`` and EXR files with a channel Z, which are metric.
        png_scale: metres for each step of 16-bit PNG files that come without our
            ``depth.json``, e.g. 0.001 for millimetres.

    Values are given as they are stored, NaN, zero (a sensor's "no reading") and negative ones
    included; :func:`count_unusable` counts them. Metric depth whose median is below a
    millimetre or above 500 m raises a warning, since then its unit is probably another.

    Raises:
        KinedepthError: if there is no depth at ``path``, it is damaged or incomplete, or
            nothing says what it means.
    """
    path = Path(path)
    if path.is_dir():
        inside = next((path / name for name in _RUN_OUTPUTS if (path / name).exists()), path)
    elif path.is_file():
        inside = path
    else:
        raise KinedepthError(f"There is no file or folder {path}.")
    if inside.is_dir():
        stored = open_depth_folder(inside, png_scale)
    elif inside.suffix.lower() == ".npz":
        stored = open_depth_npz(inside)
    else:
        raise KinedepthError(
            f"{path} is no depth that can be read; give a .npz, or a folder of EXR or 16-bit "
            f"PNG files."
        )
    meaning = kind or stored.kind
    if meaning is None:
        raise KinedepthError(
            f"{inside} does not say what its depth means; give its kind, e.g. metric, or store "
            f"it as an array of that name."
        )
    rate = next(rate for rate in (fps, stored.fps, ASSUMED_FPS) if rate is not None)
    video = DepthVideo(stored.depth, cast(DepthKind, meaning), rate, stored.per_frame)
    _warn_of_other_units(inside, video)
    return video


@dataclass(frozen=True)
class UnusableValues:
    """How many values of a depth video are not a depth.

    Attributes:
        not_finite: NaN or infinite.
        zero: exactly 0, which sensors write where they read nothing.
        negative: below 0. Like zero, these are regular values where ``kind`` has a free shift.
        total: all values, usable or not.
    """

    not_finite: int
    zero: int
    negative: int
    total: int


def count_unusable(video: DepthVideo) -> UnusableValues:
    """Count what is not a depth, reading one frame at a time."""
    not_finite = zero = negative = 0
    for frame in video.depth:
        not_finite += int(np.count_nonzero(~np.isfinite(frame)))
        zero += int(np.count_nonzero(frame == 0))
        negative += int(np.count_nonzero(frame < 0))
    return UnusableValues(not_finite, zero, negative, video.depth.size)


def _warn_of_other_units(path: Path, video: DepthVideo) -> None:
    if video.kind != "metric":
        return
    chosen = np.unique(np.linspace(0, len(video) - 1, _SAMPLED_FRAMES).round().astype(int))
    values = np.concatenate([frame[frame > 0] for frame in map(video.depth.__getitem__, chosen)])
    values = values[np.isfinite(values)]
    if not values.size:
        return
    median = float(np.median(values))
    low, high = _PLAUSIBLE_METRES
    if median > high:
        warnings.warn(
            f"The median depth of {path} is {median:.4g} m; is it stored in millimetres?",
            stacklevel=3,
        )
    elif median < low:
        warnings.warn(
            f"The median depth of {path} is {median:.2g} m; was it scaled to metres twice?",
            stacklevel=3,
        )
