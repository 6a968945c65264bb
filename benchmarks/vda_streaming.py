"""Does the depth of a stream drift, and does aligning it to what was shown keep it in place?

    python benchmarks/vda_streaming.py WEIGHTS [--clips runs/vda_tiny/held_out] [--frames 300]

WEIGHTS are of `kinedepth train vda`. Each clip is played forwards and backwards until it is long
enough, so that the same pictures, with the same true disparity, come again and again. For whole
windows, the published stream and the aligned one: AbsRel of depth after one scale and shift of
the disparity of the whole film; and drift, the standard deviation over time of the logarithm of
the scale and of the mean that would bring each frame's disparity to the truth on its own.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from _report import print_table, write_results
from numpy.typing import NDArray

MOST_CLIPS = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", type=Path)
    parser.add_argument("--clips", type=Path, default=Path("runs/vda_tiny/held_out"))
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--no-write", action="store_true", help="only print")
    arguments = parser.parse_args()

    import torch

    from kinedepth.dense.video_depth_anything.depth_model import VideoDepthAnythingModel
    from kinedepth.dense.video_depth_anything.trained import load_trained
    from kinedepth.training.rendered_clips import read_clips
    from kinedepth.video import Video

    torch.set_num_threads(1)
    network = load_trained(arguments.weights)
    found: dict[str, list[dict[str, float]]] = {}
    for clip in read_clips(arguments.clips)[:MOST_CLIPS]:
        order = to_and_fro(len(clip.frames), arguments.frames)
        frames, truth = np.asarray(clip.frames)[order], np.asarray(clip.disparity)[order]
        for name, options in METHODS.items():
            size = min(frames.shape[1:3])
            model = VideoDepthAnythingModel(network, name=name, input_size=size, **options)
            disparity = np.stack(list(model.predict(Video.from_array(frames))))
            found.setdefault(name, []).append(figures_of(disparity, truth.astype(np.float32)))
    means = {
        name: {key: float(np.mean([f[key] for f in figures])) for key in figures[0]}
        for name, figures in found.items()
    }
    rows = [[name, *(f"{value:.4f}" for value in f.values())] for name, f in means.items()]
    print_table(f"{arguments.frames} frames", ["", "AbsRel", "drift, scale", "drift, mean"], rows)
    if not arguments.no_write:
        print("written:", write_results("vda_streaming", means).name)


METHODS: dict[str, dict[str, bool]] = {
    "windows": {},
    "published stream": {"stream": True, "align_stream": False},
    "aligned stream": {"stream": True, "align_stream": True},
}


def to_and_fro(length: int, frames: int) -> NDArray[np.int64]:
    """Indices ``(frames,)`` that run from 0 to the end and back, again and again."""
    place = np.arange(frames) % (2 * (length - 1))
    return np.where(place < length, place, 2 * (length - 1) - place)


def figures_of(disparity: NDArray[np.float32], truth: NDArray[np.float32]) -> dict[str, float]:
    """Error and drift of ``disparity (T, H, W)``."""
    from kinedepth.alignment import fit_scale_and_shift

    valid = truth > 0
    scale, shift = fit_scale_and_shift(disparity, truth, valid)
    aligned = np.maximum(scale * disparity + shift, 1e-3)
    error = np.abs(truth / aligned - 1)[valid].mean()
    scales, means = [], []
    for found, true, mask in zip(aligned, truth, valid, strict=True):
        # Which of the two depends on the other matters for noisy answers; their spread does not.
        scales.append(np.log(true[mask].std() / max(found[mask].std(), 1e-9)))
        means.append(np.log(true[mask].mean() / found[mask].mean()))
    return {
        "abs_rel": float(error),
        "drift_of_scale": float(np.std(scales)),
        "drift_of_mean": float(np.std(means)),
    }


if __name__ == "__main__":
    main()
