"""Some frames of long tracks, which stand for all where a picture or a scale needs no more."""

from __future__ import annotations

import math

from kinedepth.tracks import LiftedTracks, Tracks3D

MOST_FRAMES = 1500
"""Frames looked at to choose a colour scale, and shown by the page: more than a slider has steps.
What they hold has to fit into memory, whatever the length of the video."""


def sample(tracks: LiftedTracks) -> Tracks3D:
    """The tracks in every k-th frame, in all where they are at most :data:`MOST_FRAMES`."""
    step = sample_step(tracks)
    if step == 1 and isinstance(tracks, Tracks3D):
        return tracks
    return tracks.cut(range(0, tracks.frames, step))


def sample_step(tracks: LiftedTracks) -> int:
    """k of :func:`sample`."""
    return max(1, math.ceil(tracks.frames / MOST_FRAMES))
