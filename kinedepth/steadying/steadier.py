"""Steady depth of a video of any length, from unsteady depth that can be read again.

The video is cut into blocks that overlap. In each, points are tracked and lifted, the depth is
read along them, and what flickers is found; fields of flicker lie on disk. Depth without flicker
then is one look-up for each frame. Where two blocks overlap, one field fades into the next: each
has mean 0 over its block, so that no error adds up from block to block.
"""

from __future__ import annotations

import functools
import itertools
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinedepth._frame_source import Frames
from kinedepth._frame_store import gather_frames
from kinedepth.anchoring.readings import DepthReadings, read_depth
from kinedepth.camera import Intrinsics
from kinedepth.depth import DepthKind, DepthVideo
from kinedepth.errors import KinedepthError
from kinedepth.lifting import StageProgress, lift
from kinedepth.steadying.field import FlickerField
from kinedepth.steadying.fit import fit_flicker
from kinedepth.tracking.base import Tracker
from kinedepth.tracks import Queries, Tracks, Tracks3D, grid_points
from kinedepth.video import Video

DepthFrames = Callable[[int, int], Iterable[NDArray[np.floating]]]
"""Gives depth ``(h, w)`` of the frames from the first number up to before the second."""

FrameProgress = Callable[[int, int], None]
"""Called with how many frames are done and how many there are."""

BLOCK = 64
"""Frames that are looked at together; a little more where that saves a block."""
OVERLAP = 16
"""Frames that neighbouring blocks share."""
SEED_EVERY = 12
"""Frames between the grids of new points."""
SEEDS_ACROSS = 20
"""Points of a grid along the longer side of the frame."""

_STEADY_KINDS: tuple[DepthKind, ...] = ("metric", "scale_invariant")


def check_kind(kind: DepthKind) -> None:
    """Raise unless depth of this kind can be steadied.

    Raises:
        KinedepthError: it is known up to a shift only, so that it has no ratios.
    """
    if kind not in _STEADY_KINDS:
        raise KinedepthError(
            f"Depth of the kind {kind} cannot be steadied: it is known up to a shift, so its "
            f"ratios cannot be compared with those of tracks; choose a model of metric depth, or "
            f"make frames agree with --consistent, which fits a shift to each."
        )


class Steadier:
    """Takes the flicker out of depth of a video.

    Args:
        video: the frames.
        depth: their depth, read once in :meth:`fit`.
        kind: what it means: metric or scale_invariant.
        folder: that exists, where fields of flicker are kept, ``steady-NNNNNN.npz``; those that
            are there already are taken for this video's.
        tracker, model, device: as for :func:`kinedepth.lifting.lift`.

    Raises:
        KinedepthError: if depth of this kind cannot be steadied.
    """

    def __init__(
        self,
        video: Video,
        depth: DepthFrames,
        kind: DepthKind,
        folder: Path,
        *,
        tracker: str | Tracker = "flow",
        model: str = "small",
        device: str = "auto",
    ) -> None:
        check_kind(kind)
        self.video = video
        self.kind: DepthKind = kind
        self.folder = folder
        self.blocks = plan_blocks(len(video))
        self._depth = depth
        self._lifting: dict[str, Any] = {"tracker": tracker, "model": model, "device": device}
        self._open: dict[int, FlickerField] = {}

    def fit(self, progress: FrameProgress | None = None) -> dict[str, Any]:
        """Find the flicker of all blocks that have no field yet.

        Args:
            progress: told how many frames are done.

        Returns:
            What was found, in plain values: the root mean square of the log factors that are
            taken out of whole frames and, beyond these, of their parts.

        Raises:
            KinedepthError: if there are fewer frames of depth than of the video.
        """
        frame, region, count = 0.0, 0.0, 0
        for index, block in enumerate(self.blocks):
            if not self._path(index).is_file():
                before = self.blocks[index - 1].stop if index else 0
                report = progress and functools.partial(self._report, progress, before, block.stop)
                self._fit_block(block, report).save(self._path(index))
            field = FlickerField.load(self._path(index))
            frame += float(np.square(field.frame, dtype=np.float64).sum())
            region += float(np.square(field.region, dtype=np.float64).mean(axis=(1, 2, 3)).sum())
            count += len(block)
            if progress:
                progress(block.stop, len(self.video))
        return {
            "frame_flicker": float(np.sqrt(frame / count)),
            "region_flicker": float(np.sqrt(region / count)),
        }

    def log_factor(self, index: int, depth: NDArray[np.floating]) -> NDArray[np.float32]:
        """Log factor ``(h, w)`` by which ``depth (h, w)`` of frame ``index`` is off.

        After :meth:`fit`; frames are best asked for in order.
        """
        within = [number for number, block in enumerate(self.blocks) if index in block]
        if not within:
            raise KinedepthError(
                f"Frame {index} was asked for, but the video has frames 0 to {len(self.video) - 1}."
            )
        self._open = {number: self._field(number) for number in within}
        first = self._open[within[0]].log_factor(index, depth)
        if len(within) == 1:
            return first
        later = self.blocks[within[1]]
        # Neither end is reached: at both, only one of the blocks has frames beyond.
        share = (index - later.start + 1) / (self.blocks[within[0]].stop - later.start + 1)
        second = self._open[within[1]].log_factor(index, depth)
        return (first + np.float32(share) * (second - first)).astype(np.float32)

    def steady(self, index: int, depth: NDArray[np.floating]) -> NDArray[np.float32]:
        """``depth (h, w)`` of frame ``index`` without flicker; pixels without depth stay."""
        return (depth * np.exp(-self.log_factor(index, depth))).astype(np.float32)

    def _path(self, number: int) -> Path:
        return self.folder / f"steady-{self.blocks[number].start:06d}.npz"

    def _field(self, number: int) -> FlickerField:
        return self._open.get(number) or FlickerField.load(self._path(number))

    def lifted(self, block: range, progress: StageProgress | None = None) -> Tracks3D:
        """Lifted tracks through the frames of a block: what takes long."""
        part = _part(self.video, block)
        return lift(part, seeds(part), progress=progress, **self._lifting).tracks

    def _fit_block(self, block: range, progress: StageProgress | None) -> FlickerField:
        depth = self._depth(block.start, block.stop)
        tracks = self.lifted(block, progress)
        return flicker_of_block(tracks, depth, self.kind, block.start)

    def _report(
        self, progress: FrameProgress, before: int, after: int, stage: str, done: int, total: int
    ) -> None:
        """Tell of lifting within a block as of frames: tracking is taken for half of it."""
        share = (done / max(total, 1) + (stage != "tracking")) / 2
        progress(before + int(share * (after - before)), len(self.video))


def flicker_of_block(
    tracks: Tracks3D, depth: Iterable[NDArray[np.floating]], kind: DepthKind, start: int = 0
) -> FlickerField:
    """What flickers of ``depth``, frames ``(h, w)`` of T frames, along tracks through them.

    Args:
        tracks: lifted tracks through the T frames.
        depth: of these frames.
        kind: what it means.
        start: number that the first of the frames has in the field.
    """
    followed, size = tracks.tracks, (tracks.intrinsics.width, tracks.intrinsics.height)
    # Where no point is seen there is nothing to read.
    seen = np.asarray(followed.visible.any(axis=1))
    where_seen = Tracks(followed.xy[seen], followed.visible[seen], np.array(0))
    found = read_depth(itertools.compress(depth, seen.tolist()), where_seen, size, kind)
    value = np.full(followed.visible.shape, np.nan, np.float32)
    spread = np.zeros(followed.visible.shape, np.float32)
    value[seen], spread[seen] = found.value, found.spread
    return fit_flicker(tracks, DepthReadings(value, spread, kind), start)


def steady_depth(
    video: Video,
    depth: DepthVideo,
    *,
    tracker: str | Tracker = "flow",
    model: str = "small",
    device: str = "auto",
    progress: FrameProgress | None = None,
) -> DepthVideo:
    """Depth of a video without the flicker of a model that looks at each frame alone.

    ::

        steady = steady_depth(video, estimate_depth(video, "depth-pro"))

    Args:
        video: the frames.
        depth: of these frames, metric or scale_invariant; of any size.
        tracker, model, device: as for :func:`kinedepth.lifting.lift`.
        progress: told how many frames have been looked at.

    Returns:
        Depth of the same kind and size; where there is nothing to go by, it is as it was.

    Raises:
        KinedepthError: if the numbers of frames differ, or depth is known up to a shift only.
    """
    if len(depth) != len(video):
        raise KinedepthError(
            f"There is depth of {len(depth)} frames, but the video has {len(video)}; give depth "
            f"of the same frames."
        )
    with tempfile.TemporaryDirectory(prefix="kinedepth-") as folder:
        steadier = Steadier(
            video,
            lambda start, stop: depth.depth[start:stop],
            depth.kind,
            Path(folder),
            tracker=tracker,
            model=model,
            device=device,
        )
        steadier.fit(progress)
        frames = (steadier.steady(index, frame) for index, frame in enumerate(depth.depth))
        found = gather_frames(frames, (len(depth), depth.height, depth.width))
    return DepthVideo(found, depth.kind, depth.fps, depth.per_frame)


def plan_blocks(frames: int) -> list[range]:
    """Blocks of nearly :data:`BLOCK` frames that share :data:`OVERLAP`, over all ``frames``."""
    if frames <= BLOCK + OVERLAP:
        return [range(frames)]
    count = int(np.ceil((frames - OVERLAP) / (BLOCK - OVERLAP)))
    length = int(np.ceil((frames + (count - 1) * OVERLAP) / count))
    starts = np.round(np.linspace(0, frames - length, count)).astype(int)
    return [range(int(start), int(start) + length) for start in starts]


def seeds(video: Video) -> Queries:
    """Grids of points to follow, one every :data:`SEED_EVERY` frames."""
    spacing = max(video.width, video.height) / SEEDS_ACROSS
    columns, rows = (max(1, round(side / spacing)) for side in (video.width, video.height))
    points = grid_points(video.width, video.height, columns, rows)
    first = min(SEED_EVERY, len(video)) // 2
    frames = np.arange(first, len(video), SEED_EVERY)
    return Queries(np.tile(points, (len(frames), 1)), np.repeat(frames, len(points)))


def _part(video: Video, block: range) -> Video:
    return video if len(block) == len(video) else Video(_Part(video, block))


class _Part:
    """Some frames of a video, in a row, as a source of frames."""

    def __init__(self, video: Video, block: range) -> None:
        self.name = self.label = video.name
        self.width, self.height = video.width, video.height
        self.times = video.times[block.start : block.stop]
        self.intrinsics: Intrinsics | None = video.intrinsics
        self._video = video
        self._start = block.start

    def read(self, indices: range) -> Frames:
        """Yield the frames at ``indices``."""
        first, stop = indices[0], indices[-1] + 1
        blocks = self._video.blocks(1, self._start + first, self._start + stop)
        images: Iterator[NDArray[np.uint8]] = (frames[0] for _, frames in blocks)
        yield from itertools.islice(images, 0, None, indices.step)
