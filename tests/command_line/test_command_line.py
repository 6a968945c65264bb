"""The command line as a whole, and the commands that are small."""

import subprocess
import sys
import time

import pytest
from command_outcome import assert_nothing_whole, assert_told_in_one_line

import kinedepth
from kinedepth._terminal import StageProgress


def test_help_names_every_command(kine):
    outcome = kine("--help")
    assert outcome.code == 0
    for command in ("lift", "synth", "view", "train", "doctor"):
        assert command in outcome.out


def test_help_comes_at_once():
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "kinedepth", "--help"], capture_output=True, check=True)
    # A second is the aim; the margin is for machines that are busy with something else.
    assert time.perf_counter() - began < 5


def test_wrong_usage_has_the_same_exit_code(kine):
    assert kine("lift").code == 2
    assert kine("lift", "clip.mp4", "-o", "out", "--no-such-option").code == 2
    assert kine("conjure").code == 2


def test_synth_writes_clips_and_skips_those_that_are_there(kine, tmp_path):
    command = ("synth", tmp_path, "--size", "64x48", "--frames", 12, "--seed", 3)
    assert "clip0000" in kine(*command).out
    assert (tmp_path / "clip0000.mp4").is_file()
    again = kine(*command)
    assert again.code == 0
    assert "1 were already there" in again.out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--size", "64"), "width x height"),
        (("--size", "63x48"), "even number"),
        (("--frames", 1), "at least two frames"),
        (("--clips", 0), "at least one clip"),
        (("--richness", "gaudy"), "rich, poor or mixed"),
        (("--seed", -1), "whole number from 0"),
    ],
    ids=lambda value: "-".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_synth_tells_bad_options(kine, tmp_path, options, message):
    assert_told_in_one_line(kine("synth", tmp_path / "out", *options), message)
    assert_nothing_whole(tmp_path / "out")


def test_view_tells_a_folder_without_a_run(kine, tmp_path):
    assert_told_in_one_line(kine("view", tmp_path), "holds no scene.html")
    assert_told_in_one_line(kine("view", tmp_path / "missing"), "no folder")


def test_doctor_names_versions_devices_and_weights(kine):
    outcome = kine("doctor")
    for subject in ("kinedepth", "python", "torch", "device cpu", "H.264 encoder", "weights"):
        assert subject in outcome.out
    assert f"kinedepth{' ' * 36}{kinedepth.__version__}" in outcome.out


def test_doctor_lists_depth_models_with_their_licences(kine):
    lines = kine("doctor").out.splitlines()
    line = next(line for line in lines if line.split()[:2] == ["depth", "vda-large"])
    assert "affine invariant disparity" in line
    assert "CC-BY-NC-4.0" in line
    assert any("needs --weights" in line for line in lines if "depth vda " in line)


def test_doctor_fails_where_no_video_could_be_lifted(kine, monkeypatch):
    monkeypatch.setattr("kinedepth.seurat.checkpoint.shipped_models", dict)
    outcome = kine("doctor")
    assert outcome.code == 1
    assert "! weights" in outcome.out


def test_bars_are_drawn_on_a_terminal_only(capsys, monkeypatch):
    with StageProgress() as stages:
        stages.report("tracking", 5, 10)
        assert capsys.readouterr().err == ""
        stages.report("tracking", 10, 10)
        stages.report("tracking", 10, 10)
    assert len(capsys.readouterr().err.splitlines()) == 1

    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    with StageProgress() as stages:
        stages.report("tracking", 5, 10)
        stages.report("tracking", 10, 10)
    drawn = capsys.readouterr().err
    assert "tracking" in drawn
    assert "100%" in drawn
