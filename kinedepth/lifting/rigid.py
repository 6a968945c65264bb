"""Last stage of a lift: what moves as one says together with the network how depth changes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from kinedepth.geometry.refining import RatioProgress, RatioRefiner
from kinedepth.lifting.joining import blocks_of
from kinedepth.lifting.setup import LiftSetup
from kinedepth.lifting.stored import StoredTracks3D
from kinedepth.lifting.work import LiftWork
from kinedepth.rows import Rows, read_at
from kinedepth.seurat.checkpoint import read_calibration

_STAGE = "rigid"


def refine(
    setup: LiftSetup,
    work: LiftWork,
    lifted: StoredTracks3D,
    progress: RatioProgress | None = None,
) -> StoredTracks3D:
    """The tracks with ratios refined as :func:`kinedepth.geometry.refining.refine_ratios` does.

    Their standard deviations are calibrated, which those of ``refine_ratios`` are not.
    """
    frames, points = lifted.log_ratio.shape
    refiner = RatioRefiner(setup.video.times, points, setup.camera_known)
    if not refiner.blocks:
        return lifted
    level = work.rows("refined_level", (frames, points), np.float64)
    doubt = work.rows("refined_doubt", (frames, points), np.float64)
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
    return _referred_to_queries(setup, work, lifted, level, doubt)


def _referred_to_queries(
    setup: LiftSetup, work: LiftWork, lifted: StoredTracks3D, level: Rows, doubt: Rows
) -> StoredTracks3D:
    """``lifted`` with ratios from ``level (T, N)`` and deviations from ``doubt (T, N)``, both of
    which may begin anywhere. What went before stays as it is: it is needed if this is done again.
    """
    shape = lifted.log_ratio.shape
    refined = replace(
        lifted,
        xyz=work.rows("refined_XYZ", lifted.xyz.shape, np.float32),
        log_ratio=work.rows("refined_log_ratio", shape, np.float32),
        log_ratio_std=work.rows("refined_log_ratio_std", shape, np.float32),
    )
    calibration = read_calibration(setup.model)
    level_at_query = read_at(level, lifted.query_frame)
    doubt_at_query = read_at(doubt, lifted.query_frame)
    for block in blocks_of(shape[0]):
        log_ratio = (level.read(block) - level_at_query).astype(np.float32)
        xyz = setup.camera.unproject(lifted.tracks.xy.read(block), np.exp(log_ratio))
        together = np.abs(doubt.read(block) - doubt_at_query)
        std = calibration.refined_std(together, lifted.log_ratio_std.read(block))
        refined.log_ratio.write(block.start, log_ratio)
        refined.xyz.write(block.start, xyz.astype(np.float32))
        refined.log_ratio_std.write(block.start, std)
    return refined
