"""Third stage of a lift: windows joined over the video, how sure that is, and points in 3D."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from kinedepth.lifting.ratios import WindowRatios
from kinedepth.lifting.setup import LiftSetup
from kinedepth.lifting.stored import StoredTracks3D
from kinedepth.lifting.work import LiftWork
from kinedepth.rows import Rows, read_at
from kinedepth.seurat.checkpoint import read_calibration
from kinedepth.seurat.moving_block import fuse_in_blocks, plan_blocks
from kinedepth.seurat.uncertainty import (
    QueryTotals,
    running_totals,
    squared_doubts,
    std_from_totals,
)

BLOCK = 256
"""Frames at once once windows are joined."""

_FUSING, _FINISHED = "fusing", "joined"

Progress = Callable[[int, int], None]


def join(
    setup: LiftSetup, work: LiftWork, ratios: WindowRatios, progress: Progress | None = None
) -> StoredTracks3D:
    """Join the windows' ratios into 3D tracks with depth 1 at each one's query frame.

    Only fusing leaves checkpoints; what follows it takes seconds and is done again.
    """
    tracks = ratios.tracks
    frames, points = tracks.visible.shape
    lifted = StoredTracks3D(
        tracks=tracks,
        intrinsics=setup.camera,
        xyz=work.rows("tracks_XYZ", (frames, points, 3), np.float32),
        log_ratio=work.rows("log_ratio", (frames, points), np.float32),
        log_ratio_std=work.rows("log_ratio_std", (frames, points), np.float32),
    )
    if work.done(_FINISHED):
        return lifted
    joined = join_windows(setup, work, ratios, progress)
    at_query = read_at(joined, tracks.query_frame)
    for block in blocks_of(frames):
        log_ratio = (joined.read(block) - at_query).astype(np.float32)
        xyz = setup.camera.unproject(tracks.xy.read(block), np.exp(log_ratio))
        lifted.log_ratio.write(block.start, log_ratio)
        lifted.xyz.write(block.start, xyz.astype(np.float32))
    _find_std(setup, work, ratios, lifted)
    work.checkpoint(_FINISHED, 1)
    return lifted


def join_windows(
    setup: LiftSetup, work: LiftWork, ratios: WindowRatios, progress: Progress | None = None
) -> Rows:
    """Log depth ``(T, N)``, up to a constant a track, chained (Eq. 9) or fused."""
    joined = work.rows("joined", ratios.tracks.visible.shape, np.float64)
    frames = joined.shape[0]
    if setup.method == "chained":
        _chain(ratios, joined)
        return joined
    final = work.done(_FUSING)
    blocks = [block for block in plan_blocks(frames) if block.final.start >= final]
    for done in fuse_in_blocks(ratios.windows, ratios.read, joined, blocks):
        work.checkpoint(_FUSING, done)
        if progress is not None:
            progress(done, frames)
    return joined


def _chain(ratios: WindowRatios, joined: Rows) -> None:
    """Eq. 9, as :func:`kinedepth.seurat.windows.chain`, window by window."""
    before = np.zeros((1, joined.shape[1]))
    order = sorted(range(len(ratios.windows)), key=lambda index: ratios.windows[index].start)
    for index in order:
        (each,) = ratios.read([index])
        start = each.window.start
        if start > 0:
            before = joined.read(range(start, start + 1)).copy()
        joined.write(start, before + each.log_ratio)


def _find_std(
    setup: LiftSetup, work: LiftWork, ratios: WindowRatios, lifted: StoredTracks3D
) -> None:
    """Standard deviation of every log ratio: sums along the track, then back to its query."""
    frames, points = lifted.log_ratio.shape
    totals = work.rows("totals", (frames + 1, points, 3), np.float64)
    before = None
    for block in blocks_of(frames):
        sums = running_totals(_doubts(ratios, lifted.log_ratio, block), before)
        totals.write(block.start, sums)
        before = sums[-1]
    query_frame = ratios.tracks.query_frame
    queries = QueryTotals(
        query_frame, read_at(totals, query_frame), read_at(totals, query_frame + 1)
    )
    calibration = read_calibration(setup.model)
    for block in blocks_of(frames):
        sums = totals.read(range(block.start, block.stop + 1))
        std = std_from_totals(sums, queries, calibration, block.start)
        lifted.log_ratio_std.write(block.start, std)


def _doubts(ratios: WindowRatios, log_ratio: Rows, block: range) -> NDArray[np.float64]:
    """:func:`squared_doubts` of some frames, from all windows that reach into them."""
    touching = [
        index
        for index, window in enumerate(ratios.windows)
        if window.start < block.stop and window.frames[-1] >= block.start
    ]
    estimates = ratios.read(touching)
    first = min(each.window.start for each in estimates)
    stop = max(each.window.frames[-1] for each in estimates) + 1
    moved = [
        replace(each, window=replace(each.window, start=each.window.start - first))
        for each in estimates
    ]
    doubts = squared_doubts(moved, log_ratio.read(range(first, stop)))
    return doubts[block.start - first : block.stop - first]


def blocks_of(frames: int) -> Iterator[range]:
    """Frames that are done at once where nothing but memory asks for less than all."""
    for first in range(0, frames, BLOCK):
        yield range(first, min(first + BLOCK, frames))
