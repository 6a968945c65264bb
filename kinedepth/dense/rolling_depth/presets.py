"""The published presets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from kinedepth.dense.rolling_depth.config import RollingDepthSettings
from kinedepth.errors import KinedepthError

PRESETS: dict[str, RollingDepthSettings] = {
    "fast": RollingDepthSettings(),
    "fast1024": RollingDepthSettings(resolution=1024),
    "full": RollingDepthSettings(resolution=1024, dilations=(1, 10, 25), refine_steps=10),
    "paper": RollingDepthSettings(
        dilations=(1, 10, 25), cap_dilations=False, refine_steps=10, precision="float32"
    ),
}
"""As published, but for the solver, which reaches the same minimum sooner."""


def find_settings(preset: str = "fast", **changes: Any) -> RollingDepthSettings:
    """The settings of a preset, with some of them changed.

    Raises:
        KinedepthError: if there is no such preset, or a value makes no sense.
    """
    if preset not in PRESETS:
        raise KinedepthError(f"Unknown preset '{preset}'; choose one of: {', '.join(PRESETS)}.")
    return replace(PRESETS[preset], **changes)
