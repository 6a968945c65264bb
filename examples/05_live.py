"""Frames pushed one by one, as a robot has them: what came closer, told in every frame.

    python examples/05_live.py CLIP.mp4

The clip stands for a camera; nothing is read ahead.
"""

import sys

import numpy as np

from kinedepth import load_video
from kinedepth.live import LiveLifter

video = load_video(sys.argv[1])
lifter = LiveLifter(points=100)
for index, block in video.blocks(1):
    state = lifter.push(block[0], float(video.times[index]))
    known = state.visible & np.isfinite(state.log_ratio)
    nearer = known & (state.log_ratio + 2 * state.log_ratio_std < 0)
    line = f"{state.time:5.2f} s: {nearer.sum():3d} of {known.sum():3d} points surely came closer"
    if nearer.any():
        most = np.argmin(np.where(nearer, state.log_ratio, 0))
        x, y = state.xy[most]
        ratio = np.exp(state.log_ratio[most])
        line += f", the one at ({x:.0f}, {y:.0f}) to {ratio:.2f} times its depth"
    print(line)
