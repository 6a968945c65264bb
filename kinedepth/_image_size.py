"""The size that an encoded image says it has, read without decoding it.

A few hundred bytes can say that they are an image of gigabytes, and a decoder then asks for them.
OpenCV decodes at once, so the headers are looked at here first.
"""

from __future__ import annotations

import struct

_FRAME_HEADERS = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}
"""JPEG markers (ITU-T T.81, table B.1) of segments that begin with the size of the picture."""

_TIFF_WIDTH, _TIFF_HEIGHT = 256, 257
_TIFF_FORMATS = {3: "H", 4: "I"}
"""Types of a TIFF field that holds a size, and how they are unpacked."""


def encoded_size(content: bytes) -> tuple[int, int] | None:
    """(width, height) in pixels that the header of an image tells.

    PNG, JPEG, TIFF, BMP, WebP and portable pixmaps are known. None of anything else, and where
    the header is damaged: the decoder then has its say.
    """
    try:
        if content.startswith(b"\x89PNG\r\n\x1a\n"):
            return struct.unpack_from(">II", content, 16)
        if content.startswith(b"\xff\xd8"):
            return _jpeg_size(content)
        if content[:4] in (b"II*\0", b"MM\0*"):
            return _tiff_size(content)
        if content.startswith(b"BM"):
            width, height = struct.unpack_from("<ii", content, 18)
            return abs(width), abs(height)
        if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
            return _webp_size(content)
        if content[:2] in (b"P1", b"P2", b"P3", b"P4", b"P5", b"P6"):
            width, height = content[2:400].split()[:2]
            return int(width), int(height)
    except (struct.error, ValueError):
        pass
    return None


def _jpeg_size(content: bytes) -> tuple[int, int] | None:
    place = 2
    while place < len(content):
        if content[place] != 0xFF:
            place += 1  # Decoders skip what is between segments.
            continue
        marker = content[place + 1] if place + 1 < len(content) else 0
        if marker in _FRAME_HEADERS:
            height, width = struct.unpack_from(">HH", content, place + 5)
            return width, height
        if marker in (0xFF, 0x00, 0x01) or 0xD0 <= marker <= 0xD8:
            place += 1 if marker == 0xFF else 2  # Filling, and markers without a segment.
            continue
        (length,) = struct.unpack_from(">H", content, place + 2)
        place += 2 + length
    return None


def _tiff_size(content: bytes) -> tuple[int, int] | None:
    order = "<" if content.startswith(b"II") else ">"
    (directory,) = struct.unpack_from(f"{order}I", content, 4)
    (fields,) = struct.unpack_from(f"{order}H", content, directory)
    found = {}
    for index in range(fields):
        place = directory + 2 + 12 * index
        tag, kind = struct.unpack_from(f"{order}HH", content, place)
        if tag in (_TIFF_WIDTH, _TIFF_HEIGHT) and kind in _TIFF_FORMATS:
            (found[tag],) = struct.unpack_from(order + _TIFF_FORMATS[kind], content, place + 8)
    if len(found) < 2:
        return None
    return found[_TIFF_WIDTH], found[_TIFF_HEIGHT]


def _webp_size(content: bytes) -> tuple[int, int] | None:
    kind = content[12:16]
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", content, 26)
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", content, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8X":
        size = content[24:30]
        return int.from_bytes(size[:3], "little") + 1, int.from_bytes(size[3:6], "little") + 1
    return None
