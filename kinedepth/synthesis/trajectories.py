"""Exact trajectories of scene points: where they are seen, how deep, and whether hidden."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from kinedepth.synthesis.raycast import NEAREST, cast, rays
from kinedepth.synthesis.scene import Scenes

HIDDEN_TOLERANCE = 0.01
"""A point is hidden when something stands in front of it by more than this share of depth."""


@dataclass(frozen=True)
class Trajectories:
    """True tracks of scene points.

    Attributes:
        position: ``(B, T, N, 2)`` in half widths, finite everywhere.
        visible: ``(B, T, N)`` bool: inside the image, before the camera, not occluded.
        depth: ``(B, T, N)`` z-depth; not meaningful where not ``ahead``.
        ahead: ``(B, T, N)`` bool: before the camera.
        body: ``(B, N)`` int64, the body each point sits on.
    """

    position: Tensor
    visible: Tensor
    depth: Tensor
    ahead: Tensor
    body: Tensor

    def log_ratio(self, reference: int = 0, limit: float = 2.0) -> Tensor:
        """``(B, T, N)``: log of depth over depth at frame ``reference``, clamped to ±limit."""
        depth = self.depth.clamp_min(NEAREST)
        return (depth / depth[:, reference : reference + 1]).log().clamp(-limit, limit)


def follow(scenes: Scenes, seeds: Tensor, seed_frame: Tensor) -> Trajectories:
    """Follow the scene points seen at ``seeds (B, N, 2)`` in frames ``seed_frame (B, N)``."""
    point, body = follow_points(scenes, seeds, seed_frame)
    depth = point[..., 2]
    ahead = depth > NEAREST
    focal = scenes.focal[:, None, None, None]
    position = focal * point[..., :2] / depth.clamp_min(NEAREST)[..., None]
    # Far outside the image nothing tells where exactly; the bound keeps numbers tame.
    position = position.clamp(-4.0, 4.0)

    aspect = scenes.aspect[:, None, None]
    inside = (position[..., 0].abs() <= 1) & (position[..., 1].abs() <= aspect)
    front = cast(scenes, position).depth
    visible = inside & ahead & (front > depth * (1 - HIDDEN_TOLERANCE))
    return Trajectories(position, visible, depth, ahead, body)


def follow_points(scenes: Scenes, seeds: Tensor, seed_frame: Tensor) -> tuple[Tensor, Tensor]:
    """Where the scene points that :func:`follow` follows are, seen or not.

    Returns:
        ``(B, T, N, 3)`` in the camera frame of each time, and ``(B, N)``: the body each sits on.
    """
    batch = torch.arange(len(scenes), device=seeds.device)[:, None]
    # Cast every seed in its own frame: lay the points out as N frames of one ray each.
    per_point = Scenes(
        scenes.to_camera[batch, seed_frame],
        scenes.camera_to_world[batch, seed_frame],
        scenes.kind,
        scenes.present,
        scenes.size,
        scenes.focal,
        scenes.aspect,
    )
    hits = cast(per_point, seeds[:, :, None])
    body = hits.body[..., 0]
    # Rays that leave the surroundings through nothing (never in practice) sit far away.
    depth = hits.depth[..., 0].clamp_max(1e4)
    seen = rays(scenes, seeds) * depth[..., None]
    seed_map = per_point.to_camera[batch, torch.arange(seeds.shape[1])[None], body]
    local = torch.linalg.solve(seed_map[..., :3], (seen - seed_map[..., 3])[..., None])

    time = torch.arange(scenes.frames, device=seeds.device)[None, :, None]
    maps = scenes.to_camera[batch[:, None], time, body[:, None]]  # (B, T, N, 3, 4)
    point = (maps[..., :3] @ local[:, None])[..., 0] + maps[..., 3]
    return point, body
