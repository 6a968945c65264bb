"""Last stage of a lift: what moves as one says together with the network how depth changes."""

from __future__ import annotations

import numpy as np

from kinedepth.geometry.refining import RatioProgress, RatioRefiner
from kinedepth.lifting.joining import blocks_of
from kinedepth.lifting.setup import LiftSetup
from kinedepth.lifting.stored import StoredTracks3D
from kinedepth.lifting.work import LiftWork
from kinedepth.rows import read_at

_STAGE = "rigid"


def refine(
    setup: LiftSetup,
    work: LiftWork,
    lifted: StoredTracks3D,
    progress: RatioProgress | None = None,
) -> StoredTracks3D:
    """The tracks with ratios refined as :func:`kinedepth.geometry.refining.refine_ratios` does."""
    frames, points = lifted.log_ratio.shape
    refiner = RatioRefiner(setup.video.times, points)
    if not refiner.blocks:
        return lifted
    level = work.rows("refined", (frames, points), np.float64)
    doubt = work.rows("refined_std", (frames, points), np.float64)
    done = work.done(_STAGE)
    state = work.state(_STAGE)
    if state is not None:
        refiner.restore(state)
    for index, block in enumerate(refiner.blocks[done:], start=done):
        part = lifted.cut(block)
        assert part.log_ratio_std is not None
        found = refiner.add(
            index,
            part.log_ratio,
            part.log_ratio_std,
            part.tracks.xy,
            part.tracks.visible,
            setup.camera,
        )
        before = range(found.first, found.first + 1)
        level.write(found.first + 1, level.read(before) + found.log_ratio.cumsum(0))
        doubt.write(found.first + 1, doubt.read(before) + found.std.cumsum(0))
        work.checkpoint(_STAGE, index + 1, refiner.state)
        if progress is not None:
            progress(index + 1, len(refiner.blocks))
    # From here on nothing that was read above is read again, so it may be replaced.
    level_at_query = read_at(level, lifted.query_frame)
    doubt_at_query = read_at(doubt, lifted.query_frame)
    for block in blocks_of(frames):
        log_ratio = (level.read(block) - level_at_query).astype(np.float32)
        xyz = setup.camera.unproject(lifted.tracks.xy.read(block), np.exp(log_ratio))
        lifted.log_ratio.write(block.start, log_ratio)
        lifted.xyz.write(block.start, xyz.astype(np.float32))
        std = np.abs(doubt.read(block) - doubt_at_query)
        lifted.log_ratio_std.write(block.start, std.astype(np.float32))
    return lifted
