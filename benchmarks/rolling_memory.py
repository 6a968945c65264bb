"""RollingDepth's peak memory, which must not grow with the video.

    python benchmarks/rolling_memory.py [--frames 100,1000] [--height 64] [--width 64]

Each length runs in a process of its own, with tiny networks of random weights, on a film that is
written for it; frames of depth are let go as they come. What waits for later goes to temporary
files from the size on that is given (--in-memory, in MiB; the package's own limit is larger than
these films need, so here it is lowered as much as they are smaller).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from _report import print_table, write_results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", default="100,1000")
    parser.add_argument("--height", type=int, default=64)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--in-memory", type=int, default=4)
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(memory_of(arguments.one, arguments.in_memory)))
        return
    figures: dict[str, Any] = {"size": f"{arguments.width}x{arguments.height}", "runs": {}}
    figures["in_memory_mib"] = arguments.in_memory
    with tempfile.TemporaryDirectory() as folder:
        for frames in map(int, arguments.frames.split(",")):
            film = Path(folder) / f"{frames}.mp4"
            write_film(film, frames, arguments.height, arguments.width)
            command = [sys.executable, __file__, "--one", str(film)]
            command += ["--in-memory", str(arguments.in_memory)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            figures["runs"][frames] = json.loads(done.stdout.splitlines()[-1])
            print_table(
                f"preset fast, {figures['size']}, tiny networks",
                ["frames", "peak MiB", "of it before the run"],
                [
                    [str(count), f"{run['peak_mib']:.0f}", f"{run['before_mib']:.0f}"]
                    for count, run in figures["runs"].items()
                ],
            )
    print(f"Wrote {write_results('rolling_memory', figures)}")


def memory_of(film: Path, in_memory: int) -> dict[str, float]:
    """Peak memory in MiB of one run in this process, and before it."""
    import torch
    from rolling_calls import make_components

    from kinedepth.dense.rolling_depth import scratch, video_run
    from kinedepth.dense.rolling_depth.config import RollingDepthSettings
    from kinedepth.dense.rolling_depth.depth_model import RollingDepthModel
    from kinedepth.exporting.summary import peak_memory
    from kinedepth.video import load_video

    torch.set_num_threads(1)

    class Scratch(scratch.ScratchArrays):
        """With less room in memory."""

        def __init__(self, count: int, shape: tuple[int, ...]) -> None:
            super().__init__(count, shape, largest_in_memory=in_memory * 2**20)

    video_run.ScratchArrays = Scratch  # type: ignore[misc]
    parts = make_components("tiny", torch.device("cpu"), torch.float32)
    model = RollingDepthModel(parts, RollingDepthSettings(resolution=0))
    before = peak_memory()
    for _ in model.predict(load_video(film)):
        pass
    return {"peak_mib": peak_memory(), "before_mib": before}


def write_film(path: Path, frames: int, height: int, width: int) -> None:
    """Waves that drift."""
    from kinedepth.exporting.video_writer import VideoWriter

    y, x = np.ogrid[:height, :width]
    with VideoWriter(path, width, height, 25.0) as writer:
        for index in range(frames):
            wave = 127 + 60 * np.sin(x / 9 + index / 5) * np.cos(y / 7 - index / 9)
            writer.write(np.repeat(wave[..., None], 3, axis=-1).astype(np.uint8))


if __name__ == "__main__":
    main()
