"""The legend of a colour scale, drawn for one frame size and laid over every frame of a film."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from kinedepth.viewing.colour_scale import ColourScale
from kinedepth.viewing.hollowness import LEGEND as HOLLOW_WORDS
from kinedepth.viewing.hollowness import widest_hole

PANEL_OPACITY = 0.7
"""How dark the panel behind the legend is; text stays legible over white and over black."""

_SUPERSAMPLING = 4
"""Text is drawn this much larger and shrunk, which gives smooth letters at small sizes."""

_FONT = cv2.FONT_HERSHEY_SIMPLEX


@dataclass(frozen=True)
class Patch:
    """A picture with opacity and its place in the frame.

    Attributes:
        rgb: ``(h, w, 3)`` uint8.
        opacity: ``(h, w)`` float32 in 0..1.
        left, top: pixel of the frame under the patch's top left pixel.
    """

    rgb: NDArray[np.uint8]
    opacity: NDArray[np.float32]
    left: int
    top: int

    def draw_on(self, frame: NDArray[np.uint8]) -> None:
        """Blend the patch into ``frame (H, W, 3)`` uint8, in place."""
        height, width = self.opacity.shape
        under = frame[self.top : self.top + height, self.left : self.left + width]
        under[...] = cv2.blendLinear(
            self.rgb, np.ascontiguousarray(under), self.opacity, 1 - self.opacity
        )


def draw_legend(
    scale: ColourScale, width: int, height: int, *, explain_holes: bool = False
) -> Patch:
    """The legend for frames of ``width`` x ``height`` pixels, to sit at their bottom left.

    A colour bar with near at the left, and below its ends and its middle what the colours
    mean in words and figures; on narrow frames only figures, on tiny ones only at the ends.
    With ``explain_holes``, a line below says what hollow points are, where there is room.
    """
    capital = max(7, round(0.0185 * (width * height) ** 0.5))
    padding = round(0.95 * capital)
    margin = round(0.9 * capital)
    labels, length = _labels_that_fit(scale, capital, width - 2 * (margin + padding), width)

    bar = max(4, round(0.75 * capital))
    gap = round(0.75 * capital)
    descent = round(0.35 * capital)
    panel_width = min(length + 2 * padding, width)
    panel_height = padding + bar + gap + capital + descent + padding
    line = _line_about_holes(capital) if explain_holes else None
    if line is not None and line.shape[1] <= length and panel_height + 2 * capital <= height // 2:
        panel_height += 2 * capital
    else:
        line = None
    panel_height = min(panel_height, height)

    rgb = np.full((panel_height, panel_width, 3), 14, np.uint8)
    opacity = PANEL_OPACITY * rounded_rectangle(panel_width, panel_height, 0.6 * capital)

    bar_columns = slice(padding, padding + length)
    position = np.rint(np.linspace(0, len(scale.table) - 1, length)).astype(int)
    rgb[padding : padding + bar, bar_columns] = scale.table[position][: panel_width - padding]
    opacity[padding : padding + bar, bar_columns] = 1

    baseline = padding + bar + gap + capital
    for tick, mask in labels:
        column = round(padding + tick * (length - mask.shape[1]))
        stamp(rgb, opacity, mask, column, baseline - capital - (mask.shape[0] - capital) // 2)
    if line is not None:
        below = baseline + 2 * capital
        stamp(rgb, opacity, line, padding, below - capital - (line.shape[0] - capital) // 2)
    left = min(margin, width - panel_width)
    top = max(0, height - panel_height - margin)
    return Patch(rgb, opacity, left, top)


def _labels_that_fit(
    scale: ColourScale, capital: int, room: int, width: int
) -> tuple[list[tuple[float, NDArray[np.float32]]], int]:
    """``(tick position, text mask)`` of each label, and the length of the bar above them."""
    ticks = scale.ticks()
    in_full = [(tick, " ".join(filter(None, [word, figure]))) for tick, word, figure in ticks]
    if scale.by == "ratio":
        in_full[1] = (0.5, "same")  # "same ×1" would say it twice
    only_figures = [(tick, figure) for tick, _, figure in ticks]
    only_ends = [only_figures[0], only_figures[2]]
    for texts in (in_full, only_figures, only_ends):
        labels = [(tick, text_mask(text, capital)) for tick, text in texts]
        # Symmetric around the middle, so that the longer end sets the length.
        needed = 2 * max(labels[0][1].shape[1], labels[-1][1].shape[1]) + 2 * capital
        if len(labels) == 3:
            needed += labels[1][1].shape[1] + capital
        if needed <= room:
            break
    return labels, max(8, min(room, max(needed, round(0.34 * width))))


def _line_about_holes(capital: int) -> NDArray[np.float32]:
    """Coverage 0..1 of a hollow point and the words beside it."""
    words = text_mask(HOLLOW_WORDS, capital)
    radius = 0.55 * capital
    size = words.shape[0]
    place = np.arange(size) - (size - 1) / 2
    away = np.hypot(place[:, None], place)
    ring = np.clip(radius + 0.5 - away, 0, 1) * np.clip(away - widest_hole(radius) + 0.5, 0, 1)
    ring = ring[:, (size - capital) // 2 - 1 :].astype(np.float32)  # flush with the bar
    return np.concatenate([ring, words], axis=1)


def text_mask(text: str, capital: int) -> NDArray[np.float32]:
    """Coverage 0..1 of one line of text with capitals ``capital`` pixels high.

    The line is cut to its width; its height is the same for every text, with the capitals
    in the middle.
    """
    # Older OpenCV draws ASCII only, in strokes of a given width; newer has outline fonts.
    text = text.replace("×", "x")
    has_outline_fonts = hasattr(cv2, "FontFace")
    size = capital * _SUPERSAMPLING
    font_scale = size / 21.0  # capitals of this font are about 21 pixels high at scale 1
    stroke = 1 if has_outline_fonts else max(1, round(0.13 * size))
    (text_width, _), _ = cv2.getTextSize(text, _FONT, font_scale, stroke)
    canvas = np.zeros((2 * size, text_width + 4 * size), np.uint8)
    cv2.putText(canvas, text, (size, 3 * size // 2), _FONT, font_scale, 255, stroke, cv2.LINE_AA)
    used = np.flatnonzero(canvas.any(0))
    first, last = (used[0], used[-1] + 1) if used.size else (0, _SUPERSAMPLING)
    cut = canvas[:, first:last]
    small = (max(1, -(-cut.shape[1] // _SUPERSAMPLING)), 2 * capital)
    coverage = cv2.resize(cut, small, interpolation=cv2.INTER_AREA)
    return coverage.astype(np.float32) / np.float32(255)


def rounded_rectangle(width: int, height: int, radius: float) -> NDArray[np.float32]:
    """Coverage 0..1 of a rectangle that fills the array, with round corners."""
    x = np.abs(np.arange(width) - (width - 1) / 2) - (width / 2 - radius)
    y = np.abs(np.arange(height) - (height - 1) / 2) - (height / 2 - radius)
    outside = np.hypot(np.maximum(x, 0)[None], np.maximum(y, 0)[:, None])
    return np.clip(radius + 0.5 - outside, 0, 1).astype(np.float32)


def stamp(
    rgb: NDArray[np.uint8],
    opacity: NDArray[np.float32],
    mask: NDArray[np.float32],
    left: int,
    top: int,
) -> None:
    """Lay white text over a patch, cutting what does not fit."""
    left, top = max(left, 0), max(top, 0)
    rows, columns = slice(top, top + mask.shape[0]), slice(left, left + mask.shape[1])
    height, width = opacity[rows, columns].shape
    mask = mask[:height, :width]
    blended = rgb[rows, columns] * (1 - mask[..., None]) + 250 * mask[..., None]
    rgb[rows, columns] = np.rint(blended).astype(np.uint8)
    opacity[rows, columns] = np.maximum(opacity[rows, columns], mask)
