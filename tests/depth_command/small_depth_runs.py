"""Runs of ``kinedepth depth`` that a tiny network or none at all makes quick."""

import numpy as np
from vda_reference import TINY

from kinedepth import depth_run
from kinedepth.dense.store import DepthStore
from kinedepth.dense.video_depth_anything import loading
from kinedepth.video import load_video

FRAMES, HEIGHT, WIDTH = 40, 42, 56


def use_tiny_models(monkeypatch):
    """Let names of Video Depth Anything stand for a tiny network, and keep chunks short."""
    monkeypatch.setitem(loading.CONFIGS, "vda-small", TINY)
    monkeypatch.setitem(loading.CONFIGS, "vda-metric-small", TINY.as_metric())
    monkeypatch.setattr(depth_run, "_CHUNK_BYTES", 7 * 4 * HEIGHT * WIDTH)


def files_of(folder):
    """Everything in a folder as bytes, but for the summary's timings and films.

    The encoder does not always write the same bytes for the same pictures.
    """
    return {
        path.name: path.read_bytes()
        for path in sorted(folder.iterdir())
        if path.name != "summary.json" and path.suffix != ".mp4"
    }


def frames_of(film):
    """Its pictures, ``(T, H, W, 3)``."""
    return np.concatenate([block for _, block in load_video(film).blocks()]).astype(float)


def stop_after(monkeypatch, chunks, error):
    """Let a run fail when it lays down a chunk after ``chunks`` others; undone by the caller."""
    append, laid = DepthStore.append, []

    def limited(self, *arguments):
        if len(laid) == chunks:
            raise error
        append(self, *arguments)
        laid.append(None)

    monkeypatch.setattr(DepthStore, "append", limited)
    return lambda: monkeypatch.setattr(DepthStore, "append", append)


class Brightness:
    """Takes brightness for depth; it cannot go on where it was stopped."""

    name, kind, per_frame = "brightness", "affine_invariant", True

    def __init__(self, short_by=0):
        self.short_by = short_by

    def predict(self, video, progress=None):
        for first, frames in video.blocks(1, 0, len(video) - self.short_by):
            if progress:
                progress(first + 1, len(video))
            yield frames[0].mean(axis=-1, dtype=np.float32)


def load_brightness(name, weights, options, device):
    return Brightness()
