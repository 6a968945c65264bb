"""Seurat's data, loss (Eq. 8) and held-out figures."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import TypeVar

import torch
from torch import Tensor, nn

from kinedepth.evaluation.windows import score_windows
from kinedepth.seurat.config import SeuratConfig
from kinedepth.seurat.model import Estimate, Seurat, Tracklets
from kinedepth.synthesis.windows import TrackSet, WindowConfig, Windows, sample_windows
from kinedepth.training.trainer import Share

_Batch = TypeVar("_Batch", TrackSet, Tracklets)

_DISCOUNT = 0.8
"""Weight of an iteration relative to the next one."""
_SCALE_WEIGHT = 0.1
"""Weight of the likelihood that teaches the uncertainty; its gradient leaves the ratio alone."""
HELD_OUT_SEED = 900_001


@dataclass(frozen=True)
class SeuratTask:
    """Training Seurat on procedural windows."""

    model: SeuratConfig = field(default_factory=SeuratConfig)
    windows: WindowConfig = field(default_factory=WindowConfig)
    late_windows: WindowConfig | None = None  # drawn instead from the share below on, if given
    late_iterations: float = 0.6  # share of the steps after which K may reach the model's own
    late_share: float = 0.7  # share of the steps after which late windows are drawn
    held_out: int = 96  # windows

    @classmethod
    def for_model(cls, model: SeuratConfig) -> SeuratTask:
        """The training that a configuration asks for.

        Networks that are run on large grids see small ones first: attention over tracks costs
        most of a window, and what small grids teach carries over.
        """
        if model.support_grid <= 16:
            return cls(model)
        largest = model.support_grid
        early = WindowConfig(support_grids=(largest // 2, largest * 5 // 8), queries=96)
        late = WindowConfig(support_grids=(largest * 2 // 3, largest), queries=192)
        return cls(model, early, late)

    @property
    def name(self) -> str:
        """Task and model, as the training state records them."""
        return f"seurat {self.model.name}"

    def build(self) -> nn.Module:
        """A fresh network."""
        return Seurat(self.model)

    def step(
        self, network: nn.Module, generator: torch.Generator, batch: int, progress: float
    ) -> dict[str, float]:
        """One batch of windows; gradients are added iteration by iteration."""
        return self.divided_step(network, generator, batch, progress, Share())

    def divided_step(
        self,
        network: nn.Module,
        generator: torch.Generator,
        batch: int,
        progress: float,
        share: Share,
    ) -> dict[str, float]:
        """One process's part of the batch, see :class:`kinedepth.training.trainer.DividingTask`.

        Every process draws the whole batch, because windows are chosen among the candidates of
        all; that is little work beside the network's.
        """
        assert isinstance(network, Seurat)
        with torch.no_grad(), torch.autocast(generator.device.type, enabled=False):
            windows, queries, support = self.draw(generator, batch * share.processes, progress)
        rows = share.rows(batch)
        # What a mean over this part counts for in the mean over all.
        query_part = _part(windows.queries, rows) * share.processes
        support_part = _part(windows.support, rows) * share.processes
        windows = Windows(_rows(windows.queries, rows), _rows(windows.support, rows))
        queries, support = _rows(queries, rows), _rows(support, rows)
        top = self.model.iterations if progress > self.late_iterations else 1
        draw = torch.randint(1, top + 1, (1,), generator=generator, device=generator.device)
        iterations = int(draw)
        estimates = network.refine(queries, support, iterations)
        error = torch.zeros(())
        for k, (query, supporting) in enumerate(estimates):
            weight = _DISCOUNT ** (iterations - 1 - k)
            error = query_part * log_ratio_error(query, windows.queries)
            loss = error + support_part * log_ratio_error(supporting, windows.support)
            loss = loss + _SCALE_WEIGHT * (
                query_part * scale_loss(query, windows.queries)
                + support_part * scale_loss(supporting, windows.support)
            )
            (weight * loss).backward()
        return {"train_error": float(error.detach())}

    def draw(
        self, generator: torch.Generator, batch: int, progress: float
    ) -> tuple[Windows, Tracklets, Tracklets]:
        """Windows to learn from, and what the network may see of their queries and support."""
        windows = sample_windows(generator, batch, self._windows_at(progress))
        return windows, tracklets(windows.queries), tracklets(windows.support)

    def _windows_at(self, progress: float) -> WindowConfig:
        late = self.late_windows if progress > self.late_share else None
        return late or self.windows

    def test(self, network: nn.Module) -> dict[str, float]:
        """Figures on held-out windows that no training seed draws, beside the IRLS baseline."""
        assert isinstance(network, Seurat)
        device = next(network.parameters()).device
        table = score_windows(network, self.windows, self.held_out, HELD_OUT_SEED, device)
        return {
            f"{method}_{figure}": value
            for method in ("robust", "seurat")
            for figure, value in table[method].items()
        }


def tracklets(tracks: TrackSet) -> Tracklets:
    """What the network may see of a training set."""
    return Tracklets(tracks.position, tracks.visible)


def log_ratio_error(estimate: Estimate, truth: TrackSet) -> Tensor:
    """Eq. 8: weighted mean absolute error of the log ratio, the first frame left out."""
    return _mean((estimate.log_ratio - truth.log_ratio).abs(), truth.weight)


def scale_loss(estimate: Estimate, truth: TrackSet) -> Tensor:
    """Negative log likelihood of a Laplace distribution about the (fixed) estimate."""
    error = (estimate.log_ratio - truth.log_ratio).abs().detach()
    return _mean(error * (-estimate.log_scale).exp() + estimate.log_scale, truth.weight)


def _mean(value: Tensor, weight: Tensor) -> Tensor:
    return (value * weight)[:, 1:].sum() / _total(weight)


def _total(weight: Tensor) -> Tensor:
    return weight[:, 1:].sum().clamp_min(1e-6)


def _part(tracks: TrackSet, rows: slice) -> Tensor:
    """The share of all weights that some windows have."""
    return _total(tracks.weight[rows]) / _total(tracks.weight)


def _rows(batch: _Batch, rows: slice) -> _Batch:
    """Some windows of a batch."""
    parts = {field.name: getattr(batch, field.name)[rows] for field in fields(batch)}
    return replace(batch, **parts)
