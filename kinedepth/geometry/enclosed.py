"""Points that hardly move because a body comes straight at the camera there.

About the place that a body moves towards, its points stay where they are in the image: their own
tracks do not tell them from a still backdrop, nor how fast they come. Their neighbours all
around do. A point among members of one group therefore takes part in what they say, if it moves
as they do.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

_NEIGHBOURS, _AGREE = 6, 5
"""So many of the nearest points have to be of one group. At a body's outline about half are."""


def share_with_enclosed(
    place: NDArray[np.float64],
    known: NDArray[np.bool_],
    group: NDArray[np.int64],
    log_ratio: NDArray[np.float64],
    std: NDArray[np.float64],
    tolerance: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Ratios and their standard deviations, neighbours' shared with points among them.

    Args:
        place: ``(F, N, 2)`` in the image, in any unit.
        known: ``(F, N)`` bool, where ``place`` is seen.
        group: ``(N,)`` number of the group that a point is a member of; below 0 for none.
        log_ratio: ``(F, N)`` log depth up to a constant; what those without a group have is not
            looked at.
        std: ``(N,)`` of its change over the frames.
        tolerance: how far from where neighbours put it a point without a group may be, in the
            unit of ``place``.

    Returns:
        New ``log_ratio`` and ``std``; of points that gain nothing as they were.
    """
    shared, shared_std = log_ratio.copy(), std.copy()
    judged = np.flatnonzero(known.sum(0) >= 2)
    if len(judged) <= _NEIGHBOURS:
        return shared, shared_std
    mean = (place * known[..., None]).sum(0) / np.maximum(known.sum(0), 1)[:, None]
    nearest = judged[_nearest(mean[judged])]
    for point, around in zip(judged, nearest, strict=True):
        numbers, counts = np.unique(group[around], return_counts=True)
        best = int(counts.argmax())
        if counts[best] < _AGREE or numbers[best] < 0:
            continue
        members = around[group[around] == numbers[best]]
        if group[point] < 0:
            if _off(place, known, point, members) > tolerance:
                continue
        elif group[point] != numbers[best]:
            continue
        value = log_ratio[:, members].mean(1)
        ends = log_ratio[-1, members] - log_ratio[0, members]
        spread = np.sqrt(ends.var(ddof=1) + (std[members] ** 2).mean())
        share = 1.0 if group[point] < 0 else std[point] ** 2 / (std[point] ** 2 + spread**2)
        own = log_ratio[:, point] if share < 1 else value
        shared[:, point] = share * value + (1 - share) * own
        shared_std[point] = spread * np.sqrt(share)
    return shared, shared_std


def _nearest(place: NDArray[np.float64]) -> NDArray[np.int64]:
    """``(M, 6)`` indices of the other points nearest to each of ``place (M, 2)``."""
    _, found = cKDTree(place).query(place, _NEIGHBOURS + 1)
    # Each is its own nearest, but where several coincide not always the first of them.
    own = found == np.arange(len(place))[:, None]
    own[~own.any(1), -1] = True
    return np.asarray(found[~own].reshape(len(place), _NEIGHBOURS))


def _off(
    place: NDArray[np.float64],
    known: NDArray[np.bool_],
    point: np.int64,
    members: NDArray[np.int64],
) -> float:
    """How far a point is from where the similarity of its neighbours' motion puts it.

    From the first to the last frame that shows it and three of them; infinite if there are no two.
    """
    frames = np.flatnonzero(known[:, point] & (known[:, members].sum(1) >= 3))
    if len(frames) < 2:
        return np.inf
    first, last = frames[0], frames[-1]
    both = members[known[first, members] & known[last, members]]
    if len(both) < 3:
        return np.inf
    # Complex numbers x + iy, in which a turn with a scale is one multiplication.
    here, there = (place[t] @ np.array([1, 1j]) for t in (first, last))
    before, after = here[both] - here[both].mean(), there[both] - there[both].mean()
    power = (np.abs(before) ** 2).sum()
    if power == 0:
        return np.inf
    turn = (before.conj() * after).sum() / power
    there_expected = there[both].mean() + turn * (here[point] - here[both].mean())
    return float(np.abs(there[point] - there_expected))
