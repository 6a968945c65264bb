import errno
from dataclasses import replace

import numpy as np
import pytest
from folder_contents import names_in
from hypothesis import given, settings
from hypothesis import strategies as st

from kinedepth.camera import Intrinsics
from kinedepth.errors import KinedepthError
from kinedepth.exporting.tracks_file import load_tracks3d, save_tracks3d
from kinedepth.tracks import Tracks, Tracks3D


def some_tracks3d(frames: int = 6, points: int = 4, metric: bool = False) -> Tracks3D:
    generator = np.random.default_rng(frames * 100 + points)
    camera = Intrinsics(70.0, 71.0, 50.5, 39.0, 101, 78)
    xy = generator.uniform([0, 0], [101, 78], (frames, points, 2)).astype(np.float32)
    tracks = Tracks(
        xy, generator.random((frames, points)) > 0.3, generator.integers(0, frames, points)
    )
    log_ratio = generator.normal(0, 0.2, (frames, points)).astype(np.float32)
    xyz = camera.unproject(xy, np.exp(log_ratio)).astype(np.float32)
    return Tracks3D(xyz, log_ratio, tracks, camera, metric)


@settings(max_examples=20, deadline=None)
@given(frames=st.integers(2, 12), points=st.integers(1, 9), metric=st.booleans())
def test_tracks_come_back_as_they_were_saved(tmp_path_factory, frames, points, metric):
    saved = some_tracks3d(frames, points, metric)
    path = tmp_path_factory.mktemp("run") / "tracks.npz"
    save_tracks3d(path, saved)
    loaded = load_tracks3d(path)
    for name in ("xyz", "log_ratio", "queries_xyt"):
        actual, expected = getattr(loaded, name), getattr(saved, name)
        np.testing.assert_array_equal(actual, expected)
        assert actual.dtype == expected.dtype == np.float32
    np.testing.assert_array_equal(loaded.tracks.xy, saved.tracks.xy)
    np.testing.assert_array_equal(loaded.tracks.visible, saved.tracks.visible)
    np.testing.assert_array_equal(loaded.tracks.query_frame, saved.tracks.query_frame)
    assert loaded.intrinsics == saved.intrinsics
    assert loaded.metric is metric


def test_uncertainty_and_camera_poses_come_back_where_there_are_any(tmp_path):
    known = some_tracks3d()
    generator = np.random.default_rng(0)
    std = generator.uniform(0, 0.1, known.log_ratio.shape).astype(np.float32)
    poses = np.tile(np.eye(4, dtype=np.float32), (known.tracks.frames, 1, 1))
    save_tracks3d(tmp_path / "a.npz", replace(known, log_ratio_std=std, extrinsics_w2c=poses))
    again = load_tracks3d(tmp_path / "a.npz")
    assert again.log_ratio_std is not None
    assert again.extrinsics_w2c is not None
    np.testing.assert_array_equal(again.log_ratio_std, std)
    np.testing.assert_array_equal(again.extrinsics_w2c, poses)
    save_tracks3d(tmp_path / "b.npz", known)
    assert load_tracks3d(tmp_path / "b.npz").log_ratio_std is None
    with pytest.raises(KinedepthError, match="log_ratio_std has shape"):
        save_tracks3d(tmp_path / "c.npz", replace(known, log_ratio_std=std[1:]))


def test_the_file_has_the_keys_and_types_of_tapvid3d(tmp_path):
    save_tracks3d(tmp_path / "tracks.npz", some_tracks3d(6, 4))
    with np.load(tmp_path / "tracks.npz", allow_pickle=False) as archive:
        layout = {key: (archive[key].shape, archive[key].dtype.name) for key in archive}
    assert layout == {
        "tracks_XYZ": ((6, 4, 3), "float32"),
        "visibility": ((6, 4), "bool"),
        "queries_xyt": ((4, 3), "float32"),
        "fx_fy_cx_cy": ((4,), "float64"),
        "tracks_xy": ((6, 4, 2), "float32"),
        "log_ratio": ((6, 4), "float32"),
        "image_size": ((2,), "int64"),
        "metric": ((), "bool"),
    }


def test_a_file_name_without_suffix_is_kept(tmp_path):
    save_tracks3d(tmp_path / "tracks", some_tracks3d())
    assert names_in(tmp_path) == ["tracks"]
    assert len(load_tracks3d(tmp_path / "tracks").tracks) == 4


def test_tracks_that_are_not_finite_are_not_saved(tmp_path):
    tracks3d = some_tracks3d()
    tracks3d.xyz[2, 1, 2] = np.nan
    with pytest.raises(KinedepthError, match="tracks_XYZ holds NaN"):
        save_tracks3d(tmp_path / "tracks.npz", tracks3d)
    assert names_in(tmp_path) == []


def test_a_full_disk_leaves_no_half_tracks_file(tmp_path, monkeypatch):
    def fill_the_disk(file, *_, **__):
        file.write(b"PK")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("numpy.lib.format.write_array", fill_the_disk)
    with pytest.raises(KinedepthError, match="No space left on the disk"):
        save_tracks3d(tmp_path / "tracks.npz", some_tracks3d())
    assert names_in(tmp_path) == []


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"tracks_XYZ": None}, "lacks tracks_XYZ"),
        ({"tracks_XYZ": np.ones((6, 3, 3))}, "tracks_XYZ has shape"),
        ({"visibility": np.ones(6, bool)}, "visibility has shape"),
        ({"visibility": np.ones((0, 0), bool)}, "has shape"),
        ({"log_ratio": np.full((6, 4), np.inf)}, "log_ratio holds NaN or infinite"),
        ({"tracks_xy": np.full((6, 4, 2), "x")}, "tracks_xy has shape"),
        ({"queries_xyt": np.full((4, 3), 6.0)}, "names frames"),
        ({"queries_xyt": np.full((4, 3), 0.5)}, "names frames"),
        ({"fx_fy_cx_cy": np.array([-1.0, 1, 1, 1])}, r"tracks\.npz: Intrinsics need positive"),
        ({"image_size": np.array([4, 3])}, "lies outside"),
        ({"metric": np.array(["yes"])}, "metric has shape"),
        ({"metric": np.array({}, dtype=object)}, "Python objects"),
    ],
)
def test_a_tracks_file_that_makes_no_sense_is_refused(tmp_path, changes, says):
    path = tmp_path / "tracks.npz"
    save_tracks3d(path, some_tracks3d(6, 4))
    with np.load(path) as archive:
        arrays = {**archive, **changes}
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})
    with pytest.raises(KinedepthError, match=says):
        load_tracks3d(path)


def test_a_file_of_another_kind_is_no_tracks_file(tmp_path):
    (tmp_path / "tracks.npz").write_text("not an archive")
    with pytest.raises(KinedepthError, match="is not an npz archive"):
        load_tracks3d(tmp_path / "tracks.npz")
    with pytest.raises(KinedepthError, match="There is no file"):
        load_tracks3d(tmp_path / "gone.npz")
