"""Clips of known pictures in many forms, for the tests of what reads them."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from kinedepth.video import Video

WIDTH, HEIGHT = 96, 64


def picture(index: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """A gradient with a moving square and a grey level that tells the index."""
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0] = np.linspace(0, 200, width).astype(np.uint8)
    image[..., 1] = np.linspace(0, 200, height).astype(np.uint8)[:, None]
    image[height // 2 :, : width // 2] = 4 * index % 256
    left = 3 * index % (width - 16)
    image[4:20, left : left + 16] = 255
    return image


def write_clip(
    path: Path,
    count: int = 40,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    size: tuple[int, int] = (WIDTH, HEIGHT),
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    pts: list[int] | None = None,
    turn: tuple[int, bool, bool] | None = None,
    pixel_aspect: Fraction | None = None,
    container_format: str | None = None,
) -> Path:
    width, height = size
    with av.open(
        str(path), "w", format=container_format, options=container_options or {}
    ) as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, pixels
        stream.options = options or {}
        if pts is not None:
            stream.codec_context.time_base = Fraction(1, 100)
        if pixel_aspect is not None:
            stream.codec_context.sample_aspect_ratio = pixel_aspect
        if turn is not None:
            stream.set_display_rotation(*turn)
        for index in range(count):
            frame = av.VideoFrame.from_ndarray(picture(index, width, height), format="rgb24")
            if pts is not None:
                frame.pts, frame.time_base = pts[index], Fraction(1, 100)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


B_FRAMES = {"g": "12", "bf": "3", "sc_threshold": "0"}
OPEN_GROUPS = {**B_FRAMES, "x264-params": "open-gop=1"}


def all_frames(video: Video) -> np.ndarray:
    return np.concatenate([block for _, block in video.blocks(7)])


def assert_close(actual: np.ndarray, expected: np.ndarray, tolerance: float = 8) -> None:
    """Equal up to what lossy compression does to a picture."""
    assert actual.shape == expected.shape
    assert np.abs(actual.astype(float) - expected.astype(float)).mean() < tolerance


def cut(path: Path, share: float) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path
