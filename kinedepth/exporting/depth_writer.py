"""What all writers of dense depth have in common: what they are told, and how they are called."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from kinedepth.camera import Intrinsics
from kinedepth.depth import DepthKind
from kinedepth.exporting.stereo import StereoSettings


@dataclass(frozen=True)
class DepthSettings:
    """What is known before the first frame, and what was asked for.

    Attributes:
        width, height: of every frame, in pixels.
        fps: frames a second.
        frames: T, how many frames will come.
        kind: what the values mean.
        value_range: smallest and largest usable value of the whole video; None where unknown.
        shown_range: the values at the two ends of the colours, and of the depth of a stereo
            film; values beyond saturate. None where unknown.
        colormap: name of a colour map, see ``depth_colours.COLORMAPS``.
        side_by_side: put the frame beside its depth.
        audio_from: the file whose sound accompanies films that show the frames.
        audio_start: seconds into ``audio_from`` at which the first frame is shown.
        stereo: how to make the stereo film, where one is wanted.
        point_cloud_frames: the frames to write a point cloud of.
        intrinsics: of the frames, needed for point clouds.
        half: store 16-bit floats where the format can.
    """

    width: int
    height: int
    fps: float
    frames: int
    kind: DepthKind
    value_range: tuple[float, float] | None = None
    shown_range: tuple[float, float] | None = None
    colormap: str = "inferno"
    side_by_side: bool = False
    audio_from: Path | None = None
    audio_start: float = 0.0
    stereo: StereoSettings | None = None
    point_cloud_frames: Collection[int] = ()
    intrinsics: Intrinsics | None = None
    half: bool = False


class DepthWriter(Protocol):
    """Writes the frames of one video to one place, which appears when the block succeeds.

    Made with ``(folder, settings)``, which checks the settings and touches nothing; raises
    KinedepthError where they do not suit.

    Attributes:
        path: the file or folder that appears.
        needs_images: whether ``write`` has to be given the frames' pictures.
    """

    path: Path
    needs_images: bool

    def __enter__(self) -> Self: ...

    def write(
        self, index: int, image: NDArray[np.uint8] | None, depth: NDArray[np.float32]
    ) -> None:
        """Take frame ``index``: ``image (H, W, 3)`` uint8 RGB, ``depth (H, W)`` float32."""
        ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...
