"""The rows of the table: what each changes, what it is compared with, what the paper published."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ablation.clips import Reading
from ablation.networks import Ablated, OneBranch, OneSet, QueryReference, WithPatches

FULL_AJ = 18.0
"""Average 3D-AJ of the paper's full model; published."""

OURS: Mapping[str, Any] = {"geometric_features": True, "start_at_fit": True}
"""What the default configuration adds to the paper's network."""

Measure = Literal["spread", "crowded", "clips", "rendered"]


@dataclass(frozen=True)
class Row:
    """One variant.

    Attributes:
        title: as the table calls it.
        reference: the row it differs from in one thing; None for a reference.
        changes: fields of ``SeuratConfig``.
        network: class of the network.
        data: kind of windows it learns from.
        seed: of initial weights and the order of windows.
        weights_of: another row whose weights it uses in another way, instead of its own.
        both_ways: look at windows forwards and backwards.
        reading: how a clip's windows become one.
        measure: where the comparison with the reference is made.
        published: the paper's average 3D-AJ of the variant (the full model has 18.0), if known.
    """

    title: str
    reference: str | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)
    network: type[Ablated] = Ablated
    data: str = "fitted"
    seed: int = 0
    weights_of: str | None = None
    both_ways: bool = False
    reading: Reading = "chained"
    measure: Measure = "spread"
    published: float | None = None


ROWS: dict[str, Row] = {
    # The paper's own network and what Tables 3-6 change about it.
    "paper": Row("the paper's network"),
    "one-branch": Row(
        "one branch, queries only",
        "paper",
        network=OneBranch,
        measure="crowded",
        published=13.7,
    ),
    "no-window": Row(
        "no window: 24 frames at once",
        "paper",
        data="long",
        reading="whole",
        measure="clips",
        published=8.8,
    ),
    "query-reference": Row(
        "ratio to the query frame",
        "paper",
        network=QueryReference,
        reading="carried",
        measure="clips",
        published=14.9,
    ),
    "layers-1": Row("L = 1", "paper", {"layers": 1}, published=15.5),
    "layers-4": Row("L = 4", "paper", {"layers": 4}, published=17.8),
    # Ours.
    "ours": Row("+ features, + start at the fit: ours", "paper", OURS),
    "no-start": Row("ours without the start", "ours", {"geometric_features": True}),
    "no-features": Row("ours without the features", "ours", {"start_at_fit": True}),
    "mild-noise": Row("ours, mild noise in training", "ours", OURS, data="mild", measure="clips"),
    "both-ways": Row(
        "ours, windows looked at both ways", "ours", OURS, weights_of="ours", both_ways=True
    ),
    "fused": Row(
        "ours, windows fused", "ours", OURS, weights_of="ours", reading="fused", measure="clips"
    ),
    "iterations-2": Row("ours, K = 2", "ours", {**OURS, "iterations": 2}),
    # How far seeds alone make a difference.
    "paper-seed-1": Row("the paper's network, seed 1", "paper", seed=1),
    "ours-seed-1": Row("ours, seed 1", "ours", OURS, seed=1),
    # Pictures, on windows of their own.
    "rendered": Row("the paper's network, rendered windows", data="rendered", measure="rendered"),
    "patches": Row(
        "the same with RGB patches",
        "rendered",
        network=WithPatches,
        data="rendered",
        measure="rendered",
        published=15.8,
    ),
    # More of the same.
    "forwards": Row("ours, no window run backwards in training", "ours", OURS, data="forwards"),
    "forwards-both-ways": Row(
        "the same, looked at both ways", "both-ways", OURS, weights_of="forwards", both_ways=True
    ),
    "layers-3": Row("L = 3", "paper", {"layers": 3}, published=17.8),
    "iterations-4": Row("ours, K = 4", "ours", {**OURS, "iterations": 4}),
    "one-set": Row(
        "one branch, queries and support in one set", "paper", network=OneSet, measure="crowded"
    ),
    "no-motion": Row("tokens without displacements", "paper", {"motion_features": False}),
    "paper-seed-2": Row("the paper's network, seed 2", "paper", seed=2),
    "ours-seed-2": Row("ours, seed 2", "ours", OURS, seed=2),
}
"""In the order in which they are run, so that an early stop leaves the most telling ones."""

FORMULAS = {
    "constant": "constant depth",
    "density": "density, Eq. 4 (k = 16)",
    "robust": "similarity, IRLS (k = 16)",
}
"""Rows that learn nothing, keys as in ``methods.estimate``."""

DENSITY_AJ = 6.0
"""Average 3D-AJ of the hand-crafted density baseline; published."""

SIGMAS = (0.0, 1.0, 2.0, 4.0)
"""Of the Gaussian along a track, in frames; 0 leaves the per-frame depth as it is."""
