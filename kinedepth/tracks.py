"""Point trajectories: the queries that start them, and what is known along them in 2D and 3D."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from kinedepth.camera import Intrinsics
from kinedepth.errors import KinedepthError


@dataclass(frozen=True)
class Queries:
    """Points to track: where they are, and in which frame.

    Attributes:
        xy: ``(N, 2)`` float32, pixels of the original frame (pixel centres at +0.5).
        frame: ``(N,)`` int64, index of the frame in which each point sits at ``xy``.
    """

    xy: NDArray[np.float32]
    frame: NDArray[np.int64]

    def __post_init__(self) -> None:
        xy = np.ascontiguousarray(self.xy, dtype=np.float32)
        if xy.ndim != 2 or xy.shape[1] != 2 or len(xy) == 0:
            raise KinedepthError(f"Queries need shape (N, 2) with N >= 1; got {xy.shape}.")
        if not np.isfinite(xy).all():
            raise KinedepthError("Queries hold NaN or infinite coordinates.")
        frame = np.ascontiguousarray(np.broadcast_to(self.frame, len(xy)), dtype=np.int64)
        object.__setattr__(self, "xy", xy)
        object.__setattr__(self, "frame", frame)

    def __len__(self) -> int:
        return len(self.xy)

    def check_inside(self, width: int, height: int, frames: int) -> None:
        """Raise unless every query lies in a ``width`` x ``height`` clip of ``frames`` frames."""
        outside = (self.xy < 0).any(1) | (self.xy[:, 0] > width) | (self.xy[:, 1] > height)
        if outside.any():
            index = int(np.flatnonzero(outside)[0])
            x, y = self.xy[index]
            raise KinedepthError(
                f"Query {index} at ({x:g}, {y:g}) lies outside the {width}x{height} frame "
                f"({int(outside.sum())} of {len(self)} queries do)."
            )
        late = (self.frame < 0) | (self.frame >= frames)
        if late.any():
            index = int(np.flatnonzero(late)[0])
            raise KinedepthError(
                f"Query {index} asks for frame {self.frame[index]}, but the clip has frames "
                f"0 to {frames - 1}."
            )


def grid_points(width: int, height: int, columns: int, rows: int) -> NDArray[np.float32]:
    """Cell centres ``(columns * rows, 2)`` of a uniform grid over the image, row by row."""
    x = (np.arange(columns, dtype=np.float32) + 0.5) * (width / columns)
    y = (np.arange(rows, dtype=np.float32) + 0.5) * (height / rows)
    return np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2).astype(np.float32)


@dataclass(frozen=True)
class GridQueries:
    """A uniform grid of ``size`` x ``size`` queries, laid out once the frame size is known."""

    size: int

    def __post_init__(self) -> None:
        if self.size < 1:
            raise KinedepthError(f"A query grid needs at least one point a side; got {self.size}.")

    def at(self, width: int, height: int, frame: int) -> Queries:
        """The queries for a ``width`` x ``height`` clip, all seeded in ``frame``."""
        xy = grid_points(width, height, self.size, self.size)
        return Queries(xy, np.full(len(xy), frame))


def grid(size: int) -> GridQueries:
    """Ask for a uniform ``size`` x ``size`` grid of points: ``lift(video, queries=grid(20))``."""
    return GridQueries(size)


@dataclass(frozen=True)
class Tracks:
    """2D point trajectories.

    Attributes:
        xy: ``(T, N, 2)`` float32, pixels of the original frame (pixel centres at +0.5).
            Finite everywhere, also where a point is hidden (the tracker's best guess).
        visible: ``(T, N)`` bool.
        query_frame: ``(N,)`` int64, the frame (0-based, of these T) that each track starts from.
    """

    xy: NDArray[np.float32]
    visible: NDArray[np.bool_]
    query_frame: NDArray[np.int64]

    def __post_init__(self) -> None:
        xy = np.ascontiguousarray(self.xy, dtype=np.float32)
        visible = np.ascontiguousarray(self.visible, dtype=bool)
        if xy.ndim != 3 or xy.shape[2] != 2:
            raise KinedepthError(f"Tracks need positions of shape (T, N, 2); got {xy.shape}.")
        if visible.shape != xy.shape[:2]:
            raise KinedepthError(
                f"Visibility has shape {visible.shape}, but the positions ask for {xy.shape[:2]}."
            )
        if not np.isfinite(xy).all():
            raise KinedepthError(
                "Tracks hold NaN or infinite positions; give hidden points their last position "
                "and mark them invisible."
            )
        query_frame = np.ascontiguousarray(
            np.broadcast_to(self.query_frame, xy.shape[1]), dtype=np.int64
        )
        object.__setattr__(self, "xy", xy)
        object.__setattr__(self, "visible", visible)
        object.__setattr__(self, "query_frame", query_frame)

    @property
    def frames(self) -> int:
        """T, the number of frames."""
        return self.xy.shape[0]

    def at(self, frames: range) -> Tracks:
        """The tracks in some frames only; their query frames are then the first of these."""
        return Tracks(self.xy[list(frames)], self.visible[list(frames)], np.array(0))

    def __len__(self) -> int:
        return self.xy.shape[1]


GUESSED_SCALE_STD = 10.0
"""Stands for "not known" where a number has to be finite: a factor of more than 20,000."""


class LiftedTracks(Protocol):
    """Lifted trajectories that are handed out some frames at a time.

    :class:`Tracks3D` holds them in memory; those of a long video lie on disk.
    """

    @property
    def frames(self) -> int:
        """T, the number of frames."""
        ...

    def __len__(self) -> int:
        """N, the number of tracks."""
        ...

    @property
    def intrinsics(self) -> Intrinsics:
        """Of the original frame."""
        ...

    @property
    def metric(self) -> bool:
        """Whether depths were anchored to metres."""
        ...

    @property
    def query_frame(self) -> NDArray[np.int64]:
        """``(N,)``, the frame that each track starts from."""
        ...

    @property
    def queries_xyt(self) -> NDArray[np.float32]:
        """``(N, 3)``: x, y and frame index of each query."""
        ...

    def cut(self, frames: range) -> Tracks3D:
        """The tracks in some frames only; ``query_frame`` goes on counting the clip's frames."""
        ...


@dataclass(frozen=True)
class Tracks3D:
    """Lifted trajectories, in the camera frame of each time step.

    Attributes:
        xyz: ``(T, N, 3)`` float32; x right, y down, z forward. In metres when ``metric``,
            otherwise in units in which each track has depth 1 at its query frame or, where
            tracks are anchored to depth without a unit, in one common, unknown unit.
        log_ratio: ``(T, N)`` float32, log of depth at t over depth at the track's query frame.
        tracks: the 2D trajectories these were lifted from.
        intrinsics: of the original frame.
        metric: whether depths were anchored to metres.
        log_ratio_std: ``(T, N)`` float32, standard deviation of ``log_ratio``, 0 at the query
            frame; None where it is not known (tracks of an older file).
        extrinsics_w2c: ``(T, 4, 4)`` float32, world to camera, where the camera's motion is
            known; the world is the camera of the first frame.
        log_scale_std: ``(N,)`` float32, standard error of the logarithm of each anchored track's
            scale as the anchor's fit sees it, :data:`GUESSED_SCALE_STD` where the scale is a
            guess from other tracks; None where tracks are not anchored.
    """

    xyz: NDArray[np.float32]
    log_ratio: NDArray[np.float32]
    tracks: Tracks
    intrinsics: Intrinsics
    metric: bool = False
    log_ratio_std: NDArray[np.float32] | None = None
    extrinsics_w2c: NDArray[np.float32] | None = None
    log_scale_std: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        """N, the number of tracks."""
        return len(self.tracks)

    @property
    def frames(self) -> int:
        """T, the number of frames."""
        return self.tracks.frames

    @property
    def query_frame(self) -> NDArray[np.int64]:
        """``(N,)``, the frame that each track starts from."""
        return self.tracks.query_frame

    def cut(self, frames: range) -> Tracks3D:
        """The tracks in some frames only; ``query_frame`` goes on counting the clip's frames."""
        rows = slice(frames.start, frames.stop, frames.step)
        std, poses = self.log_ratio_std, self.extrinsics_w2c
        tracks = Tracks(self.tracks.xy[rows], self.tracks.visible[rows], self.query_frame)
        return replace(
            self,
            xyz=self.xyz[rows],
            log_ratio=self.log_ratio[rows],
            tracks=tracks,
            log_ratio_std=None if std is None else std[rows],
            extrinsics_w2c=None if poses is None else poses[rows],
        )

    @property
    def depth(self) -> NDArray[np.float32]:
        """``(T, N)`` z-depth."""
        return self.xyz[..., 2]

    @property
    def queries_xyt(self) -> NDArray[np.float32]:
        """``(N, 3)``: x, y and frame index of each query, as TAPVid-3D stores them."""
        frame = self.tracks.query_frame
        xy = self.tracks.xy[frame, np.arange(len(frame))]
        return np.concatenate([xy, frame[:, None]], axis=1).astype(np.float32)
