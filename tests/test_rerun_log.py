import sys
from dataclasses import replace

import numpy as np
import pytest
from viewing_tracks import (
    FRAMES,
    anchored,
    black_video,
    moving_grid,
    no_tracks,
    one_track,
    turning_camera,
    with_std,
)

from kinedepth.errors import MissingExtraError
from kinedepth.viewing import write_rerun


def test_without_rerun_the_user_is_told_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "rerun", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'kinedepth\[view\]'"):
        write_rerun(moving_grid(), tmp_path / "scene.rrd")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("tracks3d", [moving_grid(), no_tracks(), one_track(np.zeros(FRAMES))])
def test_a_recording_is_written_whole(tracks3d, tmp_path):
    pytest.importorskip("rerun", reason="rerun-sdk is not installed")
    write_rerun(tracks3d, tmp_path / "scene.rrd", black_video(value=90))
    assert [path.name for path in tmp_path.iterdir()] == ["scene.rrd"]
    content = (tmp_path / "scene.rrd").read_bytes()
    assert content[:3] == b"RRF"
    assert len(content) > 2000


@pytest.fixture
def logged(monkeypatch):
    """What is logged to Rerun as 3D points and as extra values, in order: ``(name, arguments)``."""
    rerun = pytest.importorskip("rerun", reason="rerun-sdk is not installed")
    calls = []

    def remember(name):
        original = getattr(rerun, name)

        def spy(*arguments, **options):
            calls.append((name, arguments, options))
            return original(*arguments, **options)

        monkeypatch.setattr(rerun, name, spy)

    for name in ("Points3D", "AnyValues", "Transform3D"):
        remember(name)
    return calls


def test_a_recording_makes_unsure_points_small_and_says_how_unsure_they_are(logged, tmp_path):
    std = np.linspace(0, 1, 30, dtype=np.float32)
    write_rerun(with_std(moving_grid(), std), tmp_path / "scene.rrd")
    radii = [options["radii"] for name, _, options in logged if name == "Points3D"]
    values = [options["log_ratio_std"] for name, _, options in logged if name == "AnyValues"]
    assert len(radii) == len(values) == FRAMES
    size = -np.asarray(radii[3])  # negative: pixels
    assert (np.diff(size) <= 0).all()
    assert size[0] == 3
    assert 1 <= size[-1] < 1.5
    np.testing.assert_array_equal(values[3], std)


def test_a_recording_with_camera_poses_has_still_points_stand_still_in_the_world(logged, tmp_path):
    poses = turning_camera()
    world = np.random.default_rng(2).uniform([-1, -1, 4], [1, 1, 8], (30, 3))
    seen = np.einsum("tij,nj->tni", poses[:, :3, :3], world) + poses[:, None, :3, 3]
    tracks3d = anchored(replace(moving_grid(), xyz=seen.astype(np.float32)), poses=poses)
    write_rerun(tracks3d, tmp_path / "scene.rrd")
    positions = [arguments[0] for name, arguments, _ in logged if name == "Points3D"]
    assert len(positions) == 2 * FRAMES, "once as the camera sees them, once in the world"
    np.testing.assert_allclose(positions[:FRAMES], seen, atol=1e-5)
    np.testing.assert_allclose(positions[FRAMES:], np.tile(world, (FRAMES, 1, 1)), atol=1e-4)
    centres = [options["translation"] for name, _, options in logged if name == "Transform3D"]
    expected = [-pose[:3, :3].T @ pose[:3, 3] for pose in poses]
    np.testing.assert_allclose(centres, expected, atol=1e-6)
