"""Tracks that someone else made, read from a file: ``file:PATH``.

Three kinds of file are known by their content:

* ``.npz`` as kinedepth writes it: ``tracks_xy (T, N, 2)`` pixels, ``visibility (T, N)``,
  ``queries_xyt (N, 3)``;
* ``.npz`` of TAPVid-3D: ``tracks_XYZ (T, N, 3)``, projected with its ``fx_fy_cx_cy``,
  ``visibility`` and ``queries_xyt``;
* ``.csv`` with the header ``track,frame,x,y`` or ``track,frame,x,y,visible``: a row for each
  frame of each track. A frame without a row counts as hidden, at the nearest known position in
  time; a track starts from its first visible frame.

Pixels are those of the video's frames as shown, with pixel centres at +0.5.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kinedepth._safe_npz import load_arrays, load_tapvid3d
from kinedepth.errors import KinedepthError
from kinedepth.tracking._track_table import held, read_track_table
from kinedepth.tracking.base import Progress, TrackingJob
from kinedepth.tracks import Queries, Tracks
from kinedepth.video import Video


class FileTracker:
    """Answers every job with the tracks of one file.

    It cannot follow points of anyone's choosing, so ``seeds_own_points`` is true: the queries
    of a job are ignored but for the frame they lie in, and the job's tracks are the file's:
    those seen in the first of the job's query frames, cut to the job's frames. For a job over
    the whole clip they are all the file's tracks, each from its own query frame.
    """

    name = "file"
    seeds_own_points = True

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def read(self, video: Video) -> Tracks:
        """All tracks of the file, checked against ``video``.

        Raises:
            KinedepthError: there is no such file, it cannot be read as tracks, or it does not
                fit the video.
        """
        tracks = read_tracks(self.path, frames=len(video))
        if tracks.frames != len(video):
            raise KinedepthError(
                f"{self.path} holds tracks of {tracks.frames} frames, but the clip has "
                f"{len(video)}; give the tracks of the same frames."
            )
        row, column = tracks.query_frame, np.arange(len(tracks))
        Queries(tracks.xy[row, column], row).check_inside(video.width, video.height, len(video))
        return tracks

    def track(
        self, video: Video, jobs: Sequence[TrackingJob], progress: Progress | None = None
    ) -> Iterator[tuple[int, Tracks]]:
        """As :class:`kinedepth.tracking.base.Tracker` asks of those that seed their own points.

        Raises:
            KinedepthError: as :meth:`read`, or no track is visible where a window starts.
        """
        tracks = self.read(video)
        for index, job in enumerate(jobs):
            yield index, _cut(tracks, job, self.path)
        if progress is not None:
            progress(len(video), len(video))


def read_tracks(path: str | Path, frames: int | None = None) -> Tracks:
    """The tracks in a file of any known kind.

    Args:
        path: the file.
        frames: how many frames the clip has, which a csv does not say; None for as many as
            its last row needs.

    Raises:
        KinedepthError: with what is wrong, and in which line of a csv.
    """
    path = Path(path)
    if not path.is_file():
        raise KinedepthError(f"There is no file {path} to read tracks from.")
    if path.suffix.lower() == ".csv":
        return read_track_table(path, frames)
    if path.suffix.lower() != ".npz":
        raise KinedepthError(f"{path} is neither .npz nor .csv, the kinds that tracks come in.")
    return _from_arrays(path)


def _from_arrays(path: Path) -> Tracks:
    try:
        arrays = load_arrays(path)
    except KinedepthError:
        # TAPVid-3D clips keep their images as objects, which only their own reader opens. A
        # file that neither can read is reported by the second.
        arrays = load_tapvid3d(path)
    if "visibility" not in arrays or not {"tracks_xy", "tracks_XYZ"} & set(arrays):
        raise KinedepthError(
            f"{path} holds {', '.join(sorted(arrays)) or 'nothing'}; tracks need tracks_xy or "
            f"tracks_XYZ, and visibility."
        )
    visible = np.asarray(arrays["visibility"])
    if visible.dtype.kind not in "biuf":
        raise KinedepthError(f"{path}: visibility must hold true and false, not {visible.dtype}.")
    if "tracks_xy" in arrays:
        xy = _numbers(path, "tracks_xy", arrays["tracks_xy"], 2)
    else:
        xy = _projected(path, arrays, visible)
    if visible.shape != xy.shape[:2]:
        raise KinedepthError(
            f"{path}: visibility has shape {visible.shape}, but the positions ask for "
            f"{xy.shape[:2]}."
        )
    if xy.shape[0] == 0 or xy.shape[1] == 0:
        raise KinedepthError(f"{path} holds no tracks.")
    visible = visible.astype(bool)
    with np.errstate(over="ignore"):  # What is too large becomes infinite, and is told below.
        xy = xy.astype(np.float32)
    if not np.isfinite(xy[visible]).all():
        frame, track = np.argwhere(visible & ~np.isfinite(xy).all(2))[0]
        raise KinedepthError(
            f"{path}: track {track} is visible in frame {frame}, but its position is not finite."
        )
    return Tracks(held(xy), visible, _query_frames(path, arrays, visible))


def _numbers(path: Path, name: str, array: NDArray, last: int) -> NDArray[np.float64]:
    if array.ndim != 3 or array.shape[2] != last or array.dtype.kind not in "fiu":
        raise KinedepthError(
            f"{path}: {name} must hold numbers of shape (T, N, {last}); it holds "
            f"{array.dtype} of shape {array.shape}."
        )
    return array.astype(np.float64)


def _projected(path: Path, arrays: dict[str, NDArray], visible: NDArray) -> NDArray[np.float64]:
    """``(T, N, 2)`` pixels of 3D tracks; NaN behind the camera."""
    xyz = _numbers(path, "tracks_XYZ", np.asarray(arrays["tracks_XYZ"]), 3)
    camera = np.asarray(arrays.get("fx_fy_cx_cy", np.nan))
    if camera.shape != (4,) or camera.dtype.kind not in "fiu" or not np.isfinite(camera).all():
        raise KinedepthError(f"{path}: 3D tracks need fx_fy_cx_cy of four numbers to project them.")
    if visible.shape == xyz.shape[:2] and (xyz[..., 2][visible.astype(bool)] <= 0).any():
        raise KinedepthError(f"{path} holds visible points that are not in front of the camera.")
    fx, fy, cx, cy = camera.astype(np.float64)
    z = np.where(xyz[..., 2] > 0, xyz[..., 2], np.nan)
    return np.stack([fx * xyz[..., 0] / z + cx, fy * xyz[..., 1] / z + cy], axis=-1)


def _query_frames(
    path: Path, arrays: dict[str, NDArray], visible: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """``(N,)`` where each track starts: as the file says, or its first visible frame."""
    frames, count = visible.shape
    if "queries_xyt" not in arrays:
        return visible.argmax(0).astype(np.int64)
    queries = np.asarray(arrays["queries_xyt"])
    numbers = queries.dtype.kind in "fiu"
    if queries.shape != (count, 3) or not numbers or not np.isfinite(queries).all():
        raise KinedepthError(
            f"{path}: queries_xyt must hold finite numbers of shape ({count}, 3); it holds "
            f"{queries.dtype} of shape {queries.shape}, or numbers that are not finite."
        )
    start = np.round(queries[:, 2]).astype(np.int64)
    if (start < 0).any() or (start >= frames).any():
        raise KinedepthError(f"{path}: queries_xyt names frames outside 0 to {frames - 1}.")
    return start


def _cut(tracks: Tracks, job: TrackingJob, path: Path) -> Tracks:
    """The tracks that serve a job, in the job's frames."""
    frames = np.array(job.frames)
    if len(frames) == 0 or frames[0] < 0 or frames[-1] >= tracks.frames:
        raise KinedepthError(
            f"A tracking job asks for frames {job.frames}, but {path} has {tracks.frames}."
        )
    if len(frames) == tracks.frames:
        return tracks
    start = int(job.queries.frame.min())
    seen = np.flatnonzero(tracks.visible[start])
    if len(seen) == 0:
        raise KinedepthError(
            f"{path} has no track visible in frame {start}, where a window starts; give denser "
            f"tracks."
        )
    row = np.full(len(seen), job.frames.index(start), np.int64)
    return Tracks(tracks.xy[frames][:, seen], tracks.visible[frames][:, seen], row)
