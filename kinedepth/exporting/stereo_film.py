"""A stereo film from frames and their depth."""

from __future__ import annotations

import contextlib
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from kinedepth.errors import KinedepthError
from kinedepth.exporting.anaglyph import anaglyph
from kinedepth.exporting.audio import open_sound
from kinedepth.exporting.depth_writer import DepthSettings, DepthWriter
from kinedepth.exporting.stereo import (
    StereoLayout,
    StereoSettings,
    normalised_disparity,
    stereo_pair,
)
from kinedepth.exporting.video_writer import VideoWriter


class StereoFilmWriter(DepthWriter):
    """``stereo.mp4``: both views of every frame, with the sound of the source."""

    needs_images = True

    def __init__(self, folder: Path, settings: DepthSettings) -> None:
        if settings.shown_range is None:
            raise KinedepthError("A stereo film needs the range of depth that it shows.")
        super().__init__(folder, settings)
        self.path = folder / "stereo.mp4"
        self._range = settings.shown_range
        self._stereo = settings.stereo or StereoSettings()

    def _open(self, stack: contextlib.ExitStack) -> None:
        settings = self._settings
        sound = stack.enter_context(open_sound(settings))
        width = settings.width * (2 if self._stereo.layout == "side-by-side" else 1)
        self._film = stack.enter_context(
            VideoWriter(self.path, width, settings.height, settings.fps, sound=sound)
        )

    def write(
        self, index: int, image: NDArray[np.uint8] | None, depth: NDArray[np.float32]
    ) -> None:
        """Append both views of a frame."""
        assert image is not None
        disparity = normalised_disparity(depth, self._settings.kind, self._range)
        left, right = stereo_pair(image, disparity, self._stereo)
        self._film.write(arrange(left, right, self._stereo.layout))


def arrange(
    left: NDArray[np.uint8], right: NDArray[np.uint8], layout: StereoLayout
) -> NDArray[np.uint8]:
    """One picture of two views ``(H, W, 3)``: ``(H, 2 W, 3)`` side by side, else ``(H, W, 3)``."""
    if layout == "anaglyph":
        return anaglyph(left, right)
    if layout == "half-side-by-side":
        height, width = left.shape[:2]
        half = width // 2
        left = _resized(left, half, height)
        right = _resized(right, width - half, height)
    return np.hstack([left, right])


def _resized(view: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    if width == 0:  # Of a frame one pixel wide, only one view fits.
        return view[:, :0]
    return np.asarray(cv2.resize(view, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
