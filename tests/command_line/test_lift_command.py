"""``kinedepth lift``: what a run leaves and says."""

import json
import subprocess
import sys

import numpy as np
import pytest
from command_outcome import Outcome
from small_lift_runs import FRAMES, WIDTH

import kinedepth
from kinedepth.exporting.atomic import RUN_FILES
from kinedepth.exporting.tracks_file import load_tracks3d


@pytest.fixture(scope="module")
def finished_run(things, tmp_path_factory):
    """The folder of a run made by the program itself, and what it said."""
    folder = tmp_path_factory.mktemp("runs") / "deep" / "run"
    model = things / "tiny.safetensors"
    command = ["lift", things / "clip.mp4", "-o", folder, "--model", model, "--queries", "grid:3"]
    done = subprocess.run(
        [sys.executable, "-m", "kinedepth", *map(str, command)], capture_output=True, text=True
    )
    return folder, Outcome(done.returncode, done.stdout, done.stderr)


def test_a_run_leaves_all_its_files(finished_run):
    folder, outcome = finished_run
    assert outcome.code == 0
    written = {path.name for path in folder.iterdir()}
    assert {"tracks.npz", "summary.json", "overlay.mp4", "scene.html"} <= written <= set(RUN_FILES)
    tracks = load_tracks3d(folder / "tracks.npz")
    assert tracks.xyz.shape == (FRAMES, 9, 3)
    np.testing.assert_allclose(tracks.depth[0], 1, rtol=1e-5)


def test_the_summary_tells_what_was_run_and_how_long_each_stage_took(finished_run):
    summary = json.loads((finished_run[0] / "summary.json").read_text())
    assert summary["model"] == "tiny"
    assert summary["frames"] == FRAMES
    assert summary["version"] == kinedepth.__version__
    assert summary["peak_memory_mib"] > 0
    assert {"tracking", "seurat", "joining", "overlay.mp4"} <= set(summary["seconds"])


def test_a_run_says_what_was_assumed(finished_run):
    out = finished_run[1].out
    assert "field of view of 60 degrees across the longer side is assumed" in out
    assert "depth 1 at its query frame" in out


def test_a_log_file_gets_one_line_for_each_stage(finished_run):
    stages = [line.partition(":")[0] for line in finished_run[1].err_lines]
    assert stages[:4] == ["tracking", "seurat", "joining", "rigid groups"]
    assert len(stages) == len(set(stages))


def test_a_known_camera_is_not_said_to_be_assumed(lift, tmp_path):
    outcome = lift("--fov", 70, "--frames", "0:4")
    assert outcome.code == 0
    assert "assumed" not in outcome.out
    half_width = WIDTH / 2
    expected = half_width / np.tan(np.radians(35))
    assert load_tracks3d(tmp_path / "out" / "tracks.npz").intrinsics.fx == pytest.approx(expected)


def test_given_intrinsics_and_queries_from_a_table_are_used(lift, tmp_path):
    points = tmp_path / "points.csv"
    points.write_text("x,y\n20,30\n40,50\n")
    outcome = lift(
        *("--queries", points, "--query-frame", 2, "--frames", "0:6"),
        *("--intrinsics", "80,81,47,35", "--method", "chained"),
    )
    assert outcome.code == 0
    tracks = load_tracks3d(tmp_path / "out" / "tracks.npz")
    np.testing.assert_array_equal(tracks.intrinsics.as_vector(), [80, 81, 47, 35])
    np.testing.assert_allclose(tracks.queries_xyt, [[20, 30, 2], [40, 50, 2]], atol=1e-4)


def test_a_run_can_be_overwritten_when_asked(lift, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "tracks.npz").write_text("old")
    (out / "notes.txt").write_text("mine")
    outcome = lift("--overwrite", "--frames", "0:4")
    assert outcome.code == 0
    assert load_tracks3d(out / "tracks.npz").tracks.frames == 4
    assert (out / "notes.txt").read_text() == "mine"
