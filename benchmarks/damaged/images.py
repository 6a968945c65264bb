"""Damaged and odd folders of images."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from damaged.case import Case, Cases, cut, flipped
from damaged.clips import picture

_SUFFIXES = (".png", ".jpg", ".webp", ".bmp", ".tif", ".ppm")


def encoded(suffix: str, index: int = 0, **size: int) -> bytes:
    """One picture as an image file."""
    return cv2.imencode(suffix, picture(index, **size))[1].tobytes()


def png_header(
    width: int, height: int, bits: int = 8, colour: int = 0, rows: int = 0, level: int = 9
) -> bytes:
    """A well-formed PNG whose header says any size, with ``rows`` rows of zeros in it."""

    def chunk(name: bytes, content: bytes) -> bytes:
        check = zlib.crc32(name + content)
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    channels = {0: 1, 2: 3, 6: 4}[colour]
    row = bytes(1 + (width * bits * channels + 7) // 8) if rows else b""
    squeezer = zlib.compressobj(level)
    body = b"".join(squeezer.compress(row) for _ in range(rows)) + squeezer.flush()
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    )


def image_cases() -> Cases:
    """Every image folder of the corpus."""
    for suffix in _SUFFIXES:
        for share in (0.0, 0.05, 0.5, 0.95):
            damaged = cut(encoded(suffix), share)
            yield _folder(
                "images: damaged file", f"{suffix} cut at {share:.0%}", {f"2{suffix}": damaged}
            )
        for begin, end in ((0.0, 0.05), (0.05, 1.0)):
            label = f"{suffix} flipped from {begin:.0%}"
            damaged = flipped(encoded(suffix), label, begin, end, 4)
            yield _folder("images: damaged file", label, {f"2{suffix}": damaged})
    for name, extra in _odd_images().items():
        yield _folder("images: odd or absurd file", name, extra)
    for name, make in _odd_folders().items():
        yield Case("images: holes, mixed sizes, wrong names", name, "video", make)


def _folder(family: str, name: str, extra: dict[str, bytes]) -> Case:
    """Two good images, and then what is odd."""

    def make(folder: Path) -> Path:
        suffix = Path(next(iter(extra))).suffix
        for index in range(2):
            (folder / f"{index}{suffix}").write_bytes(encoded(suffix, index))
        for file, content in extra.items():
            (folder / file).write_bytes(content)
        return folder

    return Case(family, name, "video", make)


def _odd_images() -> dict[str, dict[str, bytes]]:
    jpeg = encoded(".jpg")
    size = jpeg.index(b"\xff\xc0") + 5

    def sized(width: int, height: int) -> bytes:
        return jpeg[:size] + struct.pack(">HH", height, width) + jpeg[size + 4 :]

    alpha = np.dstack([picture(0), picture(0)[..., 0]])
    deep = picture(0).astype(np.uint16) * 256
    tiff = io.BytesIO()
    tiff.write(struct.pack("<2sHIH", b"II", 42, 8, 2))
    for tag in (256, 257):
        tiff.write(struct.pack("<HHII", tag, 4, 1, 2**31))
    return {
        "text named .png": {"2.png": b"Not an image.\n" * 30},
        "zeros named .png": {"2.png": bytes(4000)},
        "jpg named .png": {"2.png": encoded(".jpg")},
        "PNG that says 65535 a side": {"2.png": png_header(65535, 65535)},
        "PNG that says 2^31 - 1 a side": {"2.png": png_header(2**31 - 1, 2**31 - 1)},
        "PNG that says 30000 a side": {"2.png": png_header(30000, 30000)},
        "PNG that says no size": {"2.png": png_header(0, 0)},
        "PNG bomb, 24000 a side": {"2.png": png_header(24000, 24000, 1, rows=24000, level=1)},
        "PNG bomb as the first": {"0.png": png_header(24000, 24000, 1, rows=24000, level=1)},
        "JPEG that says 65500 a side": {"2.jpg": sized(65500, 65500)},
        "JPEG that says 24000 a side": {"2.jpg": sized(24000, 24000)},
        "first JPEG says 24000 a side": {"0.jpg": sized(24000, 24000)},
        "JPEG that says no size": {"2.jpg": sized(0, 0)},
        "bitmap that says 30000 a side": {
            "0.bmp": encoded(".bmp")[:18] + struct.pack("<ii", 30000, 30000) + bytes(400)
        },
        "bitmap of negative width": {
            "2.bmp": encoded(".bmp")[:18] + struct.pack("<ii", -64, -48) + bytes(400)
        },
        "portable pixmap that says 30000 a side": {"0.ppm": b"P6 30000 30000 255\n" + bytes(99)},
        "portable pixmap that says 10^30 a side": {"0.ppm": b"P6 " + b"9" * 30 + b" 9 255\n"},
        "TIFF that says 2^31 a side": {"2.tif": tiff.getvalue()},
        "PNG with alpha": {"2.png": cv2.imencode(".png", alpha)[1].tobytes()},
        "PNG of 16 bits": {"2.png": cv2.imencode(".png", deep)[1].tobytes()},
        "grey PNG": {"2.png": cv2.imencode(".png", picture(0)[..., 0])[1].tobytes()},
        "PNG of one bit": {"2.png": png_header(64, 48, 1, rows=48)},
        "floating point TIFF": {
            "2.tif": cv2.imencode(".tif", picture(0).astype(np.float32) / 255)[1].tobytes()
        },
    }


def _odd_folders() -> dict[str, Callable[[Path], Path | str]]:
    def files(names: dict[str, bytes], pattern: str = "") -> Callable[[Path], Path | str]:
        def make(folder: Path) -> Path | str:
            for name, content in names.items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(content)
            return str(folder / pattern) if pattern else folder

        return make

    def linked(folder: Path) -> Path:
        (folder / "0.png").write_bytes(encoded(".png"))
        (folder / "1.png").symlink_to(folder / "missing.png")
        (folder / "2.png").symlink_to(folder / "2.png")
        (folder / "3.png").mkdir()
        return folder

    png = encoded(".png")
    large, small = encoded(".png", width=80, height=60), encoded(".png", width=8, height=6)
    return {
        "no file": files({}),
        "no image": files({"notes.txt": b"x"}),
        "one image": files({"0.png": png}),
        "numbers with holes": files({f"{n}.png": png for n in (1, 2, 5, 900)}),
        "no numbers": files({"b.png": png, "a.png": png, "é.png": png}),
        "a number of 200 digits": files({"9" * 200 + ".png": png, "1.png": png}),
        "second is larger": files({"0.png": png, "1.png": large}),
        "last is smaller": files({"0.png": png, "1.png": png, "2.png": small}),
        "sizes turned": files({"0.png": png, "1.png": encoded(".png", width=48, height=64)}),
        "mixed kinds": files({"0.png": png, "1.jpg": encoded(".jpg"), "2.bmp": encoded(".bmp")}),
        "thumbnails beside": files(
            {"0.png": png, "1.png": png, "Thumbs.db": b"x", "._2.png": b"x"}
        ),
        "all are text": files({f"{n}.png": b"text" for n in range(4)}),
        "all are empty": files({f"{n}.jpg": b"" for n in range(4)}),
        "images one folder down": files({"in/0.png": png, "in/1.png": png}),
        "links to nothing, to itself, a folder": linked,
        "pattern that matches nothing": files({"0.png": png}, "*.jpg"),
        "pattern with an open bracket": files({"0.png": png, "1.png": png}, "[*.png"),
        "pattern of text files": files({"0.txt": b"x", "1.txt": b"x"}, "*.txt"),
    }
