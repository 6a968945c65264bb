"""Damaged and odd video files."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from damaged.case import Case, Cases, cut_and_flipped, written
from damaged.clips import CONTAINERS, FRAMES, clip, picture, sound, whole, y4m

_SHARES = (0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99)
_HEADER = "YUV4MPEG2 W64 H48 F25:1 Ip A1:1 C420jpeg"


def video_cases() -> Cases:
    """Every video file of the corpus."""
    for name in CONTAINERS:
        yield from cut_and_flipped("video", "video", name, lambda name=name: whole(name), _SHARES)  # type: ignore[misc]
    for family, made in (
        ("video: wrong header or name", _wrong_headers()),
        ("video: empty stream or file", _empty()),
        ("video: absurd size", _absurd_sizes()),
        ("video: absurd rate or time", _absurd_times()),
        ("video: size changes midway", _changing_sizes()),
        ("video: alpha, 10 bit, grey", _pixel_formats()),
        ("video: rotated", _rotated()),
        ("video: variable rate", _variable_rates()),
    ):
        for name, make in made.items():
            yield Case(family, name, "video", make)


Makers = dict[str, Callable[[Path], Path | str]]


def patched(content: bytes, marker: bytes, offset: int, code: str, *values: int) -> bytes:
    """``content`` with numbers packed ``offset`` bytes after where ``marker`` begins."""
    data = bytearray(content)
    struct.pack_into(code, data, data.index(marker) + offset, *values)
    return bytes(data)


def _wrong_headers() -> Makers:
    _, image = cv2.imencode(".png", picture(0))
    still = image.tobytes()
    mp4 = whole("late.mp4")

    def playlist(name: str, text: str) -> Callable[[Path], Path]:
        """A playlist beside the clip that it names."""

        def make(folder: Path) -> Path:
            (folder / "part.ts").write_bytes(whole("clip.ts"))
            (folder / name).write_text(text)
            return folder / name

        return make

    live = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:0.5,\n"
    return {
        "text named .mp4": written("a.mp4", b"Not a video.\n" * 40),
        "web page named .mp4": written("a.mp4", b"<!doctype html><title>404</title>" * 20),
        "image named .mp4": written("a.mp4", still),
        "zip named .mp4": written("a.mp4", b"PK\x03\x04" + bytes(400)),
        "mp4 named .avi": written("a.avi", mp4),
        "mkv named .mp4": written("a.mp4", whole("clip.mkv")),
        "gif named .mov": written("a.mov", whole("clip.gif")),
        "mp4 without a suffix": written("clip", mp4),
        "mp4 named .npz": written("a.npz", mp4),
        "noise named .mkv": written("a.mkv", _noise(5000)),
        "noise named .mp4": written("a.mp4", _noise(70000)),
        "noise before an mp4": written("a.mp4", _noise(300) + mp4),
        "noise after an mp4": written("a.mp4", mp4 + _noise(3000)),
        "only the file type box": written("a.mp4", mp4[:32]),
        "Matroska magic and nothing": written("a.mkv", bytes.fromhex("1a45dfa3") + bytes(60)),
        "unknown codec": written("a.mp4", mp4.replace(b"avc1", b"zzzz")),
        "another codec's name": written("a.mp4", mp4.replace(b"avc1", b"mp4v")),
        "sound only": written("a.mp4", sound()),
        "playlist without an end": playlist("a.m3u8", live + "part.ts\n"),
        "playlist of itself": playlist("a.m3u8", live + "a.m3u8\n#EXT-X-ENDLIST\n"),
        "playlist of a network address": playlist(
            "a.m3u8", live + "http://192.0.2.1/x.ts\n#EXT-X-ENDLIST\n"
        ),
        "playlist named .mp4": playlist("a.mp4", live + "part.ts\n"),
        "concatenation of a file elsewhere": playlist(
            "a.ffconcat", "ffconcat version 1.0\nfile /etc/hostname\n"
        ),
        "concatenation of itself": playlist(
            "a.ffconcat", "ffconcat version 1.0\nfile a.ffconcat\n"
        ),
        "session description of a network stream": playlist(
            "a.sdp",
            "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
            "m=video 50004 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
        ),
    }


def _noise(size: int) -> bytes:
    return np.random.default_rng(7).bytes(size)


def _empty() -> Makers:
    mp4 = whole("early.mp4")
    body = mp4.index(b"mdat") - 4
    return {
        "file of zero bytes": written("a.mp4", b""),
        "file of one byte": written("a.mkv", b"\x1a"),
        "file of zeros": written("a.mp4", bytes(100_000)),
        "mp4 without frames": written("a.mp4", patched(mp4, b"stsz", 12, ">I", 0)),
        "mp4 without its data": written("a.mp4", mp4[:body] + struct.pack(">I", 8) + b"mdat"),
        "mp4 whose data are zeros": written("a.mp4", mp4[: body + 8] + bytes(len(mp4) - body - 8)),
        "y4m without frames": written("a.y4m", _HEADER.encode() + b"\n"),
        "y4m of one frame": written("a.y4m", y4m(_HEADER, 1)),
        "mkv of one frame": written("a.mkv", clip("matroska", count=1)),
        "gif of one frame": written("a.gif", clip("gif", "gif", "rgb8", count=1)),
        "transport stream of padding": written("a.ts", (b"\x47\x1f\xff\x10" + b"\xff" * 184) * 200),
    }


def _absurd_sizes() -> Makers:
    gif, motion = whole("clip.gif"), whole("motion.avi")
    cases: Makers = {
        f"gif of {side} a side": written("a.gif", patched(gif, b"GIF89a", 6, "<HH", side, side))
        for side in (0, 16000, 65535)
    }
    jpeg = motion.index(b"\xff\xc0")
    for side in (0, 16000, 65500):
        data = bytearray(motion)
        while jpeg >= 0:
            struct.pack_into(">HH", data, jpeg + 5, side, side)
            jpeg = motion.find(b"\xff\xc0", jpeg + 1)
        jpeg = motion.index(b"\xff\xc0")
        cases[f"motion JPEG of {side} a side"] = written("a.avi", bytes(data))
    for size in ("W0 H0", "W-5 H48", "W16000 H16000", "W100000 H100000", "W2147483647 H2"):
        cases[f"y4m of {size}"] = written("a.y4m", y4m(_HEADER.replace("W64 H48", size)))
    for aspect in ("1000000:1", "1:1000000", "0:0", "-4:3"):
        cases[f"y4m of pixel aspect {aspect}"] = written(
            "a.y4m", y4m(_HEADER.replace("A1:1", f"A{aspect}"))
        )
    mkv = clip("matroska", "ffv1")
    cases |= {
        "mp4 whose track header says 60000": written(
            "a.mp4", patched(whole("late.mp4"), b"avc1", 28, ">HH", 60000, 60000)
        ),
        "avi whose header says 2^30": written(
            "a.avi", patched(motion, b"strf", 12, "<ii", 2**30, 2**30)
        ),
        "avi of negative height": written("a.avi", patched(motion, b"strf", 12, "<ii", 64, -48)),
        "two pixels wide": written("a.mkv", clip("matroska", "ffv1", size=(2, 2))),
        "one pixel": written("a.mkv", clip("matroska", "ffv1", "gray", size=(1, 1))),
        "very wide": written("a.mkv", clip("matroska", "ffv1", size=(16000, 2), count=3)),
        "all white space in the codec's private data": written(
            "a.mkv", mkv.replace(b"V_FFV1", b"V_    ")
        ),
        "16384 by 8192, decodable": written("a.mjpeg", lambda: 2 * _large_jpeg()),
    }
    return cases


def _large_jpeg() -> bytes:
    return cv2.imencode(".jpg", np.zeros((8192, 16384), np.uint8))[1].tobytes()


def _absurd_times() -> Makers:
    cases: Makers = {
        f"y4m of rate {rate}": written("a.y4m", y4m(_HEADER.replace("F25:1", f"F{rate}")))
        for rate in ("0:0", "0:1", "1:0", "1:1000000000", "2147483647:1", "-25:1", "abc")
    }
    mp4 = whole("late.mp4")
    for scale in (0, 1, 2**31 - 1, 2**32 - 1):
        cases[f"mp4 of time scale {scale}"] = written(
            "a.mp4", patched(mp4, b"mdhd", 16, ">I", scale)
        )
    for delta in (0, 1, 2**31 - 1, 2**32 - 1):
        cases[f"mp4 of sample duration {delta}"] = written(
            "a.mp4", patched(mp4, b"stts", 16, ">I", delta)
        )
    for count in (0, 2**31 - 1):
        cases[f"mp4 that says {count} frames"] = written(
            "a.mp4", patched(mp4, b"stsz", 12, ">I", count)
        )
    avi = whole("clip.avi")
    for rate in (0, 1, 2**31 - 1):
        cases[f"avi of rate {rate}"] = written("a.avi", patched(avi, b"strh", 32, "<I", rate))
    return cases


def _changing_sizes() -> Makers:
    sizes = ((64, 48), (128, 96), (16, 16), (48, 64), (640, 480))
    jpegs = [cv2.imencode(".jpg", picture(n, *size))[1].tobytes() for n, size in enumerate(sizes)]
    cases: Makers = {
        "motion JPEG of five sizes": written("a.mjpeg", b"".join(3 * jpegs)),
        "motion JPEG that turns grey": written("a.mjpeg", b"".join(jpegs[:1] * 4) + _grey_jpeg()),
        "motion JPEG of one and then 6000 a side": written(
            "a.mjpeg",
            jpegs[0] * 3
            + cv2.imencode(".jpg", np.zeros((6000, 6000), np.uint8))[1].tobytes()
            + jpegs[0] * 3,
        ),
    }
    for form, codec, suffix in (
        ("h264", "libx264", "h264"),
        ("mpegts", "libx264", "ts"),
        ("mpeg", "mpeg2video", "mpg"),
    ):
        for size in ((128, 96), (16, 16), (48, 64)):
            joined = clip(form, codec) + clip(form, codec, size=size)
            cases[f"{suffix} that becomes {size[0]}x{size[1]}"] = written(f"a.{suffix}", joined)
    mixed = clip("h264") + clip("h264", pixels="yuv444p")
    return cases | {"h264 that changes its pixel format": written("a.h264", mixed)}


def _grey_jpeg() -> bytes:
    return cv2.imencode(".jpg", picture(0)[..., 0])[1].tobytes() * 4


def _pixel_formats() -> Makers:
    kinds = (
        ("mov", "qtrle", "argb"),
        ("mov", "png", "rgba"),
        ("mov", "prores_ks", "yuva444p10le"),
        ("matroska", "ffv1", "yuva420p"),
        ("webm", "libvpx-vp9", "yuva420p"),
        ("matroska", "ffv1", "yuv420p10le"),
        ("matroska", "ffv1", "gray"),
        ("matroska", "ffv1", "gray16le"),
        ("matroska", "ffv1", "gray10le"),
        ("mov", "png", "monob"),
        ("matroska", "libx265", "yuv420p10le"),
        ("mp4", "libx265", "gray"),
        ("mp4", "libx264", "gray"),
        ("mov", "prores_ks", "yuv422p10le"),
        ("avi", "huffyuv", "yuv422p"),
    )
    return {
        f"{codec} {pixels}": written(f"a.{form}", lambda k=(form, codec, pixels): clip(*k))
        for form, codec, pixels in kinds
    }


def _rotated() -> Makers:
    cases: Makers = {
        f"by {degrees} degrees{', mirrored' if mirrored else ''}": written(
            "a.mp4", clip(turn=(degrees, mirrored, False))
        )
        for degrees in (90, 180, 270, 45, -30)
        for mirrored in (False, True)
    }
    turned = clip(turn=(90, False, False))
    matrix = turned.index(b"tkhd") + 44
    for name, filling in (("zeros", 0), ("all ones", 255)):
        damaged = turned[:matrix] + bytes([filling]) * 36 + turned[matrix + 36 :]
        cases[f"by a matrix of {name}"] = written("a.mp4", damaged)
    return cases


def _variable_rates() -> Makers:
    stamps = {
        "uneven": (0, 1, 2, 7, 9, 30, 31, 80, 81, 82, 90, 91, 200, 201),
        "an hour's gap": (0, 4, 8, 12, 16, 20, 24, *(360_000 + 4 * n for n in range(7))),
        "a day's gap": (0, 4, 8, 12, 16, 20, 24, *(8_640_000 + 4 * n for n in range(7))),
        "starts after a day": tuple(8_640_000 + 4 * n for n in range(FRAMES)),
        "starts before zero": tuple(4 * n - 20 for n in range(FRAMES)),
    }
    return {
        f"{form}, {name}": written(f"a.{form}", lambda f=form, s=times: clip(f, pts=s))
        for form in ("mp4", "matroska")
        for name, times in stamps.items()
    }
