"""What several commands read from their options."""

from __future__ import annotations

from kinedepth.errors import KinedepthError


def parse_intrinsics(text: str | None) -> tuple[float, float, float, float] | None:
    """``fx,fy,cx,cy`` as numbers; None for None."""
    if text is None:
        return None
    try:
        fx, fy, cx, cy = (float(part) for part in text.split(","))
    except ValueError:
        raise KinedepthError(
            f"--intrinsics takes four numbers, fx,fy,cx,cy in pixels; got {text!r}."
        ) from None
    return fx, fy, cx, cy


def parse_size(text: str) -> tuple[int, int]:
    """Width and height of "640x360"."""
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise KinedepthError(f"--size takes width x height, e.g. 640x360; got {text!r}.")
    return int(width), int(height)


def parse_whole_numbers(option: str, text: str, example: str) -> list[int]:
    """Numbers from "1,10,25"; ``option`` and ``example`` are for the sentence."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise KinedepthError(
            f"{option} takes whole numbers with commas between, e.g. {example}; got {text!r}."
        )
    return [int(part) for part in parts]
