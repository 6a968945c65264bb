"""How long does a lift take, stage by stage, and how much memory, as the video gets longer?

    python benchmarks/lift_speed.py [--lengths 48,100,1000] [--queries 16] [--model small]

The video is a rendered 640x360 clip played forwards and backwards until it is long enough. Each
length runs in a process of its own, so that its peak memory is its own. Timings are one run's;
compare them with each other, not across machines.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from _report import print_table, write_results

CLIP_SEED = 4242
STAGES = ("tracking", "seurat", "joining", "rigid groups")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lengths", default="48,100,1000")
    parser.add_argument("--queries", type=int, default=16, help="points a side")
    parser.add_argument("--model", default="small")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--clips-folder", type=Path, default=Path("runs/benchmark_clips"))
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(lift_one(arguments)))
        return

    from kinedepth.synthesis.clip_files import write_clips

    write_clips(arguments.clips_folder, 1, frames=48, seed=CLIP_SEED, tracks=512)
    source = arguments.clips_folder / "clip0000.mp4"
    figures = {}
    for length in (int(part) for part in arguments.lengths.split(",")):
        video = arguments.clips_folder / f"to_and_fro_{length}.mp4"
        if not video.exists():
            play_to_and_fro(source, video, length)
        command = [sys.executable, __file__, *sys.argv[1:], "--one", str(video)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        figures[length] = json.loads(done.stdout.splitlines()[-1])
    show(figures)
    print("written:", write_results("lift_speed", figures).name)


def play_to_and_fro(source: Path, target: Path, length: int) -> None:
    """Write ``length`` frames of ``source`` played forwards, backwards, forwards, ..."""
    from kinedepth.exporting.video_writer import VideoWriter
    from kinedepth.video import load_video

    video = load_video(source)
    frames = [frame for _, block in video.blocks() for frame in block]
    period = 2 * (len(frames) - 1)
    with VideoWriter(target, video.width, video.height, video.fps) as writer:
        for index in range(length):
            place = index % period
            writer.write(frames[place if place < len(frames) else period - place])


def lift_one(arguments: argparse.Namespace) -> dict[str, float]:
    """Lift one video in this process; seconds for each stage, and peak memory in MiB."""
    import time

    from kinedepth.exporting.summary import peak_memory
    from kinedepth.lifting import lift
    from kinedepth.tracks import grid

    began = time.perf_counter()
    lifted = lift(
        arguments.one, grid(arguments.queries), model=arguments.model, device=arguments.device
    )
    return {
        **lifted.seconds,
        "total": time.perf_counter() - began,
        "peak_memory_mib": peak_memory(),
    }


def show(figures: dict[int, dict[str, float]]) -> None:
    rows = [
        [
            str(length),
            *(f"{f[stage]:.1f}" for stage in STAGES),
            f"{f['total']:.1f}",
            f"{1000 * f['total'] / length:.0f}",
            f"{f['peak_memory_mib']:.0f}",
        ]
        for length, f in figures.items()
    ]
    columns = ["frames", *(f"{s}, s" for s in STAGES), "total, s", "ms a frame", "peak MiB"]
    print_table("lift at 640x360, fused", columns, rows)


if __name__ == "__main__":
    main()
