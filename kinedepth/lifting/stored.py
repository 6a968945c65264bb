"""3D tracks by rows, in memory or on disk."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinedepth.camera import Intrinsics
from kinedepth.lifting.tracks2d import QueryTracks
from kinedepth.rows import Rows, read_at
from kinedepth.tracks import Tracks, Tracks3D


@dataclass(frozen=True)
class StoredTracks3D:
    """Relative 3D tracks handed out some frames at a time, see :class:`LiftedTracks`.

    Attributes:
        tracks: the 2D tracks.
        intrinsics: of the original frame.
        xyz: ``(T, N, 3)`` float32.
        log_ratio: ``(T, N)`` float32.
        log_ratio_std: ``(T, N)`` float32.
        metric: false; anchored tracks are held in memory.
    """

    tracks: QueryTracks
    intrinsics: Intrinsics
    xyz: Rows
    log_ratio: Rows
    log_ratio_std: Rows
    metric: bool = False

    def __len__(self) -> int:
        """N, the number of tracks."""
        return len(self.tracks)

    @property
    def frames(self) -> int:
        """T, the number of frames."""
        return self.xyz.shape[0]

    @property
    def query_frame(self) -> NDArray[np.int64]:
        """``(N,)``, the frame that each track starts from."""
        return self.tracks.query_frame

    @property
    def queries_xyt(self) -> NDArray[np.float32]:
        """``(N, 3)``: x, y and frame index of each query."""
        xy = read_at(self.tracks.xy, self.query_frame)
        return np.concatenate([xy, self.query_frame[:, None]], axis=1).astype(np.float32)

    def cut(self, frames: range) -> Tracks3D:
        """The tracks in some frames only; ``query_frame`` goes on counting the clip's frames."""
        tracks = Tracks(
            self.tracks.xy.read(frames), self.tracks.visible.read(frames), self.query_frame
        )
        return Tracks3D(
            xyz=self.xyz.read(frames),
            log_ratio=self.log_ratio.read(frames),
            tracks=tracks,
            intrinsics=self.intrinsics,
            log_ratio_std=self.log_ratio_std.read(frames),
        )

    def whole(self) -> Tracks3D:
        """All of them, in memory."""
        return self.cut(range(self.frames))
