"""Depth as a coloured film, beside its frames if wanted."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kinedepth.errors import KinedepthError
from kinedepth.exporting.audio import open_sound
from kinedepth.exporting.depth_colours import DepthPainter
from kinedepth.exporting.depth_writer import DepthSettings, DepthWriter
from kinedepth.exporting.video_writer import VideoWriter

_CRF = 16
"""Little loss: blocking shows more on the smooth slopes of depth than on textured frames."""


class ColourFilmWriter(DepthWriter):
    """``depth.mp4``: depth in colours on one scale for the whole film.

    With ``side_by_side`` the frame is on the left, its depth on the right, and the sound of the
    source is kept.
    """

    def __init__(self, folder: Path, settings: DepthSettings) -> None:
        if settings.shown_range is None:
            raise KinedepthError("A coloured film needs the range of values that it shows.")
        super().__init__(folder, settings)
        self.path = folder / "depth.mp4"
        self.needs_images = settings.side_by_side
        self._painter = DepthPainter(settings.kind, settings.shown_range, settings.colormap)

    def _open(self, stack: contextlib.ExitStack) -> None:
        settings = self._settings
        sound = stack.enter_context(open_sound(settings)) if self.needs_images else None
        width = settings.width * (2 if settings.side_by_side else 1)
        self._film = stack.enter_context(
            VideoWriter(self.path, width, settings.height, settings.fps, crf=_CRF, sound=sound)
        )

    def write(
        self, index: int, image: NDArray[np.uint8] | None, depth: NDArray[np.float32]
    ) -> None:
        """Append a frame."""
        picture = self._painter.paint(depth)
        if self.needs_images:
            assert image is not None
            picture = np.hstack([image, picture])
        self._film.write(picture)
