"""Train a row, or find that it was trained; score it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ablation import clips
from ablation.budget import Budget
from ablation.networks import Ablated
from ablation.rows import FORMULAS, ROWS, SIGMAS, Row
from ablation.smoothing import per_frame_log_depth, smoothed
from ablation.windows import LONG, Stored, held_out, stored_windows, take
from kinedepth.errors import KinedepthError
from kinedepth.evaluation.methods import estimate, summarise
from kinedepth.exporting.atomic import atomic_path
from kinedepth.seurat.looking import look
from kinedepth.seurat.model import Tracklets
from kinedepth.synthesis.windows import Windows
from kinedepth.training.seurat import SeuratTask, tracklets
from kinedepth.training.trainer import Trainer

Figures = dict[str, dict[str, float]]
"""Figures (``methods.summarise``) on each set: "spread", "crowded", "clips", "rendered"."""

_CPU = torch.device("cpu")
_RESULT_FILE = "result.json"


@dataclass(frozen=True)
class AblationTask(SeuratTask):
    """Training a variant on stored windows."""

    variant: type[Ablated] = Ablated
    stored: Stored = field(default_factory=dict)
    title: str = ""

    @property
    def name(self) -> str:
        """The row."""
        return f"ablation {self.title}"

    def build(self) -> nn.Module:
        """A fresh network of the variant."""
        return self.variant(self.model)

    def draw(
        self, generator: torch.Generator, batch: int, progress: float
    ) -> tuple[Windows, Tracklets, Tracklets]:
        """Some of the stored windows, as the variant is shown them."""
        count = len(next(iter(self.stored.values())))
        index = torch.randint(count, (batch,), generator=generator)
        return self.variant.show(take(self.stored, index), generator)

    def test(self, network: nn.Module) -> dict[str, float]:
        """Nothing on the way; rows are scored at their end."""
        return {}


@dataclass(frozen=True)
class Bench:
    """Where rows are trained and what they are scored on, each made when first asked for."""

    folder: Path
    clips_folder: Path
    budget: Budget
    _kept: dict[str, Any] = field(default_factory=dict)

    def windows(self) -> dict[str, list[Windows]]:
        """Held-out windows, by where their queries are."""
        return self._once("windows", lambda: held_out(self.budget))

    def stretches(self) -> list[clips.Stretch]:
        """Tracked stretches of rendered clips."""
        return self._once(
            "stretches", lambda: clips.stretches(self.folder, self.clips_folder, self.budget)
        )

    def stored(self, kind: str) -> Stored:
        """Windows of a kind; only the last kind asked for stays in memory."""
        if self._kept.get("kind") != kind:
            self._kept["stored"] = stored_windows(self.folder, kind, self.budget)
            self._kept["kind"] = kind
        return self._kept["stored"]

    def _once(self, name: str, make: Callable[[], Any]) -> Any:
        if name not in self._kept:
            self._kept[name] = make()
        return self._kept[name]


def run_row(bench: Bench, name: str) -> Figures:
    """The row's figures: read if they are there, otherwise trained for and scored.

    Raises:
        KinedepthError: if the folder holds the row, run with another budget.
    """
    row = ROWS[name]
    path = bench.folder / name / _RESULT_FILE
    settings = dataclasses.asdict(bench.budget)
    if path.exists():
        found = json.loads(path.read_text())
        if found["budget"] != settings:
            raise KinedepthError(
                f"{path} was run with another budget; choose another folder or remove it."
            )
        return found["figures"]
    figures = _score(bench, row, _trained(bench, row.weights_of or name))
    _keep(path, {"budget": settings, "figures": figures})
    return figures


def finished(bench: Bench, name: str) -> bool:
    """Whether the row's figures are there."""
    return (bench.folder / name / _RESULT_FILE).exists()


def run_formulas(bench: Bench) -> dict[str, Figures]:
    """Figures of what learns nothing: formulas, and per-frame depth smoothed along tracks."""
    path = bench.folder / "formulas.json"
    settings = dataclasses.asdict(bench.budget)
    if path.exists() and json.loads(path.read_text())["budget"] == settings:
        return json.loads(path.read_text())["figures"]
    figures: dict[str, Figures] = {}
    for key in FORMULAS:

        def formula(queries: Tracklets, support: Tracklets, key: str = key) -> Tensor:
            return estimate(None, queries, support)[key]

        figures[key] = _on_windows(bench, formula)
        figures[key]["clips"] = clips.score(
            lambda stretch: clips.read_with_formula(formula, stretch), bench.stretches()
        )
    depth = {s.name: per_frame_log_depth(bench.clips_folder, s) for s in bench.stretches()}
    for sigma in SIGMAS:

        def read(stretch: clips.Stretch, sigma: float = sigma) -> NDArray:
            return smoothed(depth[stretch.name], sigma)

        figures[f"smoothing {sigma:g}"] = {"clips": clips.score(read, bench.stretches())}
    _keep(path, {"budget": settings, "figures": figures})
    return figures


def _trained(bench: Bench, name: str) -> Ablated:
    """The row's network, trained to the end; a training that was stopped goes on."""
    row, budget = ROWS[name], bench.budget
    # Windows three times as long, a third as many in a step.
    batch = max(1, budget.batch * 8 // LONG) if row.data == "long" else budget.batch
    task = AblationTask(
        model=budget.network(**row.changes),
        variant=row.network,
        stored=bench.stored(row.data),
        title=name,
    )
    trainer = Trainer(task, budget.training(row.seed, batch), bench.folder / name, _CPU)
    trainer.run()
    network = trainer.network
    network.load_state_dict(trainer.average)
    assert isinstance(network, Ablated)
    return network.eval().requires_grad_(False)


def _score(bench: Bench, row: Row, network: Ablated) -> Figures:
    network.config = dataclasses.replace(network.config, both_ways=row.both_ways)
    if row.data == "rendered":
        stored = bench.stored("rendered test")
        windows, queries, support = row.network.show(stored, torch.Generator())
        with torch.inference_mode():
            found = network(queries, support).log_ratio
        return {"rendered": _summary([(found, windows)])}
    figures: Figures = {}
    if row.reading != "whole":

        def formula(queries: Tracklets, support: Tracklets) -> Tensor:
            return look(network, queries, support).log_ratio

        figures = _on_windows(bench, formula)
    figures["clips"] = clips.score(
        lambda stretch: clips.read_with_network(network, stretch, row.reading), bench.stretches()
    )
    return figures


def _on_windows(bench: Bench, formula: Callable[[Tracklets, Tracklets], Tensor]) -> Figures:
    figures = {}
    with torch.inference_mode():
        for name, batches in bench.windows().items():
            found = [(formula(tracklets(w.queries), tracklets(w.support)), w) for w in batches]
            figures[name] = _summary(found)
    return figures


def _summary(found: list[tuple[Tensor, Windows]]) -> dict[str, float]:
    """Figures of queries where they are truly visible, in the frames after the first."""
    errors, true = [], []
    for log_ratio, windows in found:
        truth = windows.queries
        scored = truth.truly_visible & (truth.weight > 0)
        scored[:, 0] = False
        errors.append((log_ratio - truth.log_ratio).abs()[scored])
        true.append(truth.log_ratio[scored])
    return summarise(torch.cat(errors), torch.cat(true))


def _keep(path: Path, record: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(record, indent=2) + "\n")
