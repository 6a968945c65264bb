"""Configurations of the network; one is saved inside every checkpoint."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SeuratConfig:
    """Everything that fixes the network's shape and how it is run by default.

    The default is ``small`` of the "kinedepth" configuration: the paper's two branches, with
    geometric features in the tokens and a prediction that starts at a robust local fit.
    """

    name: str = "small"
    width: int = 192  # of a token
    heads: int = 6
    layers: int = 2  # L: each a temporal, then a spatial attention
    hidden_ratio: int = 2  # of the feed-forward blocks
    window: int = 8  # W: frames a window
    fourier_bands: int = 6  # of the image position
    geometric_features: bool = True  # local fits (local_motion.py) in the tokens
    start_at_fit: bool = True  # first estimate: the robust fit; otherwise constant depth
    motion_features: bool = True  # displacement and velocity in the tokens
    # How it is run unless told otherwise
    iterations: int = 1  # K; what a short training is best spent on
    stride: int = 4  # S: frames between the starts of a chain's windows
    both_ways: bool = True  # look at every window forwards and backwards
    support_grid: int = 14  # supporting tracks a side, seeded in each window's first frame

    @classmethod
    def paper(cls) -> SeuratConfig:
        """The paper's network: positions and visibility in, constant depth to start from."""
        return cls(
            name="paper",
            width=384,
            heads=8,
            hidden_ratio=4,
            geometric_features=False,
            start_at_fit=False,
            motion_features=False,
            iterations=4,
            both_ways=False,
            support_grid=24,
        )

    @classmethod
    def base(cls) -> SeuratConfig:
        """The paper's size with the "kinedepth" features."""
        return cls(name="base", width=384, heads=8, hidden_ratio=4, iterations=4, support_grid=24)
