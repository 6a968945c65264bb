"""The variants of the network that the ablations compare, and what each is shown of a window."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ablation.pictures import CHANNELS
from ablation.windows import Stored, track_set
from kinedepth.seurat import tokens
from kinedepth.seurat.config import SeuratConfig
from kinedepth.seurat.model import Branch, Estimate, Seurat, Tracklets
from kinedepth.synthesis.windows import Windows

Shown = tuple[Windows, Tracklets, Tracklets]
"""The truth, and what the network may see of queries and supporting tracks."""


@dataclass(frozen=True)
class Prepared(Tracklets):
    """Tracklets whose local fits are known: ``features (B, T, N, F)`` and ``fit (B, T, N)``."""

    features: Tensor
    fit: Tensor


@dataclass(frozen=True)
class Carried(Tracklets):
    """Tracklets with the log ratio ``(B, N)`` that earlier windows give at the first frame."""

    carried: Tensor


@dataclass(frozen=True)
class Pictured(Tracklets):
    """Tracklets with ``patches (B, T, N, CHANNELS)`` uint8 around their points."""

    patches: Tensor


class Ablated(Seurat):
    """The network itself, except that it takes local fits that were kept with a window."""

    @classmethod
    def show(cls, stored: Stored, generator: torch.Generator) -> Shown:
        """Some stored windows, as this variant is trained on them."""
        windows = Windows(track_set(stored, "queries"), track_set(stored, "support"))
        return windows, _visible_part(stored, "queries"), _visible_part(stored, "support")

    def describe(
        self, tracks: Tracklets, support: Tracklets, exclude_self: bool
    ) -> tuple[Tensor, Tensor]:
        """As the network's own, without doing work twice."""
        if not isinstance(tracks, Prepared):
            return super().describe(tracks, support, exclude_self)
        config = replace(self.config, geometric_features=False, start_at_fit=False)
        static, start = tokens.static_features(
            config, tracks.position, tracks.visible,
            support.position, support.visible, exclude_self,
        )  # fmt: skip
        if self.config.geometric_features:
            static = torch.cat([static, tracks.features.float()], dim=-1)
        return static, tracks.fit if self.config.start_at_fit else start


def _visible_part(stored: Stored, part: str) -> Tracklets:
    position, visible = stored[f"{part}.position"], stored[f"{part}.visible"]
    if f"{part}.features" not in stored:
        return Tracklets(position, visible)
    return Prepared(position, visible, stored[f"{part}.features"], stored[f"{part}.fit"])


class OneBranch(Ablated):
    """Queries attend over time and over each other; there are no other tracks.

    Every query sees the others, so it matters where they are. Supporting tracks are ignored.
    """

    def __init__(self, config: SeuratConfig) -> None:
        super().__init__(config)
        del self.query

    @classmethod
    def show(cls, stored: Stored, generator: torch.Generator) -> Shown:
        """Queries only."""
        windows, queries, _ = super().show(stored, generator)
        return Windows(windows.queries, windows.queries), queries, queries

    def refine(
        self, queries: Tracklets, support: Tracklets, iterations: int
    ) -> Iterator[tuple[Estimate, Estimate]]:
        """Yield each iteration's estimate, twice, since there is no other kind of track."""
        with torch.no_grad():
            static, estimate = self.describe(queries, queries, exclude_self=True)
        for found in self._iterate(static, estimate, iterations):
            yield found, found

    def _iterate(self, static: Tensor, estimate: Tensor, iterations: int) -> Iterator[Estimate]:
        for _ in range(iterations):
            x = self.support.tokens(static, estimate)
            for layer in self.support.layers:
                x = layer(x)
            found = self.support.correct(x, estimate)
            yield found
            estimate = found.log_ratio.detach()


class OneSet(OneBranch):
    """Queries and supporting tracks in one set with one branch of weights: all see all."""

    @classmethod
    def show(cls, stored: Stored, generator: torch.Generator) -> Shown:
        """Both kinds of track."""
        return Ablated.show(stored, generator)

    def refine(
        self, queries: Tracklets, support: Tracklets, iterations: int
    ) -> Iterator[tuple[Estimate, Estimate]]:
        """Yield each iteration's estimates of both kinds."""
        with torch.no_grad():
            of_queries = self.describe(queries, support, exclude_self=False)
            of_support = self.describe(support, support, exclude_self=True)
        static, estimate = (
            torch.cat(parts, dim=2) for parts in zip(of_queries, of_support, strict=True)
        )
        count = queries.position.shape[2]
        for found in self._iterate(static, estimate, iterations):
            values = found.log_ratio, found.log_scale
            yield (
                Estimate(*(value[:, :, :count] for value in values)),
                Estimate(*(value[:, :, count:] for value in values)),
            )


class QueryReference(Ablated):
    """Queries' ratios are to their query frame, which may lie before the window.

    A window cannot see that frame. What earlier windows say of its first frame is carried in as the
    first estimate, and the network may correct it there, too. Supporting tracks start with the
    window, so their query frame is its first.
    """

    def __init__(self, config: SeuratConfig) -> None:
        super().__init__(config)
        self.query = _Unpinned(config)

    @classmethod
    def show(cls, stored: Stored, generator: torch.Generator) -> Shown:
        """Windows of which four in five are said to have others before them.

        What went before is made up, since the window tells nothing of it: a true log ratio,
        drawn from other windows' ends, and the error of what is carried in.
        """
        windows, queries, support = super().show(stored, generator)
        truth = windows.queries
        batch, _, tracks = truth.log_ratio.shape
        others = torch.randperm(batch, generator=generator)
        before = truth.log_ratio[others, -1] * torch.rand(batch, 1, generator=generator) * 2
        size = 0.005 * 10 ** torch.rand(batch, 1, generator=generator)
        error = size * torch.randn((batch, tracks), generator=generator)
        later = torch.rand(batch, 1, generator=generator) < 0.8
        before, error = before * later, error * later
        moved = replace(truth, log_ratio=truth.log_ratio + before[:, None])
        carried = Carried(queries.position, queries.visible, before + error)
        return Windows(moved, windows.support), carried, support

    def describe(
        self, tracks: Tracklets, support: Tracklets, exclude_self: bool
    ) -> tuple[Tensor, Tensor]:
        """The first estimate goes on from what is carried in."""
        static, start = super().describe(tracks, support, exclude_self)
        if isinstance(tracks, Carried):
            start = start + tracks.carried[:, None]
        return static, start


class _Unpinned(Branch):
    """A branch whose estimate is not zero in the window's first frame."""

    def correct(self, x: Tensor, estimate: Tensor) -> Estimate:
        with torch.autocast(x.device.type, enabled=False):
            change, log_scale = self.head(self.norm(x.float())).unbind(-1)
        return Estimate(estimate + change, log_scale.clamp(-8.0, 1.0))


class WithPatches(Ablated):
    """Beside its track, a token knows the colours around its point."""

    def __init__(self, config: SeuratConfig) -> None:
        super().__init__(config)
        self.support, self.query = _PatchBranch(config), _PatchBranch(config)

    @classmethod
    def show(cls, stored: Stored, generator: torch.Generator) -> Shown:
        """Tracks with their patches."""
        windows, queries, support = super().show(stored, generator)
        pictured = (
            Pictured(tracks.position, tracks.visible, stored[f"{part}.patches"])
            for part, tracks in (("queries", queries), ("support", support))
        )
        return (windows, *pictured)  # type: ignore[return-value]

    def describe(
        self, tracks: Tracklets, support: Tracklets, exclude_self: bool
    ) -> tuple[Tensor, Tensor]:
        """Patches are the last columns."""
        assert isinstance(tracks, Pictured)
        static, start = super().describe(tracks, support, exclude_self)
        return torch.cat([static, tracks.patches.float() / 127.5 - 1], dim=-1), start


class _PatchBranch(Branch):
    """A branch that adds an embedding of the patch to the token."""

    def __init__(self, config: SeuratConfig) -> None:
        super().__init__(config)
        self.patch = nn.Sequential(
            nn.Linear(CHANNELS, config.width), nn.GELU(), nn.Linear(config.width, config.width)
        )

    def tokens(self, static: Tensor, estimate: Tensor) -> Tensor:
        known, patch = static.split([static.shape[-1] - CHANNELS, CHANNELS], dim=-1)
        return super().tokens(known, estimate) + self.patch(patch)
