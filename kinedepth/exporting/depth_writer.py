"""What all writers of dense depth have in common: what they are told, and how they are called."""

from __future__ import annotations

import abc
import contextlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from kinedepth._depth_manifest import DepthManifest
from kinedepth.camera import Intrinsics
from kinedepth.depth import DepthKind
from kinedepth.exporting.atomic_folder import atomic_folder, frame_name
from kinedepth.exporting.stereo import StereoSettings


@dataclass(frozen=True)
class DepthSettings:
    """What is known before the first frame, and what was asked for.

    Attributes:
        width, height: of every frame, in pixels.
        fps: frames a second.
        frames: T, how many frames will come.
        kind: what the values mean.
        per_frame: each frame was predicted on its own, so that the unknowns of ``kind`` may
            change from frame to frame.
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
    per_frame: bool = False
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


class DepthWriter(abc.ABC):
    """Writes the frames of one video to one place, which appears when the block succeeds.

    A format is a subclass: its ``__init__`` checks the settings, touches nothing on the disk
    and sets ``path``; ``_open`` opens what it writes to; ``write`` takes a frame.

    Args:
        folder: where the file or folder shall lie.
        settings: what is known before the first frame.

    Attributes:
        path: the file or folder that appears.
        needs_images: whether ``write`` has to be given the frames' pictures.

    Raises:
        KinedepthError: if the settings do not suit the format.
    """

    path: Path
    needs_images: bool = False

    def __init__(self, folder: Path, settings: DepthSettings) -> None:
        self._settings = settings
        self._exit = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            self._open(stack)
            self._exit = stack.pop_all()
        return self

    @abc.abstractmethod
    def _open(self, stack: contextlib.ExitStack) -> None:
        """Open what is written to; ``stack`` closes it, knowing whether the block failed."""

    @abc.abstractmethod
    def write(
        self, index: int, image: NDArray[np.uint8] | None, depth: NDArray[np.float32]
    ) -> None:
        """Take frame ``index``: ``image (H, W, 3)`` uint8 RGB, ``depth (H, W)`` float32."""

    def __exit__(self, *exception: Any) -> None:
        self._exit.__exit__(*exception)


class DepthFolderWriter(DepthWriter):
    """Writes a file for each frame into one folder, and ``depth.json`` as the last.

    Attributes:
        manifest: what ``depth.json`` will say; set by the subclass.
    """

    manifest: DepthManifest

    def _open(self, stack: contextlib.ExitStack) -> None:
        self._temporary = stack.enter_context(atomic_folder(self.path))
        stack.push(self._finish)

    def _file(self, index: int, suffix: str) -> Path:
        """Where to write the file of frame ``index``."""
        return self._temporary / frame_name(index, suffix)

    def _finish(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.manifest.save(self._temporary)

    def _describe(
        self, name: str, frames: int | None = None, scale: float = 1.0, offset: float = 0.0
    ) -> DepthManifest:
        """The manifest of the format ``name``; ``frames`` where not all of them are written."""
        settings = self._settings
        return DepthManifest(
            format=name,
            kind=settings.kind,
            fps=settings.fps,
            frames=settings.frames if frames is None else frames,
            width=settings.width,
            height=settings.height,
            per_frame=settings.per_frame,
            scale=scale,
            offset=offset,
        )
