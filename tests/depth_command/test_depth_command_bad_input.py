"""Bad input to ``kinedepth depth`` is told in one line."""

import cv2
import numpy as np
import pytest
import torch
from command_outcome import assert_told_in_one_line

from kinedepth import hub
from kinedepth.dense.video_depth_anything import loading
from kinedepth.dense.video_depth_anything.checkpoint import published_shapes


def test_an_unknown_model_is_told_with_all_names(depth):
    assert_told_in_one_line(depth("--model", "vda-huge"), "'vda-huge'; .*vda-small, .*vda-metric-l")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--format", "gif"), "no format 'gif'"),
        (("--colormap", "mauve", "--format", "mp4"), "no colour map 'mauve'"),
        (("--precision", "float8"), "Unknown precision 'float8'"),
        (("--strategy", "best"), "Unknown strategy 'best'"),
        (("--stream", "--strategy", "none"), "stream has no windows"),
        (("--align-stream",), "Only a stream can be aligned"),
        (("--device", "abacus"), "Unknown device"),
        (("--point-clouds", "99"), "frames from 0 to 39"),
        (("--fov", 60), "for --point-clouds only"),
        (("--frames", "40:"), "no frame left"),
    ],
)
def test_options_that_make_no_sense_are_told_before_any_work(depth, tmp_path, options, message):
    assert_told_in_one_line(depth(*options), message)
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_a_frame_size_that_changes_midway_is_told(depth, tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    for index in range(12):
        side = 42 if index < 9 else 40
        cv2.imwrite(str(folder / f"{index:02d}.png"), np.full((side, 56, 3), 99, np.uint8))
    assert_told_in_one_line(depth(video=folder), "09.png is 56x40 but .*00.png is 56x42")
    assert list((tmp_path / "out").iterdir()) == []


def test_weights_that_are_cut_off_or_missing_are_told(depth, things, tmp_path):
    path = tmp_path / "cut.pth"
    path.write_bytes((things / "tiny.pth").read_bytes()[:5000])
    assert_told_in_one_line(depth("--weights", path), "cut.pth is not a readable weights file")
    outcome = depth("--weights", tmp_path / "none.pth")
    assert_told_in_one_line(outcome, "no weights file .*none.pth")


def test_weights_of_another_size_are_told(depth, things):
    """The tiny weights do not fit a published size; nor do those of vits fit vitb."""
    outcome = depth("--model", "vda-base")
    assert_told_in_one_line(outcome, "does not fit Video Depth Anything vitb")


def test_published_weights_of_one_size_are_named_when_another_is_asked_for(depth, tmp_path):
    shapes = published_shapes(loading.VITS)
    # One number stands for a whole tensor: the file stays small.
    tensors = {name: torch.zeros(1).expand(shape) for name, shape in shapes.items()}
    torch.save(tensors, tmp_path / "vits.pth")
    outcome = depth("--model", "vda-base", "--weights", tmp_path / "vits.pth")
    assert_told_in_one_line(outcome, "holds weights of size vits, not vitb")


def test_relative_weights_do_not_pass_for_metric_ones(depth, things, monkeypatch):
    path = things / "tiny.pth"
    file = hub.HubFile("a.pth", path.stat().st_size, hub.sha256_of(path))
    known = hub.PublishedWeights("a/b", (file,), hub.APACHE_2)
    monkeypatch.setitem(hub.PUBLISHED, "vda-small", known)
    outcome = depth("--model", "vda-metric-small")
    assert_told_in_one_line(outcome, "published weights of vda-small, not of vda-metric-small")
