"""Depth from moving points while the video is still being taken.

:class:`kinedepth.live.lifter.LiveLifter` takes frames and gives states; it knows no camera. Around
it: sources of frames, a queue that drops frames rather than fall behind, and outputs.
"""

from __future__ import annotations

from kinedepth.live.lifter import LiveLifter, LiveSettings, LiveState

__all__ = ["LiveLifter", "LiveSettings", "LiveState"]
