"""Second stage of a lift: log depth ratios in every window, as the network sees them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from kinedepth.lifting.setup import LiftSetup
from kinedepth.lifting.tracks2d import QueryTracks, Support
from kinedepth.lifting.work import LiftWork
from kinedepth.rows import Rows
from kinedepth.seurat.estimation import estimate_batch, plan_batches
from kinedepth.seurat.windows import Window, WindowEstimate

CHECKPOINT_BATCHES = 16
"""Batches of windows between two checkpoints."""

_STAGE = "seurat"

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class WindowRatios:
    """What the network says in each window.

    Attributes:
        windows: where.
        tracks: of the queries.
        log_ratio: ``(P, W, N)`` float32, log of depth over depth in the window's first frame.
        scale: ``(P, W, N)`` float32 > 0, scale of the error's Laplace distribution.
    """

    windows: Sequence[Window]
    tracks: QueryTracks
    log_ratio: Rows
    scale: Rows

    def read(self, windows: Iterable[int]) -> list[WindowEstimate]:
        """The estimates of some windows, by their indices."""
        return [
            WindowEstimate(
                self.windows[index],
                self.log_ratio.read(range(index, index + 1))[0],
                self.scale.read(range(index, index + 1))[0],
                self.tracks.visible.read(self.windows[index].frames),
            )
            for index in windows
        ]

    def all(self) -> list[WindowEstimate]:
        """The estimates of all windows, in memory."""
        return self.read(range(len(self.windows)))


def estimate(
    setup: LiftSetup,
    work: LiftWork,
    tracks: QueryTracks,
    support: Support,
    progress: Progress | None = None,
) -> WindowRatios:
    """Run the network over all windows, from where it was stopped."""
    windows, network = setup.windows, setup.network
    shape = (len(windows), windows[0].length, len(tracks))
    ratios = WindowRatios(
        windows,
        tracks,
        work.rows("window_log_ratio", shape, np.float32),
        work.rows("window_scale", shape, np.float32),
    )
    device = next(network.parameters()).device
    batches = plan_batches(support.counts(), len(tracks), device)
    begun = work.done(_STAGE)
    done = sum(len(batch) for batch in batches[:begun])
    for number, batch in enumerate(batches[begun:], start=begun + 1):
        found = estimate_batch(
            network,
            [windows[index] for index in batch],
            [tracks.at(windows[index].frames) for index in batch],
            [support.of(index) for index in batch],
            (setup.video.width, setup.video.height),
        )
        for index, each in zip(batch, found, strict=True):
            ratios.log_ratio.write(index, each.log_ratio[None])
            ratios.scale.write(index, each.scale[None])
        done += len(batch)
        if number % CHECKPOINT_BATCHES == 0 or number == len(batches):
            work.checkpoint(_STAGE, number)
        if progress is not None:
            progress(done, len(windows))
    return ratios
