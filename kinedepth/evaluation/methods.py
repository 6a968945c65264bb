"""The ways to say how depth changes along tracks of a window, side by side."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor

from kinedepth.camera import Intrinsics
from kinedepth.geometry.refining import refine_ratios
from kinedepth.seurat.density import density_log_ratio
from kinedepth.seurat.local_motion import robust_log_ratio
from kinedepth.seurat.looking import look
from kinedepth.seurat.model import Estimate, Seurat, Tracklets
from kinedepth.seurat.uncertainty import Calibration, log_ratio_std
from kinedepth.seurat.windows import Window, WindowEstimate
from kinedepth.tracks import Tracks, Tracks3D

METHODS = {
    "constant": "constant depth",
    "density": "density, Eq. 4 (k = 16)",
    "robust": "similarity, IRLS (k = 16)",
    "seurat": "Seurat",
    "rigid": "Seurat and rigid groups",
    "rigid_assumed": "the same, camera assumed",
}
"""Key of each method and how tables call it."""

MOVING = 0.05
"""A point really moves in depth when its true |log ratio| exceeds this."""


Refine = Callable[[Estimate], dict[str, Tensor]]
"""Makes log ratios ``(1, T, N)`` by name of what the network says of one window."""


def estimate(
    network: Seurat | None,
    queries: Tracklets,
    support: Tracklets,
    iterations: int | None = None,
    refine: Refine | None = None,
) -> dict[str, Tensor]:
    """Log depth ratio ``(B, T, N)`` of the queries by every method; ours if there is a network.

    Local fits and density use the 16 nearest supporting tracks. ``refine`` makes the last two
    methods' ratios of what the network says; without it they are left out.
    """
    neighbourhood = (queries.position, support.position, support.visible)
    estimates = {
        "constant": torch.zeros_like(queries.position[..., 0]),
        "density": density_log_ratio(*neighbourhood),
        "robust": robust_log_ratio(*neighbourhood),
    }
    if network is not None:
        seen = look(network, queries, support, iterations)
        estimates["seurat"] = seen.log_ratio
        if refine is not None:
            estimates |= refine(seen)
    return estimates


def window_refiner(
    queries: Tracks, camera: Intrinsics, calibration: Calibration | None
) -> Refine | None:
    """For :func:`estimate`: :func:`refine_window` of these queries; None without calibration."""
    if calibration is None:
        return None
    return partial(refine_window, queries=queries, camera=camera, calibration=calibration)


def refine_window(
    seen: Estimate, queries: Tracks, camera: Intrinsics, calibration: Calibration
) -> dict[str, Tensor]:
    """Log depth ratios ``(1, T, N)`` in one window refined as in a lift of these frames alone.

    Args:
        seen: what the network says of the one window.
        queries: as the tracker gave them.
        camera: of the frames. Ratios are given with it and with the one that is assumed where
            nothing is known.
        calibration: of the network.
    """
    log_ratio = seen.log_ratio[0].float().cpu().numpy()
    scale = seen.log_scale[0].float().exp().cpu().numpy()
    frames, points = log_ratio.shape
    first = np.zeros(points, dtype=np.int64)
    whole = WindowEstimate(Window(0, 1, frames), log_ratio, scale, queries.visible)
    std = log_ratio_std([whole], log_ratio, first, calibration)
    tracks = Tracks(queries.xy, queries.visible, first)
    assumed = Intrinsics.from_field_of_view(camera.width, camera.height)
    found = {}
    for name, each in (("rigid", camera), ("rigid_assumed", assumed)):
        xyz = each.unproject(queries.xy, np.exp(log_ratio)).astype(np.float32)
        lifted = Tracks3D(xyz, log_ratio, tracks, each, log_ratio_std=std)
        # A window is one block, however fast its frames follow each other.
        times = np.arange(frames, dtype=np.float64)
        refined = refine_ratios(lifted, times, focal_known=each is camera)
        found[name] = torch.from_numpy(refined.log_ratio)[None]
    return found


def summarise(error: Tensor, truth: Tensor) -> dict[str, float]:
    """Figures of flat absolute errors of the log ratio, given the true log ratios.

    Returns:
        ``mean``; ``within_5`` and ``within_10``, shares under log 1.05 and log 1.10; over points
        whose true change exceeds ``MOVING``: ``moving`` (mean), ``moving_median`` and
        ``moving_within_10``; and the number of points ``count`` and the share
        ``moving_share``.
    """
    if not len(error):
        return {"count": 0}
    moving = truth.abs() > MOVING
    near, tenth = torch.log(torch.tensor([1.05, 1.10]))
    figures = {
        "count": len(error),
        "moving_share": float(moving.float().mean()),
        "mean": float(error.mean()),
        "within_5": float((error < near).float().mean()),
        "within_10": float((error < tenth).float().mean()),
    }
    if moving.any():
        figures["moving"] = float(error[moving].mean())
        figures["moving_median"] = float(error[moving].median())
        figures["moving_within_10"] = float((error[moving] < tenth).float().mean())
    return figures
