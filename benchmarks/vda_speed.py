"""Video Depth Anything: how much less work than the published schedule, how much memory, how late?

    python benchmarks/vda_speed.py throughput [--runs vits:140:33,vits:140:66,vitl:70:66]
    python benchmarks/vda_speed.py memory [--runs vits:112:200,vits:112:2000,vits:518:70]
    python benchmarks/vda_speed.py latency [--frames 5000]
    python benchmarks/vda_speed.py frame --device cuda [--sizes vits,vitb,vitl]

A run is SIZE:INPUT_SIZE:FRAMES. Weights are random: time and memory do not depend on them.

- throughput: whole runs over one video, ours and the published schedule (features not kept, every
  window prepared and encoded again, all slots finished) one after the other, and the largest
  difference of their depth. On a CPU, seconds are those the processor spent in one thread, which
  other work on the machine does not count into.
- memory: peak of a process of its own that reads a 720p film made for it, and lets each frame
  of depth go.
- latency: of the streams, frame by frame, with a tiny network.
- frame: milliseconds for a 518x518 frame in windows of 32, beside the time that the arithmetic
  would take at the rate of a large matrix product on the same device.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from _report import print_table, write_results

THROUGHPUT_RUNS = "vits:140:33,vits:140:66,vitl:70:33,vitl:70:66,vits:84:500,vitl:42:500"
MEMORY_RUNS = "vits:112:200,vits:112:2000,vits:518:70"
FRAMES_OF_FILM = 720, 1280
TINY = {"width": 32, "depth": 4, "heads": 2, "taps": (0, 1, 2, 3), "head_features": 64}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("question", choices=QUESTIONS)
    parser.add_argument("--sizes", default=None)
    parser.add_argument("--input-size", type=int, default=None)
    parser.add_argument("--runs", default=None)
    parser.add_argument("--frames", type=int, default=5000)
    parser.add_argument("--precisions", default="float32,bfloat16,float16")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--no-write", action="store_true", help="only print")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    figures = QUESTIONS[arguments.question](arguments)
    if figures is not None and not arguments.no_write:
        print("written:", write_results(f"vda_{arguments.question}", figures).name)


def throughput(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Ours beside the published schedule, in one run."""
    from kinedepth.dense.video_depth_anything.inference import WindowedInference, estimate_depth
    from kinedepth.video import Video

    figures: list[dict[str, Any]] = []
    for run in (arguments.runs or THROUGHPUT_RUNS).split(","):
        size, input_size, length = run.split(":")
        network, video = (
            random_network(size, arguments.device),
            Video.from_array(noise(int(length))),
        )
        estimate_depth(network, Video.from_array(noise(2)), WindowedInference(input_size=28))
        seconds, depth = {}, {}
        for name, published in (("published", True), ("ours", False)):
            settings = WindowedInference(input_size=int(input_size), as_published=published)
            began = clock(arguments.device)
            depth[name] = estimate_depth(network, video, settings).depth
            seconds[name] = clock(arguments.device) - began
        error = np.abs(depth["ours"] - depth["published"]).max()
        figures.append(
            {
                "run": run,
                "frames": int(length),
                **seconds,
                "ratio": seconds["published"] / seconds["ours"],
                "relative_difference": float(error / np.abs(depth["published"]).max()),
            }
        )
        show_throughput(figures)
        if not arguments.no_write:
            write_results("vda_throughput", figures)  # The next run may take an hour.
    return figures


def show_throughput(figures: list[dict[str, Any]]) -> None:
    rows = [
        [
            f["run"],
            f"{1000 * f['published'] / f['frames']:.0f}",
            f"{1000 * f['ours'] / f['frames']:.0f}",
            f"{f['ratio']:.2f}",
            f"{f['relative_difference']:.1e}",
        ]
        for f in figures
    ]
    columns = ["size:short side:frames", "published, ms a frame", "ours, ms a frame", "ratio"]
    print_table("throughput", [*columns, "largest difference"], rows)


def memory(arguments: argparse.Namespace) -> dict[str, Any] | None:
    """Peak memory of runs of several lengths, each in a process of its own."""
    if arguments.one:
        print(json.dumps(memory_of_one(arguments.one, arguments.device)))
        return None
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        for run in (arguments.runs or MEMORY_RUNS).split(","):
            length = int(run.split(":")[2])
            film = Path(folder) / f"{length}.mp4"
            if not film.exists():
                write_film(film, length)
            command = [sys.executable, __file__, "memory", "--device", arguments.device]
            command += ["--one", f"{run}:{film}"]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            figures[run] = json.loads(done.stdout.splitlines()[-1])
            rows = [
                [run, f"{f['peak_memory_mib']:.0f}", f"{f['before_mib']:.0f}"]
                for run, f in figures.items()
            ]
            columns = ["size:short side:frames, 720p", "peak MiB", "of it before the run"]
            print_table("memory", columns, rows)
    return figures


def memory_of_one(run: str, device: str) -> dict[str, float]:
    """Peak memory in MiB of one run in this process."""
    from kinedepth.dense.video_depth_anything.depth_model import VideoDepthAnythingModel
    from kinedepth.exporting.summary import peak_memory
    from kinedepth.video import load_video

    size, input_size, _, film = run.split(":", 3)
    network, video = random_network(size, device), load_video(film)
    before = peak_memory()
    model = VideoDepthAnythingModel(network, name=size, input_size=int(input_size))
    for _ in model.predict(video):
        pass
    return {"peak_memory_mib": peak_memory(), "before_mib": before}


def latency(arguments: argparse.Namespace) -> dict[str, Any]:
    """Milliseconds a frame of the streams, from the first frames to the last."""
    from kinedepth.dense.video_depth_anything.aligned_streaming import AlignedDepthStream
    from kinedepth.dense.video_depth_anything.streaming import DepthStream

    network = random_network("tiny", arguments.device)
    height, width = 96, 128
    frames = noise(64, height, width)
    figures = {}
    for name, kind in (("published", DepthStream), ("aligned", AlignedDepthStream)):
        stream = kind(network, height, width, input_size=arguments.input_size or 56)
        spent = []
        for index in range(arguments.frames):
            began = clock(arguments.device)
            stream.push(frames[index % len(frames)])
            spent.append(1000 * (clock(arguments.device) - began))
        bounds = [b for b in (50, 500, 1000, 2500, 5000) if b <= arguments.frames]
        figures[name] = {
            f"{start} to {stop}": float(np.median(spent[start:stop]))
            for start, stop in itertools.pairwise(bounds)
        }
    rows = [[name, *(f"{v:.1f}" for v in f.values())] for name, f in figures.items()]
    print_table("latency, median ms", ["stream \\ frames", *figures["aligned"]], rows)
    return figures


def frame(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Milliseconds a frame by size and precision, beside the arithmetic."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from kinedepth.dense.video_depth_anything.config import TEMPORAL_LENGTH
    from kinedepth.dense.video_depth_anything.precision import autocast

    side = arguments.input_size or 518
    device, figures = torch.device(arguments.device), []
    for size in (arguments.sizes or "vits,vitb,vitl").split(","):
        network = random_network(size, arguments.device)
        frames = torch.zeros(1, TEMPORAL_LENGTH, 3, side, side, device=device)
        for precision in arguments.precisions.split(","):
            with torch.inference_mode(), autocast(device, precision)():
                with FlopCounterMode(display=False) as counter:
                    network(frames)
                operations = counter.get_total_flops() / TEMPORAL_LENGTH
                spent = seconds_of(lambda f=frames, n=network: n(f), device) / TEMPORAL_LENGTH
            rate = matrix_rate(getattr(torch, precision), device)
            figures.append(
                {
                    "size": size,
                    "precision": precision,
                    "ms": 1000 * spent,
                    "gigaflop": operations / 1e9,
                    "matrix_teraflop_a_second": rate / 1e12,
                    "ms_of_arithmetic": 1000 * operations / rate,
                }
            )
            rows = [
                [
                    f"{f['size']}, {f['precision']}",
                    f"{f['ms']:.2f}",
                    f"{f['ms_of_arithmetic']:.2f}",
                    f"{f['gigaflop']:.1f}",
                    f"{f['matrix_teraflop_a_second']:.3f}",
                ]
                for f in figures
            ]
            columns = [f"{side}x{side}", "ms a frame", "arithmetic, ms", "GFLOP", "TFLOP/s"]
            print_table("a frame in windows of 32", columns, rows)
    return figures


def matrix_rate(kind: Any, device: Any) -> float:
    """Operations a second of a large matrix product."""
    import torch

    side = 8192 if device.type == "cuda" else 1024
    matrix = torch.ones(side, side, dtype=kind, device=device)
    return 2 * side**3 / seconds_of(lambda: matrix @ matrix, device)


def seconds_of(work: Callable[[], Any], device: Any) -> float:
    """The least seconds of a few repetitions, after one that does not count."""
    spent = []
    for repetition in range(4):
        began = clock(device.type)
        work()
        if repetition:
            spent.append(clock(device.type) - began)
    return min(spent)


def clock(device: str) -> float:
    """Seconds: of the processor where it does the work, of the wall where a GPU does."""
    if device == "cpu":
        return time.process_time()
    import torch

    torch.cuda.synchronize()
    return time.perf_counter()


def random_network(size: str, device: str) -> Any:
    """A network of a published size, or a tiny one, with random weights that do something."""
    import torch

    from kinedepth.dense.video_depth_anything.checkpoint import ready_to_run
    from kinedepth.dense.video_depth_anything.config import VideoDepthConfig, find_config
    from kinedepth.dense.video_depth_anything.model import VideoDepth

    if device == "cpu":
        torch.set_num_threads(1)  # Seconds of the processor are then those of one thread.
    torch.manual_seed(0)
    tiny = VideoDepthConfig("tiny", **TINY, head_channels=(16, 16, 64, 64), temporal_heads=2)
    network = VideoDepth(tiny if size == "tiny" else find_config(size))
    # The last layers of temporal modules start at zero, and depth could be zero everywhere.
    for module in network.head.temporal:
        torch.nn.init.normal_(module.project_out.weight, std=0.02)
    with torch.no_grad():
        network.head.to_depth[2].weight.abs_()
        network.head.to_depth[2].bias.fill_(0.3)
    return ready_to_run(network).to(device)


def noise(length: int, height: int = 180, width: int = 320) -> np.ndarray:
    """Frames of coarse noise that drifts, as no two frames of a video are the same."""
    canvas = np.random.default_rng(0).integers(0, 255, (height, width + length, 3), np.uint8)
    return np.stack([canvas[:, start : start + width] for start in range(length)])


def write_film(path: Path, length: int) -> None:
    """A 720p film of drifting noise."""
    from kinedepth.exporting.video_writer import VideoWriter

    height, width = FRAMES_OF_FILM
    canvas = np.random.default_rng(0).integers(0, 255, (height // 16, width // 8, 3), np.uint8)
    canvas = canvas.repeat(16, axis=0).repeat(16, axis=1)
    with VideoWriter(path, width, height, 25.0) as writer:
        for index in range(length):
            start = (4 * index) % width
            writer.write(canvas[:, start : start + width])


QUESTIONS = {"throughput": throughput, "memory": memory, "latency": latency, "frame": frame}


if __name__ == "__main__":
    main()
