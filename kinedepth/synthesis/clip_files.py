"""Rendered clips on disk: video, truth in the layout of TAPVid-3D, dense depth, provenance."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from kinedepth._safe_npz import load_arrays, load_tapvid3d
from kinedepth.camera import Intrinsics
from kinedepth.errors import KinedepthError
from kinedepth.exporting.atomic import atomic_path
from kinedepth.synthesis.clip_set import (
    CLIPS_PER_SEED,
    made_with_other_settings,
    open_clip_set,
)
from kinedepth.synthesis.clips import CLIP_CONFIG, Clip, check_clip_size, make_clip
from kinedepth.synthesis.scene import SceneConfig
from kinedepth.synthesis.textures import Richness

_SUFFIXES = (".mp4", ".npz", "_depth.npz", ".json")
"""The files of one clip, in the order they are written: the last one says it is complete."""

_JPEG_QUALITY = 95

_MIXED: tuple[Richness, Richness] = ("rich", "poor")


@dataclasses.dataclass(frozen=True)
class ClipTruth:
    """What is known exactly about the points of a clip.

    Attributes:
        tracks_xyz: ``(T, N, 3)`` float32, camera frame of each time.
        tracks_xy: ``(T, N, 2)`` float32 pixels.
        visibility: ``(T, N)`` bool.
        queries_xyt: ``(N, 3)`` float32.
        intrinsics: of the frames.
        extrinsics_w2c: ``(T, 4, 4)`` float32, or None where the clip does not say.
    """

    tracks_xyz: NDArray[np.float32]
    tracks_xy: NDArray[np.float32]
    visibility: NDArray[np.bool_]
    queries_xyt: NDArray[np.float32]
    intrinsics: Intrinsics
    extrinsics_w2c: NDArray[np.float32] | None


def write_clip(clip: Clip, folder: str | Path, name: str) -> None:
    """Write ``name.mp4``, ``name.npz``, ``name_depth.npz`` and ``name.json`` into ``folder``.

    ``name.npz`` is a TAPVid-3D clip, with ``extrinsics_w2c`` and ``tracks_xy`` besides;
    ``name_depth.npz`` holds ``depth (T, H, W)`` float16 and ``kind`` ("metric"). Each file
    appears whole, ``name.json`` last.

    Raises:
        KinedepthError: if a file cannot be written.
    """
    folder = Path(folder)
    video, truth, depth, provenance = (folder / f"{name}{suffix}" for suffix in _SUFFIXES)
    provenance.unlink(missing_ok=True)
    with atomic_path(video) as path:
        _encode_video(path, clip.frames, clip.fps)
    with atomic_path(truth) as path:
        np.savez_compressed(
            path,
            images_jpeg_bytes=_jpegs(clip.frames),
            queries_xyt=clip.queries_xyt,
            tracks_XYZ=clip.tracks_xyz,
            visibility=clip.visibility,
            fx_fy_cx_cy=clip.intrinsics.as_vector(),
            extrinsics_w2c=clip.extrinsics_w2c,
            tracks_xy=clip.tracks_xy,
        )
    with atomic_path(depth) as path:
        np.savez_compressed(path, depth=clip.depth.astype(np.float16), kind=np.array("metric"))
    frames, height, width = clip.depth.shape
    settings = _settings(
        clip.seed, frames, width, height, len(clip.queries_xyt), clip.richness, clip.config
    )
    with atomic_path(provenance) as path:
        path.write_text(json.dumps({**settings, "fps": clip.fps}, indent=2) + "\n")


def read_clip_truth(path: str | Path) -> ClipTruth:
    """Tracks, visibility and camera of a clip's ``.npz`` (any TAPVid-3D clip).

    Where a clip holds no 2D tracks, they are the projections of its 3D tracks.

    Raises:
        KinedepthError: if the file is no TAPVid-3D clip.
    """
    arrays = load_tapvid3d(Path(path))
    first = cv2.imdecode(np.frombuffer(arrays["images_jpeg_bytes"][0], np.uint8), cv2.IMREAD_COLOR)
    if first is None:
        raise KinedepthError(f"The first image of {path} is damaged.")
    fx, fy, cx, cy = arrays["fx_fy_cx_cy"].tolist()
    intrinsics = Intrinsics(fx, fy, cx, cy, first.shape[1], first.shape[0])
    xyz = arrays["tracks_XYZ"].astype(np.float32)
    xy = arrays.get("tracks_xy")
    if xy is None:
        ahead = np.concatenate([xyz[..., :2], np.maximum(xyz[..., 2:], 1e-6)], axis=-1)
        xy = intrinsics.project(ahead)
    extrinsics = arrays.get("extrinsics_w2c")
    if xy.shape != (*xyz.shape[:2], 2):
        raise KinedepthError(f"{path}: tracks_xy has shape {xy.shape}, tracks_XYZ {xyz.shape}.")
    if extrinsics is not None and extrinsics.shape != (len(xyz), 4, 4):
        raise KinedepthError(
            f"{path}: extrinsics_w2c has shape {extrinsics.shape}, but {len(xyz)} frames ask for "
            f"{(len(xyz), 4, 4)}."
        )
    return ClipTruth(
        tracks_xyz=xyz,
        tracks_xy=xy.astype(np.float32),
        visibility=arrays["visibility"],
        queries_xyt=arrays["queries_xyt"].astype(np.float32),
        intrinsics=intrinsics,
        extrinsics_w2c=None if extrinsics is None else extrinsics.astype(np.float32),
    )


def read_clip_depth(path: str | Path) -> NDArray[np.float32]:
    """Dense depth ``(T, H, W)`` of a clip's ``_depth.npz``, in scene units.

    Raises:
        KinedepthError: if the file holds no such array.
    """
    arrays = load_arrays(Path(path))
    if "depth" not in arrays or arrays["depth"].ndim != 3:
        raise KinedepthError(f"{path} holds no array depth of shape (T, H, W).")
    return arrays["depth"].astype(np.float32)


def write_clips(
    folder: str | Path,
    count: int,
    frames: int = 48,
    seed: int = 0,
    width: int = 640,
    height: int = 360,
    richness: Literal["rich", "poor", "mixed"] = "mixed",
    config: SceneConfig = CLIP_CONFIG,
    tracks: int = 256,
    progress: Callable[[int, int], None] | None = None,
) -> list[str]:
    """Write ``count`` clips, ``clip0000`` and on; those already complete are skipped.

    Args:
        folder: created if need be.
        count: how many clips the folder shall hold in the end.
        frames, width, height, tracks, config: of every clip, see ``make_clip``.
        seed: of the set; sets of different seeds share no clip.
        richness: of the textures; ``mixed`` makes every other clip poor.
        progress: called with the number of frames done and the number in all.

    Returns:
        Names of the clips that were written, without those skipped.

    Raises:
        KinedepthError: on sizes out of range, if the folder holds clips made with other
            settings, or if a file cannot be written.
    """
    check_clip_size(frames, width, height, tracks)
    if richness not in ("rich", "poor", "mixed"):
        raise KinedepthError(f"Textures are rich, poor or mixed; got {richness!r}.")
    folder = open_clip_set(folder, count, seed)
    written = []
    for index in range(count):
        name = f"clip{index:04d}"
        look = _MIXED[index % 2] if richness == "mixed" else richness
        clip_seed = seed * CLIPS_PER_SEED + index
        settings = _settings(clip_seed, frames, width, height, tracks, look, config)
        if not _is_complete(folder, name, settings):
            before = index * frames
            clip = make_clip(
                clip_seed,
                frames,
                width,
                height,
                look,
                config,
                tracks,
                progress=_shifted(progress, before, count * frames),
            )
            write_clip(clip, folder, name)
            written.append(name)
        if progress is not None:
            progress((index + 1) * frames, count * frames)
    return written


def _shifted(
    progress: Callable[[int, int], None] | None, before: int, total: int
) -> Callable[[int, int], None] | None:
    """Progress of one clip, told as progress of the whole set."""
    if progress is None:
        return None
    tell = progress
    return lambda done, _: tell(before + done, total)


def _is_complete(folder: Path, name: str, settings: dict[str, Any]) -> bool:
    """Whether all files of a clip are there, made with these settings."""
    if not all((folder / f"{name}{suffix}").is_file() for suffix in _SUFFIXES):
        return False
    provenance = folder / f"{name}.json"
    try:
        found = json.loads(provenance.read_text())
        found = {key: found[key] for key in settings}
    except (OSError, ValueError, KeyError, TypeError):
        found = None
    # Through JSON once, since that turns tuples into lists.
    if found != json.loads(json.dumps(settings)):
        raise made_with_other_settings(folder, name)
    return True


def _settings(
    seed: int,
    frames: int,
    width: int,
    height: int,
    tracks: int,
    richness: Richness,
    config: SceneConfig,
) -> dict[str, Any]:
    """What fixes a clip."""
    return {
        "seed": seed,
        "frames": frames,
        "width": width,
        "height": height,
        "tracks": tracks,
        "richness": richness,
        "scene": dataclasses.asdict(config),
    }


def _encode_video(path: Path, frames: NDArray[np.uint8], fps: float) -> None:
    """H.264 of so little loss that what trackers see is the rendering, not the codec."""
    rate = Fraction(fps).limit_denominator(10_000)
    with av.open(f"file:{path}", "w", format="mp4", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": "12", "preset": "fast"}
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def _jpegs(frames: NDArray[np.uint8]) -> NDArray[np.object_]:
    """Object array ``(T,)`` of JPEG bytes, as TAPVid-3D stores images."""
    images = np.empty(len(frames), dtype=object)
    for index, frame in enumerate(frames):
        bgr = cv2.cvtColor(frame, cv2.COLOR_RGB2BGR)
        encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1]
        images[index] = encoded.tobytes()
    return images
