"""How fast is each format of dense depth written, how large is it, and does memory stay flat?

    python benchmarks/depth_output_speed.py [--lengths 100,400]

Depth and frames are a rendered 640x360 clip's, played forwards and backwards. Each format and
length runs in a process of its own, so that its peak memory is its own. Frames are counted per
second of processor time on one core, which other work on the machine disturbs less than the
clock; compare them with each other, not across machines.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from _report import print_table, write_results

CLIP_SEED = 4242
CLIP_FRAMES = 24
CASES: dict[str, dict[str, Any]] = {
    "npz": {"formats": ["npz"]},
    "png16": {"formats": ["png16"]},
    "exr": {"formats": ["exr"]},
    "mp4": {"formats": ["mp4"]},
    "mp4, side by side": {"formats": ["mp4"], "side_by_side": True},
    "stereo, side by side": {"formats": [], "layout": "side-by-side"},
    "stereo, anaglyph": {"formats": [], "layout": "anaglyph"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lengths", default="100,400")
    parser.add_argument("--clips-folder", type=Path, default=Path("runs/benchmark_depth"))
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        case, length = arguments.one
        print(json.dumps(write_one(CASES[case], int(length), arguments.clips_folder)))
        return

    from kinedepth.synthesis.clip_files import write_clips

    write_clips(arguments.clips_folder, 1, frames=CLIP_FRAMES, seed=CLIP_SEED)
    figures: dict[str, dict[str, dict[str, float]]] = {}
    alone = {**os.environ, "OMP_NUM_THREADS": "1"}
    for case in CASES:
        figures[case] = {}
        for length in arguments.lengths.split(","):
            command = [sys.executable, __file__, *sys.argv[1:], "--one", case, length]
            done = subprocess.run(command, capture_output=True, text=True, check=True, env=alone)
            figures[case][length] = json.loads(done.stdout.splitlines()[-1])
    show(figures)
    print("written:", write_results("depth_output_speed", figures).name)


def write_one(case: dict[str, Any], length: int, clips: Path) -> dict[str, float]:
    """Write ``length`` frames in this process."""
    import time

    import cv2

    from kinedepth.exporting.depth_colours import measure_ranges
    from kinedepth.exporting.depth_outputs import DepthOutputs
    from kinedepth.exporting.stereo import StereoSettings
    from kinedepth.exporting.summary import peak_memory
    from kinedepth.synthesis.clip_files import read_clip_depth
    from kinedepth.video import load_video

    cv2.setNumThreads(1)
    video = load_video(clips / "clip0000.mp4")
    frames = [frame for _, block in video.blocks() for frame in block]
    depth = read_clip_depth(clips / "clip0000_depth.npz")
    ranges = measure_ranges(depth, "metric")
    stereo = StereoSettings(case["layout"]) if "layout" in case else None
    period = 2 * (CLIP_FRAMES - 1)
    with tempfile.TemporaryDirectory() as folder:
        began = time.process_time()
        with DepthOutputs(
            folder,
            case["formats"],
            width=video.width,
            height=video.height,
            fps=video.fps,
            frames=length,
            kind="metric",
            value_range=ranges.value,
            shown_range=ranges.shown,
            side_by_side=case.get("side_by_side", False),
            stereo=stereo,
        ) as outputs:
            for index in range(length):
                place = index % period
                place = place if place < CLIP_FRAMES else period - place
                outputs.write(index, frames[place], depth[place])
        seconds = time.process_time() - began
        size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
    return {
        "frames_per_processor_second": length / seconds,
        "kilobytes_per_frame": size / length / 1000,
        "peak_mib": peak_memory() or float("nan"),
    }


def show(figures: dict[str, dict[str, dict[str, float]]]) -> None:
    lengths = list(next(iter(figures.values())))
    longest = lengths[-1]
    rows = [
        [
            case,
            f"{found[longest]['frames_per_processor_second']:.0f}",
            f"{found[longest]['kilobytes_per_frame']:.0f}",
            *(f"{found[length]['peak_mib']:.0f}" for length in lengths),
        ]
        for case, found in figures.items()
    ]
    columns = ["640x360", "frames / processor s", "kB / frame"]
    columns += [f"MiB, {length} frames" for length in lengths]
    print_table("Writing dense depth", columns, rows)


if __name__ == "__main__":
    main()
