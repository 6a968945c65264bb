"""Lifted tracks on disk are written and shown as those in memory are."""

import numpy as np
import pytest

from kinedepth.camera import Intrinsics
from kinedepth.exporting.tracks_file import load_tracks3d, save_tracks3d
from kinedepth.lifting.stored import StoredTracks3D
from kinedepth.lifting.tracks2d import QueryTracks
from kinedepth.rows import RowsOnDisk
from kinedepth.tracks import Tracks, Tracks3D
from kinedepth.viewing import overlay
from kinedepth.viewing.overlay import OverlayPainter
from kinedepth.viewing.sampling import MOST_FRAMES, sample
from kinedepth.viewing.scene_data import pack_scene, select
from kinedepth.viewing.scene_page import write_scene_page

WIDTH, HEIGHT = 64, 48


def in_memory(frames: int, points: int = 5) -> Tracks3D:
    """Points on random walks, some hidden, from query frames all over the clip."""
    generator = np.random.default_rng(0)
    camera = Intrinsics.from_field_of_view(WIDTH, HEIGHT, 60)
    query_frame = generator.integers(0, frames, points)
    xy = generator.random((points, 2)) * [WIDTH, HEIGHT]
    xy = (xy + generator.normal(size=(frames, points, 2)).cumsum(axis=0)).astype(np.float32)
    visible = generator.random((frames, points)) < 0.8
    log_ratio = (0.02 * generator.normal(size=(frames, points)).cumsum(axis=0)).astype(np.float32)
    return Tracks3D(
        xyz=camera.unproject(xy, np.exp(log_ratio)).astype(np.float32),
        log_ratio=log_ratio,
        tracks=Tracks(xy, visible, query_frame),
        intrinsics=camera,
        log_ratio_std=np.abs(log_ratio),
    )


@pytest.fixture
def store(tmp_path):
    """Puts tracks on disk."""

    def rows(name, array):
        made = RowsOnDisk(tmp_path / f"{name}.npy", array.shape, array.dtype)
        made.write(0, array)
        return made

    def put(tracks: Tracks3D) -> StoredTracks3D:
        flat = QueryTracks(
            rows("xy", tracks.tracks.xy), rows("visible", tracks.tracks.visible), tracks.query_frame
        )
        arrays = {n: rows(n, getattr(tracks, n)) for n in ("xyz", "log_ratio", "log_ratio_std")}
        return StoredTracks3D(tracks=flat, intrinsics=tracks.intrinsics, **arrays)

    return put


def assert_same(first: Tracks3D, second: Tracks3D) -> None:
    for name in ("xyz", "log_ratio", "log_ratio_std", "query_frame"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    np.testing.assert_array_equal(first.tracks.xy, second.tracks.xy)
    np.testing.assert_array_equal(first.tracks.visible, second.tracks.visible)


def test_tracks_on_disk_are_those_in_memory(store):
    tracks = in_memory(40)
    stored = store(tracks)
    assert (stored.frames, len(stored)) == (tracks.frames, len(tracks))
    assert_same(stored.whole(), tracks)
    for frames in (range(3, 17), range(0, 40, 7)):
        assert_same(stored.cut(frames), tracks.cut(frames))
    np.testing.assert_array_equal(stored.queries_xyt, tracks.queries_xyt)


@pytest.mark.parametrize("frames", [30, 700])
def test_the_file_of_tracks_on_disk_is_the_same_to_the_last_byte(store, tmp_path, frames):
    tracks = in_memory(frames)
    save_tracks3d(tmp_path / "memory.npz", tracks)
    save_tracks3d(tmp_path / "disk.npz", store(tracks))
    written = (tmp_path / "disk.npz").read_bytes()
    assert written == (tmp_path / "memory.npz").read_bytes()
    assert_same(load_tracks3d(tmp_path / "disk.npz"), tracks)


def test_the_page_of_tracks_on_disk_is_the_same_to_the_last_byte(store, tmp_path):
    tracks = in_memory(60)
    write_scene_page(tracks, tmp_path / "memory.html")
    write_scene_page(store(tracks), tmp_path / "disk.html")
    assert (tmp_path / "disk.html").read_text() == (tmp_path / "memory.html").read_text()


@pytest.mark.parametrize("block", [1, 7, 1000])
def test_a_film_looks_the_same_whatever_is_read_at_a_time(store, monkeypatch, block):
    tracks = in_memory(40)
    frame = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    expected = OverlayPainter(tracks, WIDTH, HEIGHT)
    monkeypatch.setattr(overlay, "_TRACK_FRAMES", block)
    found = OverlayPainter(store(tracks), WIDTH, HEIGHT)
    for index in (0, 1, 6, 7, 8, 25, 39, 3):
        np.testing.assert_array_equal(found.paint(frame, index), expected.paint(frame, index))


def test_very_long_tracks_are_sampled_and_the_page_says_so():
    tracks = in_memory(2 * MOST_FRAMES + 1, points=2)
    assert sample(tracks).frames <= MOST_FRAMES
    packed = pack_scene(tracks, select(tracks))
    assert packed["frames"] <= MOST_FRAMES
    assert (packed["clipFrames"], packed["frameStep"]) == (2 * MOST_FRAMES + 1, 3)


def test_tracks_that_fit_are_not_sampled():
    tracks = in_memory(MOST_FRAMES, points=1)
    assert sample(tracks) is tracks
