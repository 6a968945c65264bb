"""Rendered clips to train video depth on, kept in a folder in a form that is read fast.

A clip is a handful of plain arrays, which are mapped into memory: a training step reads no more
than the frames that it draws.

    NAME_frames.npy     (T, H, W, 3) uint8 RGB
    NAME_disparity.npy  (T, H, W) float16, 1 / z-depth; 0 or NaN where it is not known
    NAME_flow.npy       (T - 1, H, W, 2) float16 pixels to the next frame, NaN where the surface
                        is hidden there; only the losses along the flow need it
    NAME.json           camera and provenance; written last, so that it marks a whole clip

Clips from elsewhere serve as well, if they are brought into this layout.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from kinedepth.errors import KinedepthError
from kinedepth.exporting.atomic import atomic_path
from kinedepth.synthesis.clip_set import (
    CLIPS_PER_SEED,
    made_with_other_settings,
    open_clip_set,
)
from kinedepth.synthesis.clips import (
    CLIP_CONFIG,
    ROOM_CONFIG,
    ROOM_RULES,
    STATIC_SCENE_CONFIG,
    ClipRules,
    check_clip_size,
    find_scene,
    one_thread_an_operation,
    render_frames,
    world_to_camera,
)
from kinedepth.synthesis.scene import SceneConfig
from kinedepth.synthesis.surface_flow import surface_flow

SceneKind = Literal["static", "moving", "mixed", "rooms"]
"""Whether only the camera moves, or bodies too, or every other clip so; or still rooms, nearly
plain, whose range of depth changes a lot."""

_FRAMES_TO_CHANGE = 16
"""Shorter clips (stills, for training on single frames) are not asked to change depth."""


@dataclass(frozen=True)
class TrainingClip:
    """One clip as it lies on the disk, mapped into memory; see the module's text.

    Attributes:
        name: of its files.
        frames: ``(T, H, W, 3)`` uint8.
        disparity: ``(T, H, W)`` float16.
        flow: ``(T - 1, H, W, 2)`` float16, or None where the clip has none.
        intrinsics: ``(3, 3)`` float64, or None.
        camera_to_world: ``(T, 4, 4)`` float64, or None.
        static: whether nothing but the camera moves; False where that is not known.
    """

    name: str
    frames: NDArray[np.uint8]
    disparity: NDArray[np.float16]
    flow: NDArray[np.float16] | None
    intrinsics: NDArray[np.float64] | None
    camera_to_world: NDArray[np.float64] | None
    static: bool

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of a frame."""
        return self.frames.shape[1], self.frames.shape[2]

    def __len__(self) -> int:
        """T, the number of frames."""
        return len(self.frames)


def read_clips(folder: str | Path) -> list[TrainingClip]:
    """All clips of a folder, by name.

    Raises:
        KinedepthError: if there is no such folder, no whole clip in it, or a clip's files are
            damaged or do not belong together.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise KinedepthError(f"There is no folder {folder} of training clips.")
    names = sorted(path.stem for path in folder.glob("*.json"))
    names = [name for name in names if (folder / f"{name}_frames.npy").is_file()]
    if not names:
        raise KinedepthError(
            f"{folder} holds no training clips (NAME.json beside NAME_frames.npy); "
            f"make some with: kinedepth train clips {folder}"
        )
    return [_read_clip(folder, name) for name in names]


def write_training_clips(
    folder: str | Path,
    count: int,
    frames: int = 32,
    width: int = 112,
    height: int = 112,
    seed: int = 0,
    scenes: SceneKind = "mixed",
    progress: Callable[[int, int], None] | None = None,
) -> list[str]:
    """Render ``count`` clips, ``clip0000`` and on, of rich and poor texture; whole ones are kept.

    Args:
        folder: created if need be.
        count: how many clips the folder shall hold in the end.
        frames, width, height: of every clip; sides even, from 32 to 2048.
        seed: of the set; sets of different seeds share no clip.
        scenes: what moves besides the camera.
        progress: called with the number of clips done and the number in all.

    Returns:
        Names of the clips that were rendered, without those that were there.

    Raises:
        KinedepthError: on sizes out of range, if the folder holds clips made with other
            settings, or if a file cannot be written.
    """
    check_clip_size(frames, width, height)
    if scenes not in get_args(SceneKind):
        raise KinedepthError(f"Scenes are static, moving, mixed or rooms; got {scenes!r}.")
    folder = open_clip_set(folder, count, seed)
    written = []
    for index in range(count):
        name = f"clip{index:04d}"
        settings = {
            "seed": seed * CLIPS_PER_SEED + index,
            "frames": frames,
            "width": width,
            "height": height,
            "richness": ("rich", "poor")[index // 2 % 2],
            "static": scenes in ("static", "rooms") or (scenes == "mixed" and index % 2 == 0),
        }
        if scenes == "rooms":
            settings |= {"richness": "poor", "rooms": True}
        if not _is_complete(folder, name, settings):
            _render_clip(folder, name, settings)
            written.append(name)
        if progress is not None:
            progress(index + 1, count)
    return written


def _render_clip(folder: Path, name: str, settings: dict[str, Any]) -> None:
    frames, width, height = settings["frames"], settings["width"], settings["height"]
    config, rules = _scenes_of(settings)
    if frames < _FRAMES_TO_CHANGE:
        visible = (rules.visible[0], 1.0)
        rules = replace(rules, changing=0.0, visible=visible, range_change=1.0)
    with one_thread_an_operation():
        scenes, generator = find_scene(settings["seed"], frames, height / width, config, rules)
        rgb, depth = render_frames(generator, scenes, width, height, settings["richness"], None)
        flow = np.empty((frames - 1, height, width, 2), np.float16)
        for frame in range(frames - 1):
            step = surface_flow(scenes, 0, frame, width, height)
            flow[frame] = np.where(step.visible[..., None], step.flow, np.nan)
    focal = float(scenes.focal[0]) * width / 2
    record = {
        **settings,
        "intrinsics": [[focal, 0.0, width / 2], [0.0, focal, height / 2], [0.0, 0.0, 1.0]],
        "world_to_camera": world_to_camera(scenes.camera_to_world[0]).tolist(),
    }
    arrays: dict[str, NDArray[Any]] = {
        "frames": rgb,
        "disparity": (1 / depth).astype(np.float16),
        "flow": flow,
    }
    (folder / f"{name}.json").unlink(missing_ok=True)
    for kind, array in arrays.items():
        with atomic_path(folder / f"{name}_{kind}.npy") as path:
            np.save(path, array)
    with atomic_path(folder / f"{name}.json") as path:
        path.write_text(json.dumps(record) + "\n")


def _scenes_of(settings: dict[str, Any]) -> tuple[SceneConfig, ClipRules]:
    """What a clip's scene is drawn from, and what it has to obey."""
    if "rooms" in settings:
        return ROOM_CONFIG, ROOM_RULES
    config = STATIC_SCENE_CONFIG if settings["static"] else CLIP_CONFIG
    return config, ClipRules.for_config(config)


def _is_complete(folder: Path, name: str, settings: dict[str, Any]) -> bool:
    """Whether the clip is there, made with these settings."""
    provenance = folder / f"{name}.json"
    if not provenance.is_file():
        return False
    record = _read_record(provenance)
    # Only clips of rooms say whether they are.
    asked = {"rooms": None, **settings}
    if any(record.get(key) != value for key, value in asked.items()):
        raise made_with_other_settings(folder, name)
    return True


def _read_clip(folder: Path, name: str) -> TrainingClip:
    record = _read_record(folder / f"{name}.json")
    frames = _map(folder / f"{name}_frames.npy")
    disparity = _map(folder / f"{name}_disparity.npy")
    flow_file = folder / f"{name}_flow.npy"
    flow = _map(flow_file) if flow_file.is_file() else None
    expected = (*frames.shape[:3], 3)
    if frames.ndim != 4 or frames.dtype != np.uint8 or frames.shape != expected:
        raise KinedepthError(
            f"{folder / name}_frames.npy has to be (T, H, W, 3) uint8; got {frames.shape} "
            f"{frames.dtype}."
        )
    time, height, width = frames.shape[:3]
    if disparity.shape != (time, height, width):
        raise KinedepthError(
            f"The disparity of {folder / name} has shape {disparity.shape}, but its frames ask "
            f"for {(time, height, width)}."
        )
    if flow is not None and flow.shape != (time - 1, height, width, 2):
        raise KinedepthError(
            f"The flow of {folder / name} has shape {flow.shape}, but its frames ask for "
            f"{(time - 1, height, width, 2)}."
        )
    poses = record.get("world_to_camera")
    intrinsics = record.get("intrinsics")
    return TrainingClip(
        name=name,
        frames=frames,
        disparity=disparity,
        flow=flow,
        intrinsics=None if intrinsics is None else np.array(intrinsics, np.float64),
        camera_to_world=None if poses is None else np.linalg.inv(np.array(poses, np.float64)),
        static=bool(record.get("static", False)),
    )


def _read_record(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise KinedepthError(f"{path} cannot be read ({error}); remove that clip.") from None
    if not isinstance(record, dict):
        raise KinedepthError(f"{path} does not describe a training clip; remove it.")
    return record


def _map(path: Path) -> NDArray[Any]:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise KinedepthError(
            f"{path} is not a readable array ({error}); remove that clip and make it again."
        ) from None
