"""Everything that dense depth can be written as, in one pass over the frames."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinedepth.camera import Intrinsics
from kinedepth.depth import DepthKind
from kinedepth.errors import KinedepthError
from kinedepth.exporting.atomic_folder import is_folder_of_frames
from kinedepth.exporting.depth_exr import ExrWriter
from kinedepth.exporting.depth_film import ColourFilmWriter
from kinedepth.exporting.depth_npz import NpzWriter
from kinedepth.exporting.depth_ply import PointCloudWriter
from kinedepth.exporting.depth_png16 import Png16Writer
from kinedepth.exporting.depth_writer import DepthSettings, DepthWriter
from kinedepth.exporting.stereo import StereoSettings
from kinedepth.exporting.stereo_film import StereoFilmWriter

FORMATS: dict[str, Callable[[Path, DepthSettings], DepthWriter]] = {
    "npz": NpzWriter,
    "mp4": ColourFilmWriter,
    "png16": Png16Writer,
    "exr": ExrWriter,
}
"""What can be asked for by name, and what writes it."""

DEPTH_OUTPUTS = ("depth.npz", "depth.mp4", "depth_png16", "depth_exr", "stereo.mp4", "point_clouds")
"""Every file and folder that can be written."""


class DepthOutputs:
    """Writes a video's depth in any number of formats, frame by frame.

    ::

        with DepthOutputs("out", ["npz", "mp4"], width=video.width, height=video.height,
                          fps=video.fps, frames=len(video), kind=kind,
                          value_range=ranges.value, shown_range=ranges.shown) as outputs:
            for index, depth in enumerate(frames_of_depth):
                outputs.write(index, image, depth)

    Memory does not grow with the video. Each file (or folder of numbered files) appears once
    all frames are written; when the block fails, none is left and earlier ones stay.

    Args:
        folder: created if need be.
        formats: names from :data:`FORMATS`; may be empty where a stereo film or point clouds
            are wanted.
        width, height: of every frame, in pixels.
        fps: frames a second.
        frames: T, how many frames will be written.
        kind: what the values mean.
        per_frame: each frame was predicted on its own, so that the unknowns of ``kind`` may
            change from frame to frame; stored with the depth.
        value_range: smallest and largest usable value of the whole video, see
            ``depth_colours.measure_ranges``; needed by ``mp4``, ``png16`` and stereo films.
        shown_range: the values at the ends of the colours, and of the depth of a stereo film;
            ``value_range`` by default.
        colormap: one of ``depth_colours.COLORMAPS``.
        audio_from: the source file, whose sound is kept in films that show its frames.
        audio_start: seconds into the source at which the first frame is shown.
        side_by_side: put the frame beside its depth in the coloured film.
        stereo: write ``stereo.mp4`` like this.
        point_clouds: True for a point cloud of every frame, or the indices of the frames to
            write one of.
        intrinsics: of the frames, needed for point clouds.
        half: 16-bit floats where the format has them (``npz``, ``exr``).
        overwrite: replace what an earlier run wrote.

    Raises:
        KinedepthError: if the settings do not suit, the folder holds outputs of an earlier run,
            frames do not match or are missing, or a file cannot be written.
    """

    def __init__(
        self,
        folder: str | Path,
        formats: Iterable[str],
        *,
        width: int,
        height: int,
        fps: float,
        frames: int,
        kind: DepthKind,
        per_frame: bool = False,
        value_range: tuple[float, float] | None = None,
        shown_range: tuple[float, float] | None = None,
        colormap: str = "inferno",
        audio_from: str | Path | None = None,
        audio_start: float = 0.0,
        side_by_side: bool = False,
        stereo: StereoSettings | None = None,
        point_clouds: bool | Collection[int] = False,
        intrinsics: Intrinsics | None = None,
        half: bool = False,
        overwrite: bool = False,
    ) -> None:
        self.folder = Path(folder)
        self._overwrite = overwrite
        chosen = range(frames) if point_clouds is True else point_clouds or ()
        self._settings = DepthSettings(
            width=width,
            height=height,
            fps=fps,
            frames=frames,
            kind=kind,
            per_frame=per_frame,
            value_range=value_range,
            shown_range=shown_range or value_range,
            colormap=colormap,
            side_by_side=side_by_side,
            audio_from=None if audio_from is None else Path(audio_from),
            audio_start=audio_start,
            stereo=stereo,
            point_cloud_frames=chosen,
            intrinsics=intrinsics,
            half=half,
        )
        makers = [FORMATS[name] for name in check_formats(formats)]
        if stereo is not None:
            makers.append(StereoFilmWriter)
        if chosen:
            makers.append(PointCloudWriter)
        self._writers = [make(self.folder, self._settings) for make in makers]
        if not self._writers:
            raise KinedepthError(f"Nothing to write; ask for one of {', '.join(FORMATS)}.")
        check_depth_folder(self.folder, [writer.path.name for writer in self._writers], overwrite)
        self._written = 0
        self._exit = contextlib.ExitStack()

    @property
    def paths(self) -> list[Path]:
        """The files and folders that appear when all frames are written."""
        return [writer.path for writer in self._writers]

    @property
    def needs_images(self) -> bool:
        """Whether :meth:`write` has to be given the frames' pictures, not only their depth."""
        return any(writer.needs_images for writer in self._writers)

    def __enter__(self) -> DepthOutputs:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise KinedepthError(f"{self.folder} cannot be created ({error.strerror}).") from error
        with contextlib.ExitStack() as stack:
            for writer in self._writers:
                stack.enter_context(writer)
            stack.push(self._check_complete)
            self._exit = stack.pop_all()
        return self

    def write(
        self, index: int, image: NDArray[np.uint8] | None, depth: NDArray[np.float32]
    ) -> None:
        """Write one frame; they come in order, from 0.

        Args:
            index: of the frame.
            image: ``(H, W, 3)`` uint8 RGB; may be None where ``needs_images`` is false.
            depth: ``(H, W)`` float32; NaN where there is no value.
        """
        settings = self._settings
        if index != self._written or index >= settings.frames:
            raise KinedepthError(
                f"Frame {index} came where frame {self._written} of {settings.frames} was due."
            )
        size = (settings.height, settings.width)
        if depth.shape != size or depth.dtype != np.float32:
            raise KinedepthError(
                f"Depth of frame {index} needs shape {size} and type float32; got {depth.shape} "
                f"{depth.dtype}."
            )
        if image is None and self.needs_images:
            raise KinedepthError(f"What is written needs the picture of frame {index} as well.")
        if image is not None and (image.shape != (*size, 3) or image.dtype != np.uint8):
            raise KinedepthError(
                f"The picture of frame {index} needs shape {(*size, 3)} and type uint8; got "
                f"{image.shape} {image.dtype}."
            )
        for writer in self._writers:
            writer.write(index, image, depth)
        self._written += 1

    def __exit__(self, *exception: Any) -> None:
        self._exit.__exit__(*exception)

    def _check_complete(self, kind: type[BaseException] | None, *_: object) -> None:
        """Let no output appear that lacks frames."""
        if kind is None and self._written != self._settings.frames:
            raise KinedepthError(
                f"Only {self._written} of {self._settings.frames} frames were written; nothing "
                f"is kept."
            )


def check_formats(formats: Iterable[str]) -> list[str]:
    """``formats`` without repetitions; KinedepthError for one that is unknown."""
    names = list(dict.fromkeys(formats))
    for name in names:
        if name not in FORMATS:
            raise KinedepthError(
                f"There is no format '{name}' for depth; choose from {', '.join(FORMATS)}."
            )
    return names


def check_depth_folder(
    folder: Path, names: Iterable[str] = DEPTH_OUTPUTS, overwrite: bool = False
) -> None:
    """Raise KinedepthError if depth could not be written to ``folder``; change nothing.

    Args:
        folder: where to write.
        names: what shall be written, of :data:`DEPTH_OUTPUTS`.
        overwrite: outputs of an earlier run may be replaced.
    """
    if folder.exists() and not folder.is_dir():
        raise KinedepthError(f"{folder} is a file; give a folder to write the results into.")
    earlier = [name for name in names if (folder / name).exists()]
    if earlier and not overwrite:
        raise KinedepthError(
            f"{folder} already holds {earlier[0]} of an earlier run; choose another folder or "
            f"add --overwrite."
        )
    for name in earlier:
        path = folder / name
        if path.is_dir() and not is_folder_of_frames(path):
            raise KinedepthError(
                f"{path} holds other things than frames; move it away or choose another folder."
            )
