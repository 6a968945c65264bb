"""Rendered clips: frames of a moving scene, and the exact tracks, depth and cameras behind them.

A scene drawn at random may hide most of what its first frame shows, hardly move, or carry the
camera through a wall. ``make_clip`` therefore draws scenes from successive sub-seeds until one
obeys the clip's rules (:class:`ClipRules`); a seed still fixes the clip.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kinedepth.camera import Intrinsics
from kinedepth.errors import KinedepthError
from kinedepth.synthesis.motion import uniform
from kinedepth.synthesis.raycast import cast
from kinedepth.synthesis.rendering import render, sample_photography
from kinedepth.synthesis.scene import SceneConfig, Scenes, sample_scenes
from kinedepth.synthesis.textures import Richness, sample_textures
from kinedepth.synthesis.trajectories import follow, follow_points
from kinedepth.tracks import grid_points

CLIP_CONFIG = SceneConfig(
    camera_still=0.0,
    camera_speed=(0.02, 0.25),
    camera_rotation=(0.002, 0.05),
    camera_shake=(0.0005, 0.003),
    group_speed=(0.02, 0.2),
    group_turn=(0.01, 0.15),
    group_bend=(0.03, 0.2),
    group_stretch=(0.02, 0.08),
)
"""Motion gentle enough that most points of the first frame last for some 48 frames."""

STATIC_SCENE_CONFIG = replace(CLIP_CONFIG, moving_groups=0)
"""Only the camera moves: what structure from motion assumes."""

STILL_CAMERA_CONFIG = replace(
    CLIP_CONFIG, camera_still=1.0, camera_rotation=(1e-9, 1e-9), camera_shakes=0.0, group_still=0.0
)
"""Only objects move, before a camera on a tripod."""

ROOM_CONFIG = replace(
    STATIC_SCENE_CONFIG,
    focal=(1.1, 1.3),
    far_over_near=(2.5, 6.0),
    static_bodies=3,
    presence=(0.0, 0.6),
    half_size=(0.1, 0.35),
    room_share=1.0,
    camera_speed=(0.1, 0.4),
    camera_forward=0.4,
    camera_sideways=0.0,
    camera_fixates=0.0,
    camera_rotation=(0.02, 0.12),
    camera_shakes=0.0,
)
"""A room with a body or two, which a camera goes and looks about in: easy for a small network,
while what is near comes and goes."""

CLIP_FPS = 30.0

_ATTEMPTS = 500
"""Scenes tried for one clip; also the distance between the sub-seeds of neighbouring seeds."""


@dataclass(frozen=True)
class ClipRules:
    """What a scene must obey to become a clip.

    Attributes:
        visible: range of the share of points of the first frame that are visible, averaged
            over the clip.
        changing: least share of the points still visible in the last frame whose depth has
            changed by more than 5 %.
        change: largest median absolute log depth ratio in the last frame.
        nearest: least depth of anything in view, scene units.
        range_change: least factor between the frames with the widest and the narrowest range of
            disparity (from the 2nd to the 98th percentile; a twentieth of the frames at either
            end does not count).
    """

    visible: tuple[float, float] = (0.5, 0.95)
    changing: float = 0.5
    change: float = 0.5
    nearest: float = 0.15
    range_change: float = 1.0

    @classmethod
    def for_config(cls, config: SceneConfig) -> ClipRules:
        """The usual rules; before a camera that never moves, fewer points need change depth."""
        return cls(changing=0.15, visible=(0.5, 0.99)) if config.camera_still == 1 else cls()


ROOM_RULES = ClipRules(
    visible=(0.2, 0.97), changing=0.0, change=math.inf, nearest=0.3, range_change=2.0
)
"""Of :data:`ROOM_CONFIG`: the camera may turn away from all it saw first."""


@dataclass(frozen=True)
class Clip:
    """Frames and the truth behind them; lengths are in scene units, which serve as metres.

    Attributes:
        frames: ``(T, H, W, 3)`` uint8 RGB.
        depth: ``(T, H, W)`` float32 z-depth at pixel centres.
        tracks_xyz: ``(T, N, 3)`` float32, camera frame of each time, also where hidden.
        tracks_xy: ``(T, N, 2)`` float32 pixels (centres at +0.5); finite, but where a point is
            behind the camera or far outside the frame, only its rough direction.
        visibility: ``(T, N)`` bool.
        queries_xyt: ``(N, 3)`` float32: pixel and frame in which each track starts, visible.
        intrinsics: of the frames.
        extrinsics_w2c: ``(T, 4, 4)`` float32, world to camera.
        body: ``(N,)`` int64, the body each point sits on.
        fps: frames a second.
        seed, richness, config: what the clip was made from.
    """

    frames: NDArray[np.uint8]
    depth: NDArray[np.float32]
    tracks_xyz: NDArray[np.float32]
    tracks_xy: NDArray[np.float32]
    visibility: NDArray[np.bool_]
    queries_xyt: NDArray[np.float32]
    intrinsics: Intrinsics
    extrinsics_w2c: NDArray[np.float32]
    body: NDArray[np.int64]
    fps: float
    seed: int
    richness: Richness
    config: SceneConfig


def make_clip(
    seed: int,
    frames: int = 48,
    width: int = 640,
    height: int = 360,
    richness: Richness = "rich",
    config: SceneConfig = CLIP_CONFIG,
    tracks: int = 256,
    queries: Literal["first", "random"] = "first",
    rules: ClipRules | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Clip:
    """Draw, render and track one clip.

    Args:
        seed: fixes the clip, on one kind of machine.
        frames: T, at least 2.
        width, height: of the frames, even numbers from 32 to 2048.
        richness: of the textures, see ``textures.py``.
        config: what scenes are drawn from; also ``STATIC_SCENE_CONFIG``,
            ``STILL_CAMERA_CONFIG`` and ``ROOM_CONFIG``.
        tracks: N, how many points to follow.
        queries: whether points start in the ``first`` frame or each in a ``random`` one.
        rules: what the scene must obey; by default ``ClipRules.for_config(config)``.
        progress: called with the number of frames rendered and T after each frame.

    Raises:
        KinedepthError: on sizes out of range, or if no scene of this config obeys the rules.
    """
    check_clip_size(frames, width, height, tracks)
    rules = rules or ClipRules.for_config(config)
    with one_thread_an_operation():
        scenes, generator = find_scene(seed, frames, height / width, config, rules)
        rgb, depth = render_frames(generator, scenes, width, height, richness, progress)
        seeds, seed_frame = _place_queries(generator, scenes, tracks, queries)
        truth = follow(scenes, seeds, seed_frame)
        points, body = follow_points(scenes, seeds, seed_frame)

    half = width / 2
    focal = float(scenes.focal[0]) * half
    centre = torch.tensor([half, height / 2])
    xyt = torch.cat([seeds[0] * half + centre, seed_frame[0, :, None]], dim=-1)
    return Clip(
        frames=rgb,
        depth=depth,
        tracks_xyz=points[0].numpy(),
        tracks_xy=(truth.position[0] * half + centre).numpy(),
        visibility=truth.visible[0].numpy(),
        queries_xyt=xyt.numpy(),
        intrinsics=Intrinsics(focal, focal, half, height / 2, width, height),
        extrinsics_w2c=world_to_camera(scenes.camera_to_world[0]),
        body=body[0].numpy(),
        fps=CLIP_FPS,
        seed=seed,
        richness=richness,
        config=config,
    )


def check_clip_size(frames: int, width: int, height: int, tracks: int = 1) -> None:
    """Raise KinedepthError unless a clip can have these sizes."""
    if frames < 2:
        raise KinedepthError(f"A clip needs at least two frames; got {frames}.")
    if tracks < 1:
        raise KinedepthError(f"A clip needs at least one track; got {tracks}.")
    for name, size in (("width", width), ("height", height)):
        if not 32 <= size <= 2048 or size % 2:
            raise KinedepthError(
                f"The {name} of a clip must be an even number from 32 to 2048; got {size}."
            )


def find_scene(
    seed: int, frames: int, aspect: float, config: SceneConfig, rules: ClipRules
) -> tuple[Scenes, torch.Generator]:
    """The first scene of the seed's sub-seeds that obeys the rules, and its generator.

    Raises:
        KinedepthError: if none does.
    """
    for attempt in range(_ATTEMPTS):
        generator = torch.Generator().manual_seed(seed * _ATTEMPTS + attempt)
        scenes = sample_scenes(generator, 1, frames, config, aspect)
        if _obeys(scenes, rules):
            return scenes, generator
    raise KinedepthError(
        f"None of {_ATTEMPTS} scenes drawn for seed {seed} obeys the rules of a clip of {frames} "
        f"frames; ask for fewer frames, another motion or looser rules."
    )


def _obeys(scenes: Scenes, rules: ClipRules) -> bool:
    """Whether the only scene of this batch obeys the rules (see ``ClipRules``)."""
    # Inside the surroundings, a tenth of their height from every wall.
    room = scenes.to_camera[0, :, -1]
    eye = -torch.linalg.solve(room[..., :3], room[..., 3:])[..., 0]
    margin = 0.1 * scenes.size[0, -1].amin() / scenes.size[0, -1]
    if bool((eye.abs() > 1 - margin).any()):
        return False
    lattice = _lattice(24, 18, float(scenes.aspect[0]))
    everywhere = lattice.expand(1, scenes.frames, -1, -1)
    depth = cast(scenes, everywhere).depth[0]
    if float(depth.amin()) < rules.nearest or _range_change(depth) < rules.range_change:
        return False
    first = torch.zeros((1, lattice.shape[0]), dtype=torch.int64)
    truth = follow(scenes, lattice[None], first)
    low, high = rules.visible
    if not low <= float(truth.visible.float().mean()) <= high:
        return False
    change = truth.log_ratio()[0, -1][truth.visible[0, -1]].abs()
    if not len(change) or float(change.median()) > rules.change:
        return False
    return float((change > 0.05).float().mean()) >= rules.changing


def _range_change(depth: Tensor) -> float:
    """See ``ClipRules.range_change``; depth is ``(T, P)``."""
    low, high = torch.quantile(1 / depth, depth.new_tensor([0.02, 0.98]), dim=-1)
    narrow, wide = torch.quantile(high - low, depth.new_tensor([0.05, 0.95]))
    return float(wide / narrow.clamp_min(1e-6))


def _lattice(columns: int, rows: int, aspect: float) -> Tensor:
    """Cell centres ``(columns * rows, 2)`` of a grid over the image, in half widths."""
    cells = torch.from_numpy(grid_points(2, 2, columns, rows)) - 1
    return cells * torch.tensor([1.0, aspect])


def _place_queries(
    generator: torch.Generator, scenes: Scenes, count: int, when: Literal["first", "random"]
) -> tuple[Tensor, Tensor]:
    """``(1, N, 2)`` places in half widths, visible in their frame, and ``(1, N)`` frames.

    They come from a jittered grid with half as many points again as asked for: those at the
    very border of the image are dropped, and a random choice of the rest is kept.
    """
    border = torch.tensor([1.0, float(scenes.aspect[0])])
    columns = int(np.ceil(np.sqrt(1.6 * count / float(border[1])))) + 1
    rows = int(np.ceil(1.6 * count / columns)) + 1
    places, frames = torch.empty(0, 2), torch.empty(0, dtype=torch.int64)
    while len(places) < count:  # Once is nearly always enough.
        jitter = uniform(generator, (columns * rows, 2), -1.0, 1.0)
        place = _lattice(columns, rows, float(border[1]))
        place = place + jitter * border / torch.tensor([columns, rows])
        place = place[(place.abs() < 0.995 * border).all(-1)]
        frame = torch.zeros(len(place), dtype=torch.int64)
        if when == "random":
            frame = torch.randint(scenes.frames, (len(place),), generator=generator)
        truth = follow(scenes, place[None], frame[None])
        seen = truth.visible[0, frame, torch.arange(len(place))]
        places, frames = torch.cat([places, place[seen]]), torch.cat([frames, frame[seen]])
    keep = torch.randperm(len(places), generator=generator)[:count].sort().values
    return places[None, keep], frames[None, keep]


def render_frames(
    generator: torch.Generator,
    scenes: Scenes,
    width: int,
    height: int,
    richness: Richness,
    progress: Callable[[int, int], None] | None,
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """All frames ``(T, H, W, 3)`` and depth ``(T, H, W)`` of the only scene of this batch.

    The generator is the one that :func:`find_scene` gave: it goes on to draw textures and light.
    """
    textures = sample_textures(generator, scenes, 0, richness)
    photography = sample_photography(generator, scenes.frames)
    rgb = np.empty((scenes.frames, height, width, 3), np.uint8)
    depth = np.empty((scenes.frames, height, width), np.float32)

    def render_one(frame: int) -> None:
        rgb[frame], depth[frame] = render(scenes, 0, frame, width, height, textures, photography)

    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        try:
            for done, _ in enumerate(pool.map(render_one, range(scenes.frames)), start=1):
                if progress is not None:
                    progress(done, scenes.frames)
        except BaseException:
            # An interrupt shall not wait for the frames that nobody wants any more.
            pool.shutdown(cancel_futures=True)
            raise
    return rgb, depth


class one_thread_an_operation:  # noqa: N801 (a context manager, used like a function)
    """Frames are rendered side by side, so operations within one need no threads of their own.

    Splitting these small operations over threads costs more than it brings, and many times
    more while another process keeps the processor busy.
    """

    def __enter__(self) -> None:
        self._threads = torch.get_num_threads()
        torch.set_num_threads(1)

    def __exit__(self, *_: object) -> None:
        torch.set_num_threads(self._threads)


def world_to_camera(camera_to_world: Tensor) -> NDArray[np.float32]:
    """``(T, 4, 4)`` inverses of poses ``(T, 3, 4)``."""
    rotation = camera_to_world[..., :3].transpose(-1, -2)
    result = torch.eye(4).repeat(len(camera_to_world), 1, 1)
    result[:, :3, :3] = rotation
    result[:, :3, 3:] = -rotation @ camera_to_world[..., 3:]
    return result.numpy()
