"""A video as a stream of frames, whatever it is stored as."""

from __future__ import annotations

import contextlib
import glob
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kinedepth._frame_source import ASSUMED_FPS, ArraySource, FrameSource
from kinedepth._image_source import open_folder, open_glob, open_tapvid3d
from kinedepth._stream_source import StreamSource
from kinedepth.camera import Intrinsics
from kinedepth.errors import KinedepthError

_MOST_DIGITS = 18
"""Of a frame's number; Python refuses to convert thousands of them."""


class Video:
    """Frames that are streamed in blocks; never the whole video in memory.

    Make one with :func:`load_video` or :meth:`Video.from_array`. Frames are counted from 0
    along the selected ones, in the order in which they are shown.

    Attributes:
        name: short name, e.g. the file name without its suffix.
        width, height: size in pixels of the frames as shown (rotation metadata applied).
        times: ``(T,)`` float64 seconds at which each frame is shown, the first at 0.
        fps: average frame rate of the selected frames.
        start: seconds into the source at which the first selected frame is shown.
        intrinsics: of the frames, where the source knows them, else None.
    """

    def __init__(self, source: FrameSource, frames: slice | None = None, fewest: int = 2) -> None:
        self._source = source
        self._selected = range(len(source.times))[frames or slice(None)]
        self.name: str = source.name
        self.width: int = source.width
        self.height: int = source.height
        self.intrinsics: Intrinsics | None = source.intrinsics
        count = len(self._selected)
        if count < fewest:
            needs = "depth change needs at least two" if fewest == 2 else "there is nothing to see"
            raise KinedepthError(
                f"{source.label} has {'one frame' if count else 'no frame'}"
                f"{' left after selection' if frames else ''}; {needs}."
            )
        times = source.times[self._selected.start : self._selected.stop : self._selected.step]
        self.start: float = float(times[0])
        self.times: NDArray[np.float64] = np.asarray(times - times[0], dtype=np.float64)
        self.fps: float = float((count - 1) / self.times[-1]) if count > 1 else ASSUMED_FPS

    @classmethod
    def from_array(
        cls,
        frames: NDArray[np.uint8],
        fps: float = ASSUMED_FPS,
        name: str = "array",
        fewest: int = 2,
    ) -> Video:
        """A video of ``frames (T, H, W, 3)`` uint8 RGB already in memory, not copied.

        Raises:
            KinedepthError: fewer frames than ``fewest``.
        """
        return cls(ArraySource(frames, fps, name), fewest=fewest)

    def __len__(self) -> int:
        """T, the number of selected frames; all of them decode."""
        return len(self._selected)

    def __repr__(self) -> str:
        return (
            f"Video({self.name!r}, {len(self)} frames of {self.width}x{self.height} "
            f"at {self.fps:.5g} fps)"
        )

    def blocks(
        self, size: int = 16, start: int = 0, stop: int | None = None
    ) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Yield ``(index of the first frame, frames (B, H, W, 3) uint8 RGB)`` in order.

        Args:
            size: the most frames in a block; every block but the last has as many.
            start: the first frame to give.
            stop: the frame to stop before; None for the end.

        Each block is a new array that the caller may keep or change. Any number of iterators
        can run at a time; one that is abandoned closes its file.
        """
        stop = len(self) if stop is None else stop
        if size < 1:
            raise KinedepthError(f"A block needs at least one frame; got a size of {size}.")
        if not 0 <= start <= stop <= len(self):
            raise KinedepthError(
                f"Frames {start} to {stop} were asked for, but {self.name} has {len(self)}."
            )
        return self._blocks(size, start, stop)

    def frame(self, index: int) -> NDArray[np.uint8]:
        """The frame ``(H, W, 3)`` uint8 RGB at ``index``."""
        if not 0 <= index < len(self):
            raise KinedepthError(
                f"Frame {index} was asked for, but {self.name} has frames 0 to {len(self) - 1}."
            )
        return next(self._blocks(1, index, index + 1))[1][0]

    def _blocks(self, size: int, start: int, stop: int) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        if start == stop:
            return
        with contextlib.closing(self._source.read(self._selected[start:stop])) as frames:
            for first in range(start, stop, size):
                count = min(size, stop - first)
                block = np.empty((count, self.height, self.width, 3), dtype=np.uint8)
                for position in range(count):
                    block[position] = next(frames)
                yield first, block


def load_video(source: str | Path, frames: str | slice | None = None, fewest: int = 2) -> Video:
    """Open a video.

    Args:
        source: a video file; a folder of images; a pattern of images such as ``"dir/*.png"``;
            or a TAPVid-3D ``.npz``, which also brings its intrinsics. Images and TAPVid-3D
            clips store no times and count as 25 frames a second.
        frames: the frames to keep, as the slice ``"start:stop:step"`` of their index, e.g.
            ``"0:48"`` or ``"::2"``; start and stop not negative, step at least 1.
        fewest: frames that there have to be; 1 for what serves a single image as well.

    Raises:
        KinedepthError: if there is no such source, it cannot be decoded, or fewer frames than
            that are selected.
    """
    selection = _parse_selection(frames)
    path = Path(source)
    if path.is_dir():
        return Video(open_folder(path), selection, fewest)
    if path.is_file():
        if path.suffix.lower() == ".npz":
            return Video(open_tapvid3d(path), selection, fewest)
        stop = selection.stop if selection else None
        return Video(StreamSource(path, stop), selection, fewest)
    if glob.has_magic(str(source)):
        return Video(open_glob(str(source)), selection, fewest)
    raise KinedepthError(f"There is no file or folder {source}.")


def _parse_selection(frames: str | slice | None) -> slice | None:
    """The slice that ``frames`` asks for, checked."""
    if frames is None:
        return None
    if isinstance(frames, str):
        parts = frames.split(":")
        if not 2 <= len(parts) <= 3 or not all(map(_is_bound, parts)):
            raise _bad_selection(frames)
        frames = slice(*(int(part) if part.strip() else None for part in parts))
    bounds = (frames.start, frames.stop, frames.step)
    if any(bound is not None and (not isinstance(bound, int) or bound < 0) for bound in bounds):
        raise _bad_selection(frames)
    start, stop = frames.start or 0, frames.stop
    if frames.step == 0 or (stop is not None and stop <= start):
        raise _bad_selection(frames)
    return frames


def _is_bound(text: str) -> bool:
    """Whether a part of a selection is empty or a whole number that a frame can have."""
    digits = text.strip()
    return not digits or (digits.isdecimal() and len(digits) <= _MOST_DIGITS)


def _bad_selection(frames: str | slice) -> KinedepthError:
    shown = frames if isinstance(frames, str) else f"{frames.start}:{frames.stop}:{frames.step}"
    return KinedepthError(
        f'"{shown}" does not select frames; write start:stop or start:stop:step with whole '
        f'numbers from 0 up, start before stop and a step of at least 1, e.g. "0:48" or "::2".'
    )
