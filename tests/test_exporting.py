import errno
import json
import os
import time
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kinedepth
from kinedepth.camera import Intrinsics
from kinedepth.errors import KinedepthError
from kinedepth.exporting.atomic import RUN_FILES, atomic_path, prepare_output_folder
from kinedepth.exporting.summary import Stopwatch, write_summary
from kinedepth.exporting.tracks_file import load_tracks3d, save_tracks3d
from kinedepth.exporting.video_writer import VideoWriter
from kinedepth.tracks import Tracks, Tracks3D
from kinedepth.video import load_video


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write_and_fail(target: Path, failure: BaseException) -> None:
    with atomic_path(target) as temporary:
        temporary.write_text("half")
        raise failure


# Files that appear whole or not at all


def test_a_file_appears_once_it_is_complete(tmp_path):
    target = tmp_path / "result.txt"
    with atomic_path(target) as temporary:
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".txt"
        temporary.write_text("done")
        assert not target.exists()
    assert target.read_text() == "done"
    assert names_in(tmp_path) == ["result.txt"]


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt, SystemExit, KinedepthError])
def test_a_failure_leaves_nothing_behind_and_keeps_what_was_there(tmp_path, failure):
    target = tmp_path / "result.txt"
    target.write_text("earlier")
    with pytest.raises(failure):
        write_and_fail(target, failure())
    assert target.read_text() == "earlier"
    assert names_in(tmp_path) == ["result.txt"]


@pytest.mark.parametrize(
    "failure",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        av.error.OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError("I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_is_told_in_one_sentence(tmp_path, failure):
    target = tmp_path / "result.txt"
    with pytest.raises(KinedepthError, match=r"No space left on the disk while writing .*result"):
        write_and_fail(target, failure)
    assert names_in(tmp_path) == []


def test_an_unrelated_error_passes_unchanged(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "result.txt"):
        (tmp_path / "another.txt").read_text()


def test_a_place_that_cannot_be_written_to_is_named(tmp_path):
    with (
        pytest.raises(KinedepthError, match=r"There is no folder .*missing"),
        atomic_path(tmp_path / "missing" / "result.txt"),
    ):
        pass
    with pytest.raises(KinedepthError, match="is a folder"), atomic_path(tmp_path):
        pass
    denied = PermissionError(errno.EACCES, "Permission denied", str(tmp_path / ".tmp-result.txt"))
    with pytest.raises(KinedepthError, match=r"result\.txt cannot be written \(Permission denied"):
        write_and_fail(tmp_path / "result.txt", denied)


# Output folders


def test_an_output_folder_is_created_with_its_parents(tmp_path):
    folder = prepare_output_folder(tmp_path / "runs" / "first")
    assert folder.is_dir()
    assert prepare_output_folder(folder) == folder


@pytest.mark.parametrize("name", RUN_FILES)
def test_a_folder_with_a_file_of_an_earlier_run_is_refused(tmp_path, name):
    (tmp_path / name).write_text("earlier")
    with pytest.raises(KinedepthError, match=f"already holds {name} of an earlier run"):
        prepare_output_folder(tmp_path)
    assert (tmp_path / name).read_text() == "earlier"


def test_overwriting_removes_the_earlier_run_and_nothing_else(tmp_path):
    for name in (*RUN_FILES, ".tmp-tracks.npz", "notes.txt", "video.mp4"):
        (tmp_path / name).write_text("earlier")
    prepare_output_folder(tmp_path, overwrite=True)
    assert names_in(tmp_path) == ["notes.txt", "video.mp4"]


def test_a_file_cannot_serve_as_output_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(KinedepthError, match="is a file"):
        prepare_output_folder(tmp_path / "file")
    with pytest.raises(KinedepthError, match="cannot be prepared"):
        prepare_output_folder(tmp_path / "file" / "below")


# Tracks


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


# Summary


def test_a_summary_tells_facts_platform_and_memory(tmp_path):
    written = write_summary(tmp_path / "summary.json", {"frames": 48, "seconds": {"lift": 1.5}})
    read = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    assert read == written
    assert read["frames"] == 48
    assert read["seconds"] == {"lift": 1.5}
    assert read["version"] == kinedepth.__version__
    assert set(read["platform"]) == {"cpu", "cpu_cores", "os", "python", "torch"}
    assert all(read["platform"].values())
    assert 10 < read["peak_memory_mib"] < 1e6  # MiB: neither bytes nor gibibytes.
    assert names_in(tmp_path) == ["summary.json"]


def test_a_summary_holds_plain_json_whatever_it_is_given(tmp_path):
    facts = {
        "size": (np.int64(640), 480),
        "median": np.float32(0.5),
        "worst": float("nan"),
        "ratios": np.array([[1.0, np.inf]]),
        "source": Path("clip.mp4"),
        "frames": range(0, 6, 2),
        "metric": np.bool_(True),
        "title": "Möbius",
        7: None,
    }
    write_summary(tmp_path / "summary.json", facts)

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    text = (tmp_path / "summary.json").read_text(encoding="utf-8")
    read = json.loads(text, parse_constant=refuse)
    assert {key: read[key] for key in map(str, facts)} == {
        "size": [640, 480],
        "median": 0.5,
        "worst": None,
        "ratios": [[1.0, None]],
        "source": "clip.mp4",
        "frames": [0, 2, 4],
        "metric": True,
        "title": "Möbius",
        "7": None,
    }


def test_a_stopwatch_adds_up_named_stages_even_when_one_fails():
    watch = Stopwatch()
    with watch.stage("tracking"):
        time.sleep(0.01)
    first = watch.seconds["tracking"]
    with watch.stage("tracking"), watch.stage("lifting"):
        time.sleep(0.01)
    with pytest.raises(RuntimeError), watch.stage("viewing"):
        raise RuntimeError
    assert list(watch.seconds) == ["tracking", "lifting", "viewing"]
    assert 0.01 <= first < watch.seconds["tracking"]
    assert watch.seconds["lifting"] >= 0.01


# Video


def ramp(index: int, width: int, height: int) -> np.ndarray:
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0] = np.linspace(0, 255, width).astype(np.uint8)
    image[..., 1] = np.linspace(0, 255, height).astype(np.uint8)[:, None]
    image[..., 2] = 20 * index
    return image


def write_ramps(path: Path, count: int = 8, width: int = 64, height: int = 48, fps=25.0) -> None:
    with VideoWriter(path, width, height, fps) as writer:
        for index in range(count):
            writer.write(ramp(index, width, height))


def test_written_frames_can_be_read_back(tmp_path):
    write_ramps(tmp_path / "out.mp4", fps=30000 / 1001)
    video = load_video(tmp_path / "out.mp4")
    assert (len(video), video.width, video.height) == (8, 64, 48)
    assert video.fps == pytest.approx(30000 / 1001)
    for index in range(8):
        difference = video.frame(index).astype(float) - ramp(index, 64, 48)
        assert np.abs(difference).mean() < 6
    with av.open(str(tmp_path / "out.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
    assert names_in(tmp_path) == ["out.mp4"]


def test_odd_sizes_grow_to_even_ones(tmp_path):
    write_ramps(tmp_path / "odd.mp4", width=63, height=47)
    video = load_video(tmp_path / "odd.mp4")
    assert (video.width, video.height) == (64, 48)
    difference = video.frame(3)[:47, :63].astype(float) - ramp(3, 63, 47)
    assert np.abs(difference).mean() < 6


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt])
def test_a_failure_while_writing_leaves_the_earlier_video(tmp_path, failure):
    write_ramps(tmp_path / "out.mp4", 3)

    def write_some_and_fail() -> None:
        with VideoWriter(tmp_path / "out.mp4", 64, 48, 25) as writer:
            for index in range(60):
                writer.write(ramp(index % 12, 64, 48))
            raise failure

    with pytest.raises(failure):
        write_some_and_fail()
    assert names_in(tmp_path) == ["out.mp4"]
    assert len(load_video(tmp_path / "out.mp4")) == 3


def test_a_full_disk_while_writing_a_video_is_told(tmp_path, monkeypatch):
    writer = VideoWriter(tmp_path / "out.mp4", 64, 48, 25)

    class FullDisk:
        def __getattr__(self, name):
            return getattr(self.real, name)

        def mux(self, _):
            raise av.error.OSError(errno.ENOSPC, "No space left on device")

    def write_to_full_disk():
        with writer:
            full = FullDisk()
            full.real = writer._container
            writer._container = full
            writer.write(ramp(0, 64, 48))

    with pytest.raises(KinedepthError, match="No space left on the disk while writing"):
        write_to_full_disk()
    assert names_in(tmp_path) == []


def test_a_frame_of_another_size_or_type_is_refused(tmp_path):
    for frame in (ramp(0, 65, 48), ramp(0, 64, 48).astype(np.float32)):
        with (
            pytest.raises(KinedepthError, match="takes frames of shape"),
            VideoWriter(tmp_path / "out.mp4", 64, 48, 25) as writer,
        ):
            writer.write(frame)
    assert names_in(tmp_path) == []


def test_a_video_without_frames_is_not_written(tmp_path):
    with (
        pytest.raises(KinedepthError, match="No frame was given"),
        VideoWriter(tmp_path / "out.mp4", 64, 48, 25),
    ):
        pass
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("fps", [0, -1, float("nan"), float("inf"), 1e-9])
def test_a_rate_that_makes_no_video_is_refused(tmp_path, fps):
    with pytest.raises(KinedepthError, match="frame rate"):
        VideoWriter(tmp_path / "out.mp4", 64, 48, fps)


def test_a_size_that_makes_no_video_is_refused(tmp_path):
    with pytest.raises(KinedepthError, match="positive size"):
        VideoWriter(tmp_path / "out.mp4", 0, 48, 25)


def test_a_video_needs_a_folder_that_exists(tmp_path):
    with pytest.raises(KinedepthError, match="There is no folder"):
        write_ramps(tmp_path / "missing" / "out.mp4")


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs a list of open files")
def test_writing_a_video_leaves_no_file_open(tmp_path):
    before = len(os.listdir("/proc/self/fd"))
    write_ramps(tmp_path / "out.mp4", 3)
    with pytest.raises(KinedepthError), VideoWriter(tmp_path / "bad.mp4", 64, 48, 25) as writer:
        writer.write(ramp(0, 9, 9))
    assert len(os.listdir("/proc/self/fd")) <= before
