"""Where the surface point behind each pixel is one frame later: exact, dense optical flow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from kinedepth.synthesis.raycast import NEAREST
from kinedepth.synthesis.rendering import pixel_positions
from kinedepth.synthesis.scene import Scenes
from kinedepth.synthesis.surfaces import meet
from kinedepth.synthesis.trajectories import HIDDEN_TOLERANCE


@dataclass(frozen=True)
class SurfaceFlow:
    """Flow from one frame to the next, at every pixel centre of the first.

    Attributes:
        flow: ``(H, W, 2)`` float32, pixels to the right and down; 0 where a point passes behind
            the camera.
        visible: ``(H, W)`` bool: whether the surface point is in view one frame later.
    """

    flow: NDArray[np.float32]
    visible: NDArray[np.bool_]


def surface_flow(scenes: Scenes, index: int, frame: int, width: int, height: int) -> SurfaceFlow:
    """Flow of scene ``index`` from ``frame`` to ``frame + 1``.

    The point of a body that a pixel's ray meets is carried along by the body's map of the next
    frame, so bodies that turn, bend and deform are followed exactly.
    """
    here = pixel_positions(scenes, index, width, height)
    points = meet(scenes, index, frame, here)
    maps = scenes.to_camera[index, frame + 1][points.body]
    moved = (maps[..., :3] @ points.local[..., None])[..., 0] + maps[..., 3]
    depth = moved[:, 2]
    ahead = depth > NEAREST
    there = scenes.focal[index] * moved[:, :2] / depth.clamp_min(NEAREST)[:, None]
    there = torch.where(ahead[:, None], there, here)

    half_height = scenes.aspect[index]
    inside = (there[:, 0].abs() <= 1) & (there[:, 1].abs() <= half_height)
    front = meet(scenes, index, frame + 1, there).depth
    visible = ahead & inside & (front > depth * (1 - HIDDEN_TOLERANCE))
    to_pixels = torch.stack([torch.as_tensor(width / 2), height / 2 / half_height.cpu()])
    flow = (there - here) * to_pixels.to(here.device)
    return SurfaceFlow(
        flow.reshape(height, width, 2).cpu().numpy(), visible.reshape(height, width).cpu().numpy()
    )
