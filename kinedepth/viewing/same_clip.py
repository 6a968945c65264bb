"""A check that a video is the one its tracks were made on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kinedepth.errors import KinedepthError
from kinedepth.tracks import LiftedTracks

if TYPE_CHECKING:
    from kinedepth.video import Video


def check_same_clip(video: Video, tracks: LiftedTracks) -> None:
    """Raise KinedepthError unless ``video`` has the tracks' number of frames and frame size."""
    frames = tracks.frames
    if len(video) != frames:
        raise KinedepthError(
            f"The video has {len(video)} frames, but the tracks have {frames}; "
            f"give the clip that was tracked."
        )
    width, height = tracks.intrinsics.width, tracks.intrinsics.height
    if (video.width, video.height) != (width, height):
        raise KinedepthError(
            f"The video is {video.width}x{video.height}, but the tracks were made on "
            f"{width}x{height}; give the clip that was tracked."
        )
