"""Run the network over the windows of a video."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from kinedepth.seurat.looking import look
from kinedepth.seurat.model import Seurat, Tracklets
from kinedepth.seurat.windows import Window, WindowEstimate
from kinedepth.tracks import Tracks

_TRACKS_AT_ONCE = {"cpu": 1536}
"""Tracks, query and supporting, that one batch of windows holds at most on a kind of device."""
_TRACKS_AT_ONCE_ELSEWHERE = 32768
_ENOUGH_SUPPORT = 16
"""Supporting tracks in view from which on the network's own word on its error is taken."""
_UNKNOWN = 0.2
"""Error scale of a log ratio over a window when there is nothing to compare a track with."""
_UNSEEN = 0.05
"""What it adds to the error scale over a window that the point is not seen in at all."""


def to_image_units(xy: NDArray[np.float32], width: int, height: int) -> NDArray[np.float32]:
    """Pixels ``(..., 2)`` to half widths of the image, centred.

    An upright image is laid on its side (x and y swapped): the network was trained on wide
    ones, and depth ratios do not change when the image is mirrored about its diagonal.
    """
    centred = (xy - np.array([width / 2, height / 2], np.float32)) / (max(width, height) / 2)
    return centred[..., ::-1] if height > width else centred


def estimate_windows(
    network: Seurat,
    queries: Tracks,
    support: Mapping[Window, Tracks],
    size: tuple[int, int],
    iterations: int | None = None,
) -> list[WindowEstimate]:
    """What the network says of the query tracks in each window of ``support``, in its order.

    Args:
        network: on the device to run on.
        queries: tracks over the whole video.
        support: for each window its supporting tracks, ``T`` being the window's length.
        size: width and height of the frames in pixels.
        iterations: K; the configuration's by default.
    """
    windows = list(support)
    counts = [len(support[window]) for window in windows]
    device = next(network.parameters()).device
    results: dict[int, WindowEstimate] = {}
    for batch in plan_batches(counts, len(queries), device):
        inside = [windows[index] for index in batch]
        found = estimate_batch(
            network,
            inside,
            [queries.at(window.frames) for window in inside],
            [support[window] for window in inside],
            size,
            iterations,
        )
        results.update(zip(batch, found, strict=True))
    return [results[index] for index in range(len(windows))]


def plan_batches(support: Sequence[int], queries: int, device: torch.device) -> list[list[int]]:
    """Windows, by index, that go through the network together.

    Those with the same number of supporting tracks, as many as fit at once.

    Args:
        support: of each window how many supporting tracks it has.
        queries: how many query tracks there are.
        device: that the network runs on.
    """
    most = _TRACKS_AT_ONCE.get(device.type, _TRACKS_AT_ONCE_ELSEWHERE)
    by_count: dict[int, list[int]] = {}
    for window, count in enumerate(support):
        by_count.setdefault(count, []).append(window)
    batches = []
    for count, windows in by_count.items():
        size = max(1, most // (count + queries))
        batches += [windows[first : first + size] for first in range(0, len(windows), size)]
    return batches


def estimate_batch(
    network: Seurat,
    windows: Sequence[Window],
    queries: Sequence[Tracks],
    support: Sequence[Tracks],
    size: tuple[int, int],
    iterations: int | None = None,
) -> list[WindowEstimate]:
    """What the network says of the query tracks in some windows of one length.

    Args:
        network: on the device to run on.
        windows: where.
        queries: the query tracks in each window, ``T`` being the window's length.
        support: its supporting tracks, as many in each.
        size: width and height of the frames in pixels.
        iterations: K; the configuration's by default.
    """
    device = next(network.parameters()).device
    with torch.inference_mode():
        estimate = look(
            network,
            to_tracklets(queries, size, device),
            to_tracklets(support, size, device),
            iterations,
        )
    results = []
    for index, window in enumerate(windows):
        log_ratio = estimate.log_ratio[index].cpu().numpy()
        scale = estimate.log_scale[index].exp().cpu().numpy()
        unseen = ~queries[index].visible.any(axis=0)
        elapsed = np.linspace(0, 1, window.length)[:, None]
        scale = scale + elapsed * (
            _UNKNOWN * _loneliness(support[index])[:, None] + _UNSEEN * unseen
        )
        visible = queries[index].visible
        results.append(WindowEstimate(window, log_ratio, scale.astype(np.float32), visible))
    return results


def _loneliness(support: Tracks) -> NDArray[np.float64]:
    """``(W,)`` in 0 to 1: how far supporting tracks are too few to compare with.

    Depth changes show in how tracks move against each other. The network was trained among 64
    supporting tracks and more; left with next to none it would trust what it sees too much.
    """
    others = support.visible.sum(axis=1) - 1  # The point itself may be one of them.
    return np.clip(1 - others / _ENOUGH_SUPPORT, 0, 1) ** 2


def to_tracklets(
    tracks: Sequence[Tracks], size: tuple[int, int], device: torch.device
) -> Tracklets:
    """Tracks of like shape, in pixels of frames of ``size`` (width, height), as one batch."""
    position = to_image_units(np.stack([t.xy for t in tracks]), *size)
    # Coordinates far outside the frame carry no more than "far outside".
    position = np.ascontiguousarray(np.clip(position, -4.0, 4.0))
    visible = np.stack([t.visible for t in tracks])
    return Tracklets(torch.from_numpy(position).to(device), torch.from_numpy(visible).to(device))
