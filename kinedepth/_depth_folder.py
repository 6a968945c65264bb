"""Reading dense depth from a folder of images: EXR, or 16-bit PNG with a scale."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from kinedepth._depth_manifest import DepthManifest, read_manifest
from kinedepth._frame_source import check_frame_size
from kinedepth._frame_store import StoredDepth, gather_frames
from kinedepth._image_size import encoded_size
from kinedepth._safe_npz import what_is_wrong
from kinedepth.errors import KinedepthError, MissingExtraError

DEPTH_CHANNELS = ("Z", "disparity", "depth", "Y", "R")
"""Names of EXR channels that depth is looked for in, in this order."""


def open_depth_folder(folder: Path, png_scale: float | None) -> StoredDepth:
    """The depth in a folder of images, with what its ``depth.json`` says of it, if there is one.

    Raises:
        KinedepthError: if the folder holds no depth images or some are missing, their sizes
            differ, one is damaged, or nothing tells the scale of 16-bit images.
    """
    manifest = read_manifest(folder)
    paths = _depth_images(folder)
    _check_numbering(paths)
    if manifest is not None and manifest.frames != len(paths):
        raise KinedepthError(
            f"{folder} holds {len(paths)} images, but its depth.json tells of {manifest.frames}; "
            f"copy it again."
        )
    kind: str | None = None if manifest is None else manifest.kind
    read: Callable[[Path], NDArray[np.float32]]
    if paths[0].suffix.lower() == ".png":
        scale, offset = _png_scale(folder, manifest, png_scale)
        own = manifest is not None and png_scale is None

        def read(path: Path) -> NDArray[np.float32]:
            return _read_png(path, scale, offset, zero_is_nan=own)

        kind = kind or "metric"  # A scale to metres was given.
    else:
        channel = _channel_of(paths[0])
        kind = kind or {"Z": "metric", "disparity": "affine_invariant_disparity"}.get(channel)

        def read(path: Path) -> NDArray[np.float32]:
            return _read_exr(path, channel)

    height, width = read(paths[0]).shape
    depth = gather_frames(_of_one_size(paths, read), (len(paths), height, width))
    if manifest is None:
        return StoredDepth(depth, kind)
    return StoredDepth(depth, kind, manifest.fps, manifest.per_frame)


def _depth_images(folder: Path) -> list[Path]:
    """The images of ``folder``, by number."""
    try:
        found = [
            path
            for path in folder.iterdir()
            if path.suffix.lower() in (".png", ".exr")
            and not path.name.startswith(".")
            and path.is_file()
        ]
    except OSError as error:
        raise KinedepthError(f"{folder} cannot be read ({error.strerror}).") from error
    suffixes = {path.suffix.lower() for path in found}
    if not found:
        raise KinedepthError(
            f"{folder} holds no depth; give a .npz, or the folder that directly holds .exr or "
            f"16-bit .png files."
        )
    if len(suffixes) > 1:
        raise KinedepthError(f"{folder} holds both .exr and .png files; keep one kind in it.")
    return sorted(found, key=_natural_key)


def _natural_key(path: Path) -> list[tuple[int, str]]:
    pieces = re.split(r"(\d+)", path.stem)
    return [(int(piece) if piece.isdecimal() else -1, piece) for piece in pieces]


def _check_numbering(paths: list[Path]) -> None:
    """Raise KinedepthError if the numbers in the file names leave some out."""
    numbers = [tuple(int(n) for n in re.findall(r"\d+", path.stem)) for path in paths]
    if len({len(found) for found in numbers}) > 1 or len(paths) < 2:
        return  # No common pattern, nothing to say.
    columns = [column for column in zip(*numbers, strict=True) if len(set(column)) == len(paths)]
    if not columns:
        return
    steps = np.diff(np.array(columns[-1]))
    # A sequence thinned out evenly is complete in its own way.
    step = int(steps.min())
    gap = np.flatnonzero(steps != step)
    if gap.size:
        before, after = paths[gap[0]], paths[gap[0] + 1]
        raise KinedepthError(
            f"Images are missing between {before.name} and {after.name} in {before.parent}; "
            f"depth needs one for every frame."
        )


def _png_scale(
    folder: Path, manifest: DepthManifest | None, png_scale: float | None
) -> tuple[float, float]:
    if png_scale is not None:
        if not (np.isfinite(png_scale) and png_scale > 0):
            raise KinedepthError(f"The scale of PNG values has to be positive; got {png_scale}.")
        return png_scale, 0.0
    if manifest is None:
        raise KinedepthError(
            f"Nothing in {folder} tells what its PNG values mean; give their scale, e.g. 0.001 "
            f"for millimetres."
        )
    return manifest.scale, manifest.offset


def _of_one_size(
    paths: list[Path], read: Callable[[Path], NDArray[np.float32]]
) -> Iterator[NDArray[np.float32]]:
    shape: tuple[int, ...] | None = None
    for path in paths:
        image = read(path)
        shape = shape or image.shape
        if image.shape != shape:
            raise KinedepthError(
                f"{path} is {image.shape[1]}x{image.shape[0]} but {paths[0].name} is "
                f"{shape[1]}x{shape[0]}; all frames need one size."
            )
        yield image


def _read_png(path: Path, scale: float, offset: float, zero_is_nan: bool) -> NDArray[np.float32]:
    image = None
    try:
        encoded = path.read_bytes()
        if encoded:
            check_frame_size(str(path), *(encoded_size(encoded) or (0, 0)))
            image = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_UNCHANGED)
    except OSError as error:
        raise KinedepthError(f"{path} cannot be read ({error.strerror}).") from error
    except cv2.error:
        image = None
    if image is None or image.ndim != 2 or image.dtype != np.uint16:
        raise KinedepthError(
            f"{path} is not an image of one 16-bit channel; only such PNG files hold depth."
        )
    depth = (offset + scale * image.astype(np.float64)).astype(np.float32)
    if zero_is_nan:
        depth[image == 0] = np.nan
    return depth


def _channel_of(path: Path) -> str:
    """The channel that holds the depth of an EXR file."""
    channels = _exr_channels(path)
    for name in DEPTH_CHANNELS:
        if name in channels:
            return name
    if len(channels) == 1:
        return next(iter(channels))
    raise KinedepthError(
        f"{path} holds the channels {', '.join(channels)}; depth is looked for in "
        f"{', '.join(DEPTH_CHANNELS)}, or in the only one."
    )


def _read_exr(path: Path, channel: str) -> NDArray[np.float32]:
    channels = _exr_channels(path)
    if channel not in channels:
        raise KinedepthError(f"{path} lacks the channel {channel} that the first image has.")
    pixels = np.asarray(channels[channel].pixels)
    if pixels.ndim != 2:
        raise KinedepthError(f"{path}: the channel {channel} is no image of one value a pixel.")
    return pixels.astype(np.float32)


def _exr_channels(path: Path) -> dict[str, Any]:
    try:
        import OpenEXR
    except ImportError:
        raise MissingExtraError("OpenEXR", "exr") from None
    try:
        with OpenEXR.File(str(path), header_only=True) as file:
            corner, opposite = file.header()["dataWindow"]
        width, height = (int(size) for size in np.subtract(opposite, corner, dtype=np.int64) + 1)
        check_frame_size(str(path), width, height)
        with OpenEXR.File(str(path), separate_channels=True) as file:
            return dict(file.channels())
    except KinedepthError:
        raise
    except Exception as error:  # It raises RuntimeError, ValueError and others on damage.
        raise KinedepthError(
            f"{path} is not an EXR file that can be read ({what_is_wrong(error)})."
        ) from error
