"""Chains of flow over several frame intervals: what they propose, and which one is believed."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray


@dataclass
class Snapshot:
    """What is known of N points in one frame.

    Attributes:
        xy: ``(N, 2)`` float64, pixels of the working image (centres at whole numbers).
        variance: ``(N,)`` float64, estimated squared error of ``xy`` in square pixels.
        doubt: ``(N,)`` float64, square pixels of disagreement that no look at the point has
            settled; unlike the variance it decides on visibility alone.
        visible: ``(N,)`` bool.
        known: ``(N,)`` bool, whether the point had been seeded by that frame.
    """

    xy: NDArray[np.float64]
    variance: NDArray[np.float64]
    doubt: NDArray[np.float64]
    visible: NDArray[np.bool_]
    known: NDArray[np.bool_]

    @classmethod
    def unknown(cls, count: int) -> Snapshot:
        """Points that are yet to be seeded."""
        no = np.zeros(count, bool)
        endless = np.full(count, np.inf)
        return cls(np.zeros((count, 2)), endless, endless.copy(), no, no.copy())

    @classmethod
    def seeds(cls, xy: NDArray[np.float64]) -> Snapshot:
        """Points ``(N, 2)`` in the frame that they were seeded in."""
        yes = np.ones(len(xy), bool)
        none = np.zeros(len(xy))
        return cls(xy.astype(np.float64), none, none.copy(), yes, yes.copy())

    def __len__(self) -> int:
        return len(self.known)

    def joined(self, other: Snapshot) -> Snapshot:
        """These points and then those of ``other``, in the same frame."""
        return Snapshot(
            *(
                np.concatenate([getattr(self, field.name), getattr(other, field.name)])
                for field in fields(self)
            )
        )

    def chosen(self, mask: NDArray[np.bool_]) -> Snapshot:
        """The points of ``mask (N,)``."""
        return Snapshot(*(getattr(self, field.name)[mask] for field in fields(self)))


class Proposals:
    """Where K chains say that N points are in the present frame.

    A chain that cannot speak for a point (the point is younger than the interval) has infinite
    variance there.

    Attributes:
        xy: ``(K, N, 2)`` float64 pixels.
        variance: ``(K, N)`` float64, of the source position plus what the flow adds.
        doubt: ``(K, N)`` float64 square pixels, likewise.
        error: ``(K, N)`` float64 pixels of forward-backward disagreement.
        motion: ``(K, N)`` float64 pixels from source to proposal.
        from_visible: ``(K, N)`` bool, whether the point was visible where the chain comes from.
        unlike: ``(K, N)`` float64, dissimilarity of the look there to the seed's look.
    """

    def __init__(self, chains: int, points: int) -> None:
        self.xy = np.zeros((chains, points, 2))
        self.variance = np.full((chains, points), np.inf)
        self.doubt = np.full((chains, points), np.inf)
        self.error = np.full((chains, points), np.inf)
        self.motion = np.zeros((chains, points))
        self.from_visible = np.zeros((chains, points), bool)
        self.unlike = np.full((chains, points), 2.0)

    def believe(self, hidden_cost: float, unlike_cost: float) -> NDArray[np.intp]:
        """``(N,)`` the chain with the least cost for each point.

        The cost is in square pixels: the chain's variance, plus ``hidden_cost`` where the point
        was not visible at its source (it may ride on whatever hid it), plus ``unlike_cost``
        times the dissimilarity.
        """
        cost = self.variance + hidden_cost * ~self.from_visible + unlike_cost * self.unlike
        return cost.argmin(axis=0)
