"""A clip of TAPVid-3D as a method sees it: frames, camera and queries; the truth for oracles."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from kinedepth.errors import KinedepthError
from kinedepth.evaluation.tapvid3d_clips import ClipTruth, load_truth
from kinedepth.evaluation.tapvid3d_files import ClipFile
from kinedepth.queries_file import parse_queries
from kinedepth.tracks import GridQueries, Queries
from kinedepth.video import Video, load_video


@dataclass(frozen=True)
class BenchmarkClip:
    """A clip, read when its parts are asked for.

    Attributes:
        file: where it lies.
    """

    file: ClipFile

    @cached_property
    def video(self) -> Video:
        """The frames, with the clip's intrinsics."""
        return load_video(self.file.path)

    @cached_property
    def queries(self) -> Queries:
        """The points to follow; those on the very border are moved onto the frame.

        The benchmark's queries are projections of 3D points, which rounding may put just
        outside.
        """
        found = parse_queries(str(self.file.path))
        assert not isinstance(found, GridQueries), "a file holds no grid"
        size = np.array([self.video.width, self.video.height], np.float32)
        inside = np.clip(found.xy, 0, size)
        if (np.abs(inside - found.xy) > 1).any():
            raise KinedepthError(
                f"{self.file.path}: queries lie more than a pixel outside the "
                f"{self.video.width}x{self.video.height} frame."
            )
        return Queries(inside, found.frame)

    @cached_property
    def truth(self) -> ClipTruth:
        """What oracles look at; a method that is none does not."""
        return load_truth(self.file.path)

    def fill_in(self, template: str) -> str:
        """``template`` with ``{clip}`` replaced by the clip's name, e.g. ``adt/clip``."""
        return template.replace("{clip}", self.file.name)
