"""Windows to learn from, drawn once and kept, and windows to test on.

Every row learns from the same scenes. What is costly to find about a window, the features of local
fits, is kept beside it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from ablation.budget import Budget
from ablation.pictures import draw_rendered
from kinedepth.errors import KinedepthError
from kinedepth.exporting.atomic import atomic_path
from kinedepth.seurat import local_motion
from kinedepth.synthesis.motion import uniform
from kinedepth.synthesis.noise import TrackerNoise
from kinedepth.synthesis.scene import SceneConfig, Scenes, sample_scenes
from kinedepth.synthesis.trajectories import follow
from kinedepth.synthesis.windows import (
    TrackSet,
    WindowConfig,
    Windows,
    grid_seeds,
    noisy_tracks,
    sample_windows,
)

Stored = dict[str, Tensor]
"""Tensors ``(M, ...)`` of M windows: ``queries.position``, ``support.visible`` and so on."""

LONG = 24
"""Frames of a clip that is looked at as one window."""
_TRAINING_SEED, _HELD_OUT_SEED = 60_000_000, 61_000_000
_AT_ONCE = 16
_LEAST_PROBES = 12
"""Of 24 x 24 probes of the first frame, on a body that queries are to crowd on."""


def stored_windows(folder: Path, kind: str, budget: Budget) -> Stored:
    """The windows of a kind, from ``folder`` if they were drawn before.

    Kinds: ``fitted`` (noise and all else as in training), ``mild`` (other noise, same scenes),
    ``forwards`` (none run backwards), ``long`` (24 frames, a third as many), ``rendered`` and
    ``rendered test`` (with the picture around each point).

    Raises:
        KinedepthError: if the folder holds windows of another budget.
    """
    sizes = ("windows", "rendered", "grid", "queries")
    settings = json.dumps({"kind": kind} | {name: getattr(budget, name) for name in sizes})
    path = folder / "windows" / f"{kind.replace(' ', '_')}.safetensors"
    if path.exists():
        with safe_open(path, "pt") as file:
            if (file.metadata() or {}).get("settings") != settings:
                raise KinedepthError(
                    f"{path} holds windows of another budget; choose another folder."
                )
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    windows = _draw(kind, budget)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        save_file(windows, temporary, {"settings": settings})
    return windows


def take(stored: Stored, index: Tensor) -> Stored:
    """Some of the windows."""
    return {name: value[index] for name, value in stored.items()}


def track_set(stored: Stored, part: str) -> TrackSet:
    """Tracks and truth of ``part``: "queries" or "support"."""
    names = [field.name for field in dataclasses.fields(TrackSet)]
    return TrackSet(**{name: stored[f"{part}.{name}"] for name in names})


def flat(windows: Windows) -> Stored:
    """Windows as named tensors."""
    return {
        f"{part}.{name}": value
        for part in ("queries", "support")
        for name, value in vars(getattr(windows, part)).items()
    }


def _draw(kind: str, budget: Budget) -> Stored:
    if kind == "rendered":
        return _gather(lambda n, seed: draw_rendered(n, seed, budget), budget.rendered, 0)
    if kind == "rendered test":
        count = max(1, budget.rendered // 5)
        return _gather(lambda n, seed: draw_rendered(n, seed, budget), count, 1_000_000)
    plain = WindowConfig(support_grids=(budget.grid,), queries=budget.queries)
    changes: dict[str, dict[str, object]] = {
        "fitted": {},
        "mild": {"noise": TrackerNoise.mild()},
        "forwards": {"reversed_share": 0.0},
        "long": {"frames": LONG},
    }
    config = dataclasses.replace(plain, **changes[kind])  # type: ignore[arg-type]

    def draw(count: int, seed: int) -> Stored:
        generator = torch.Generator().manual_seed(_TRAINING_SEED + seed)
        windows = sample_windows(generator, count, config)
        return flat(windows) | ({} if kind == "long" else _local_fits(windows))

    return _gather(draw, budget.windows * WindowConfig.frames // config.frames, 0)


def _gather(draw: Callable[[int, int], Stored], count: int, seed: int) -> Stored:
    """``count`` windows, drawn some at a time."""
    parts = [draw(min(_AT_ONCE, count - n), seed + n) for n in range(0, count, _AT_ONCE)]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _local_fits(windows: Windows) -> Stored:
    """``PART.features`` and ``PART.fit``, as ``local_motion.features`` gives them."""
    found = {}
    support = windows.support
    for part, tracks in (("queries", windows.queries), ("support", support)):
        features, fit = local_motion.features(
            tracks.position, support.position, support.visible, part == "support"
        )
        # Features are compressed to a few units; half precision is plenty.
        found |= {f"{part}.features": features.half(), f"{part}.fit": fit}
    return found


def held_out(budget: Budget) -> dict[str, list[Windows]]:
    """Windows to test on, by where their queries are, in batches; no training seed draws them.

    ``spread``: anywhere in the first frame; ``crowded``: all on one body of the same scenes, as
    the queries of someone who marks an object. Scenes without a body in view are left out.
    """
    config = WindowConfig(support_grids=(budget.grid,), queries=budget.queries)
    batches: dict[str, list[Windows]] = {"spread": [], "crowded": []}
    for first in range(0, budget.held_out, _AT_ONCE):
        generator = torch.Generator().manual_seed(_HELD_OUT_SEED + first)
        count = min(_AT_ONCE, budget.held_out - first)
        scenes = sample_scenes(generator, count, config.frames, SceneConfig())
        scenes, on_body = _seeds_on_a_body(generator, scenes, budget.queries)
        if not len(scenes):
            continue
        edge = torch.stack([torch.ones_like(scenes.aspect), scenes.aspect], -1)[:, None]
        anywhere = uniform(generator, on_body.shape, -1.0, 1.0) * edge
        sets = [
            noisy_tracks(generator, scenes, seeds, torch.zeros(seeds.shape[:2]), config)
            for seeds in (grid_seeds(budget.grid, scenes.aspect), anywhere, on_body)
        ]
        batches["spread"].append(Windows(sets[1], sets[0]))
        batches["crowded"].append(Windows(sets[2], sets[0]))
    return batches


def _seeds_on_a_body(
    generator: torch.Generator, scenes: Scenes, count: int
) -> tuple[Scenes, Tensor]:
    """Scenes with a body large enough, and ``(B, count, 2)`` places on one such body in each."""
    probes = grid_seeds(24, scenes.aspect)
    first = torch.zeros(probes.shape[:2], dtype=torch.long)
    body = follow(scenes, probes, first).body
    surroundings = len(scenes.kind[0]) - 1
    hits = torch.stack([(body == b).sum(1) for b in range(surroundings)], dim=1)
    large = hits >= _LEAST_PROBES
    kept = large.any(1)
    scenes, probes, body = scenes[kept], probes[kept], body[kept]
    if not len(scenes):
        return scenes, probes
    chosen = large[kept].float().multinomial(1, generator=generator)
    pick = (body == chosen).float().multinomial(count, replacement=True, generator=generator)
    seeds = probes.gather(1, pick[..., None].expand(-1, -1, 2))
    cell = torch.stack([torch.ones_like(scenes.aspect), scenes.aspect], -1)[:, None] / 24
    moved = seeds + cell * uniform(generator, seeds.shape, -1.0, 1.0)
    # At the body's border a place may slip off it.
    still_on = follow(scenes, moved, torch.zeros(pick.shape, dtype=torch.long)).body == chosen
    return scenes, torch.where(still_on[..., None], moved, seeds)
