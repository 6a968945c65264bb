"""Depth as a folder of 16-bit PNG files with the scale written beside them."""

from __future__ import annotations

import warnings
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from kinedepth.errors import KinedepthError
from kinedepth.exporting.depth_colours import usable
from kinedepth.exporting.depth_writer import DepthFolderWriter, DepthSettings

_LARGEST = 65535
_MILLIMETRE = 0.001


class Png16Writer(DepthFolderWriter):
    """``depth_png16/``: ``00000.png`` and on, and ``depth.json``.

    Depth is ``offset + scale * value``; the value 0 says that there is none (NaN, or depth that
    is not positive where the kind is known up to scale). Metric depth up to 65.535 m is stored
    in millimetres, as depth sensors do; everything else spreads its range over all values, so
    that the error is at most half of ``scale``.
    """

    def __init__(self, folder: Path, settings: DepthSettings) -> None:
        if settings.value_range is None:
            raise KinedepthError("16-bit PNG needs the range of all values.")
        super().__init__(folder, settings)
        self.path = folder / "depth_png16"
        scale, offset = choose_scale(settings.value_range, settings.kind == "metric")
        self.manifest = self._describe("png16", scale=scale, offset=offset)
        self._beyond = 0

    def write(
        self, index: int, image: NDArray[np.uint8] | None, depth: NDArray[np.float32]
    ) -> None:
        """Write one file."""
        known = usable(depth, self._settings.kind)
        value = np.rint(
            (np.where(known, depth, 0).astype(np.float64) - self.manifest.offset)
            / self.manifest.scale
        )
        self._beyond += int(np.count_nonzero(known & ((value < 1) | (value > _LARGEST))))
        stored = np.where(known, np.clip(value, 1, _LARGEST), 0).astype(np.uint16)
        encoded = cv2.imencode(".png", stored)[1]
        # Written by Python and not by OpenCV, which does not say when a disk is full.
        self._file(index, ".png").write_bytes(encoded.tobytes())

    def _finish(self, kind: type[BaseException] | None, *_: object) -> None:
        super()._finish(kind)
        if kind is None and self._beyond:
            warnings.warn(
                f"{self._beyond} values of depth lie outside of the range that was announced, and "
                f"are cut to it in {self.path.name}.",
                stacklevel=2,
            )


def choose_scale(value_range: tuple[float, float], metric: bool) -> tuple[float, float]:
    """``(scale, offset)`` so that ``offset + scale * value`` covers the range with 1 to 65535.

    Millimetres where the range is metric and fits.
    """
    low, high = (float(value) for value in value_range)
    if not (np.isfinite(low) and np.isfinite(high) and low <= high):
        raise KinedepthError(
            f"16-bit PNG needs a range from a smaller to a larger value; got {low} to {high}."
        )
    if metric and low >= _MILLIMETRE and high <= _MILLIMETRE * _LARGEST:
        return _MILLIMETRE, 0.0
    # One value more than the range needs, so that a range of a single value has a scale, too.
    scale = (high - low) / (_LARGEST - 1) or max(abs(low), 1.0) / _LARGEST
    return scale, low - scale
