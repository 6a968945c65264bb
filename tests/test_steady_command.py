"""``kinedepth depth --steady``."""

import dataclasses
import json

import cv2
import numpy as np
import pytest
from steady_scenes import frame_noise

from kinedepth.dense import registry
from kinedepth.dense.registry import DepthModelEntry
from kinedepth.depth_files import load_depth_video
from kinedepth.video import load_video


class Flickering:
    """Depth of an oblique wall that never changes, off by another factor in every frame."""

    name, per_frame = "flickering", True

    def __init__(self, kind="metric"):
        self.kind = kind

    def predict(self, video, progress=None):
        factors = np.exp(frame_noise(0.1, len(video)).ravel())
        columns = np.arange(video.width, dtype=np.float32)
        wall = np.broadcast_to(2 + columns / video.width, (video.height, video.width))
        for factor in factors:
            yield (factor * wall).astype(np.float32)


def load_flickering(name, weights, options, device):
    return Flickering()


@pytest.fixture
def still_clip(tmp_path, monkeypatch):
    """A textured picture that does not move, as a video, and a model called flickering."""
    entry = DepthModelEntry(f"{__name__}:load_flickering", "metric", ("consistent",), True)
    monkeypatch.setitem(registry.DEPTH_MODELS, "flickering", entry)
    shift = dataclasses.replace(entry, kind="affine_invariant")
    monkeypatch.setitem(registry.DEPTH_MODELS, "flickering-shift", shift)
    (tmp_path / "weights").write_bytes(b"none")
    rng = np.random.default_rng(0)
    picture = cv2.GaussianBlur(rng.uniform(0, 255, (64, 96, 3)), (0, 0), 1.5)
    picture = np.clip(128 + 3 * (picture - picture.mean()), 0, 255).astype(np.uint8)
    (tmp_path / "clip").mkdir()
    for index in range(12):
        cv2.imwrite(str(tmp_path / "clip" / f"{index:03d}.png"), picture)
    return tmp_path


def depth_command(folder, model="flickering"):
    command = ["depth", folder / "clip", "-o", folder / "out", "--model", model]
    return [*command, "--weights", folder / "weights", "--format", "npz", "--device", "cpu"]


def test_the_command_takes_flicker_out(kine, still_clip):
    told = kine(*depth_command(still_clip), "--steady")
    assert told.code == 0, told.err
    assert "Flicker taken out: 1" in told.out or "Flicker taken out: 9" in told.out
    stored = load_depth_video(still_clip / "out").depth
    given = np.stack(list(Flickering().predict(load_video(still_clip / "clip"))))
    changes = [np.abs(np.diff(np.log(depth), axis=0)).mean() for depth in (stored, given)]
    assert changes[0] < 0.1 * changes[1]
    summary = json.loads((still_clip / "out" / "summary.json").read_text())
    assert 0.05 < summary["steadied"]["frame_flicker"] < 0.15
    assert not (still_clip / "out" / ".unfinished-depth").exists()


def test_the_command_refuses_depth_up_to_a_shift_before_any_work(kine, still_clip):
    told = kine(*depth_command(still_clip, "flickering-shift"), "--steady")
    assert told.code == 2
    assert "known up to a shift" in told.err
    assert "--consistent" in told.err
    assert not (still_clip / "out").exists()


def test_depth_is_made_consistent_first_and_what_still_flickers_goes_then(kine, still_clip):
    told = kine(*depth_command(still_clip), "--consistent", "--steady")
    assert told.code == 0, told.err
    summary = json.loads((still_clip / "out" / "summary.json").read_text())
    assert summary["options"]["consistent"] is True
    # Most of the factors of whole frames, 10 %, is gone before steadying looks.
    assert summary["steadied"]["frame_flicker"] < 0.03
    stored = load_depth_video(still_clip / "out").depth
    assert np.abs(np.diff(np.log(stored), axis=0)).mean() < 0.005
