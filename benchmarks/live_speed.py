"""How many frames a second does a live run show, and how late?

    python benchmarks/live_speed.py [--rates 5,10,15] [--seconds 20] [--points 100]

A rendered 640x360 clip, played forwards and backwards, is written as raw frames into the command's
standard input at its own pace, and the overlay is read as raw frames from its standard output. So
latency is taken outside of the command: from a frame's last byte going in to its overlay's last
byte coming out. Processor time is that of the command between its first and last frame.
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from _report import print_table, write_results
from lift_speed import CLIP_SEED

WIDTH, HEIGHT = 640, 360
WINDOW = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rates", default="5,10,15", help="frames a second that are fed")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--points", type=int, default=100)
    parser.add_argument("--clips-folder", type=Path, default=Path("runs/benchmark_clips"))
    arguments = parser.parse_args()
    frames = to_and_fro(arguments.clips_folder)
    figures = {}
    for rate in (float(part) for part in arguments.rates.split(",")):
        figures[f"{rate:g}"] = run(frames, rate, arguments.seconds, arguments.points)
    show(figures)
    print("written:", write_results("live_speed", figures).name)


def to_and_fro(folder: Path) -> list[bytes]:
    """The clip's frames as raw bytes, forwards and backwards."""
    from kinedepth.synthesis.clip_files import write_clips
    from kinedepth.video import load_video

    write_clips(folder, 1, frames=48, seed=CLIP_SEED, tracks=512)
    video = load_video(folder / "clip0000.mp4")
    frames = [frame.tobytes() for _, block in video.blocks() for frame in block]
    return frames + frames[-2:0:-1]


def run(frames: list[bytes], rate: float, seconds: float, points: int) -> dict[str, float]:
    """Feed frames for some seconds; what came out."""
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "tracks.csv"
        command = [sys.executable, "-m", "kinedepth", "live", "--source", "pipe:"]
        command += ["--size", f"{WIDTH}x{HEIGHT}", "--rate", str(rate), "--points", str(points)]
        command += ["-o", "pipe:raw", "--tracks", str(table)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with subprocess.Popen(command, **pipes) as process:
            sent: list[float] = []
            enough = threading.Event()
            feeder = threading.Thread(target=feed, args=(process, frames, rate, sent, enough))
            feeder.start()
            came: list[float] = []
            spent: list[float] = []
            while len(process.stdout.read(WIDTH * HEIGHT * 3)) == WIDTH * HEIGHT * 3:
                came.append(time.monotonic())
                spent.append(processor_seconds(process.pid))
                if came[-1] - came[0] > seconds:
                    enough.set()
            feeder.join()
            told = process.stderr.read().decode()
        if process.returncode:
            sys.exit(told)
        with table.open() as file:
            index = sorted({int(row["frame"]) for row in csv.DictReader(file)})
    late = np.array(came) - np.array(sent)[index]
    span, shown = came[-1] - came[0], len(came)
    return {
        # Those that came while the command was starting were never due.
        "fed_frames": len(sent) - index[0],
        "shown_frames": shown,
        "shown_a_second": (shown - 1) / span,
        "latency_median_s": float(np.median(late)),
        "latency_95_s": float(np.percentile(late, 95)),
        "latency_largest_s": float(late.max()),
        "two_windows_s": 2 * WINDOW * span / (shown - 1),
        "processor_s_a_frame": (spent[-1] - spent[0]) / (shown - 1),
        "load_average": os.getloadavg()[0],
    }


def feed(
    process, frames: list[bytes], rate: float, sent: list[float], enough: threading.Event
) -> None:
    """Write frames at their pace until it is enough, and note when each has gone in."""
    began = time.monotonic()
    while not enough.is_set():
        index = len(sent)
        time.sleep(max(0.0, began + index / rate - time.monotonic()))
        process.stdin.write(frames[index % len(frames)])
        process.stdin.flush()
        sent.append(time.monotonic())
    process.stdin.close()


def processor_seconds(pid: int) -> float:
    """User and system time that a process has spent (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def show(figures: dict[str, dict[str, float]]) -> None:
    rows = [
        [
            f"{rate} fed",
            f"{f['shown_a_second']:.1f}",
            f"{f['fed_frames'] - f['shown_frames']:.0f}",
            f"{1000 * f['latency_median_s']:.0f}",
            f"{1000 * f['latency_95_s']:.0f}",
            f"{1000 * f['latency_largest_s']:.0f}",
            f"{1000 * f['two_windows_s']:.0f}",
            f"{1000 * f['processor_s_a_frame']:.0f}",
            f"{f['load_average']:.1f}",
        ]
        for rate, f in figures.items()
    ]
    columns = ["frames/s", "shown/s", "dropped", "median, ms", "95 %", "largest"]
    columns += ["two windows", "processor ms a frame", "load"]
    print_table("kinedepth live at 640x360, pipe to pipe", columns, rows)


if __name__ == "__main__":
    main()
