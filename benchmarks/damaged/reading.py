"""Giving an input to the package's public readers, and checking what they promise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from damaged.clips import FRAMES, HEIGHT, WIDTH

_MOST_LETTERS = 600
"""A longer message is no clear sentence."""


def _read_video(source: Path | str) -> str:
    from kinedepth.video import load_video

    video = load_video(source)
    assert len(video.times) == len(video), "the times are not those of the frames"
    assert np.isfinite(video.times).all(), "a time is not finite"
    assert (np.diff(video.times) > 0).all(), "the times do not ascend"
    assert 0 < video.fps < np.inf, f"the frame rate is {video.fps}"
    count = 0
    for first, block in video.blocks(4):
        assert first == count, "blocks do not follow each other"
        assert block.shape[1:] == (video.height, video.width, 3), "a frame has another size"
        count += len(block)
    assert count == len(video), f"{count} of {len(video)} frames came"
    return f"{count} frames of {video.width}x{video.height}"


def _read_queries(source: Path | str) -> str:
    from kinedepth.queries_file import parse_queries
    from kinedepth.tracks import Queries

    queries = parse_queries(str(source))
    assert isinstance(queries, Queries), "the file gave no points"
    assert np.isfinite(queries.xy).all(), "a point is not finite"
    assert (queries.frame >= 0).all(), "a frame is negative"
    return f"{len(queries)} points"


def _read_tracks(source: Path | str) -> str:
    from kinedepth.errors import KinedepthError
    from kinedepth.tracking.file import FileTracker, read_tracks
    from kinedepth.video import Video

    video = Video.from_array(np.zeros((FRAMES, HEIGHT, WIDTH, 3), np.uint8))
    refused = None
    try:
        tracks = read_tracks(source)
        assert np.isfinite(tracks.xy).all(), "a position is not finite"
        assert ((tracks.query_frame >= 0) & (tracks.query_frame < tracks.frames)).all()
    except KinedepthError as error:
        refused = error  # The tracker has to refuse as well, not only this function.
    tracks = FileTracker(source).read(video)
    if refused is not None:
        raise refused
    return f"{len(tracks)} tracks"


def _read_depth(source: Path | str) -> str:
    from kinedepth.depth_files import count_unusable, load_depth_video

    depth = load_depth_video(source)
    counted = count_unusable(depth)
    assert counted.total == depth.depth.size
    return f"{len(depth)} frames of depth"


def _read_model(source: Path | str) -> str:
    from kinedepth.seurat.checkpoint import load_checkpoint, read_calibration

    read_calibration(str(source))
    network = load_checkpoint(str(source))
    return f"{sum(value.numel() for value in network.parameters())} weights"


def _read_video_depth_model(source: Path | str) -> str:
    from kinedepth.dense.video_depth_anything.trained import load_trained

    load_trained(source)
    return "a network"


def _read_published_weights(source: Path | str) -> str:
    from kinedepth.dense.video_depth_anything.checkpoint import load_published
    from kinedepth.dense.video_depth_anything.config import VITS

    load_published(source, VITS)
    return "a network"


Readers = dict[str, Callable[[Path | str], str]]

READERS: Readers = {
    "video": _read_video,
    "queries": _read_queries,
    "tracks": _read_tracks,
    "depth": _read_depth,
    "model": _read_model,
    "video_depth_model": _read_video_depth_model,
    "published_weights": _read_published_weights,
}
"""Each reads all of its input and says in a few words what came out."""


def import_readers() -> None:
    """Import what the readers import."""
    import kinedepth.dense.video_depth_anything.trained
    import kinedepth.depth_files
    import kinedepth.queries_file
    import kinedepth.seurat.checkpoint
    import kinedepth.tracking.file
    import kinedepth.video  # noqa: F401


def is_clear_sentence(message: str) -> bool:
    """Whether a message is one line of bearable length that ends as a sentence does."""
    shown = " ".join(message.split())
    return (
        10 < len(shown) <= _MOST_LETTERS
        and shown.endswith((".", '".'))
        and "Traceback" not in shown
    )
