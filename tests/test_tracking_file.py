"""Tracks made elsewhere: what is read, what is refused, and how windows are answered."""

import numpy as np
import pytest

from kinedepth.errors import KinedepthError
from kinedepth.tracking.base import TrackingJob
from kinedepth.tracking.file import read_tracks
from kinedepth.tracking.registry import make_tracker
from kinedepth.tracks import Queries
from kinedepth.video import Video

FRAMES, POINTS = 6, 4


@pytest.fixture
def video():
    return Video.from_array(np.zeros((FRAMES, 48, 64, 3), np.uint8))


@pytest.fixture
def arrays():
    generator = np.random.default_rng(0)
    xy = generator.uniform(5, 40, (FRAMES, POINTS, 2)).astype(np.float32)
    visible = np.ones((FRAMES, POINTS), bool)
    visible[3:, 1] = False
    visible[:2, 2] = False
    start = np.array([0, 0, 2, 0])
    queries = np.column_stack([xy[start, np.arange(POINTS)], start])
    return {"tracks_xy": xy, "visibility": visible, "queries_xyt": queries}


def save(path, arrays):
    np.savez(path, **arrays)
    return path


def whole(tracker, video):
    job = TrackingJob(Queries(np.zeros((1, 2)), np.int64(0)), range(len(video)))
    ((_, tracks),) = tracker.track(video, [job])
    return tracks


def test_an_archive_of_pixels_comes_back_as_it_was(tmp_path, video, arrays):
    tracker = make_tracker(f"file:{save(tmp_path / 'tracks.npz', arrays)}")
    tracks = whole(tracker, video)
    np.testing.assert_array_equal(tracks.xy, arrays["tracks_xy"])
    np.testing.assert_array_equal(tracks.visible, arrays["visibility"])
    np.testing.assert_array_equal(tracks.query_frame, [0, 0, 2, 0])


def test_3d_tracks_are_projected_with_their_intrinsics(tmp_path, arrays):
    xy = arrays.pop("tracks_xy").astype(np.float64)
    z = np.linspace(1, 3, FRAMES)[:, None]
    xyz = np.stack([(xy[..., 0] - 32) / 50 * z, (xy[..., 1] - 24) / 60 * z, z + 0 * xy[..., 0]], -1)
    arrays |= {"tracks_XYZ": xyz, "fx_fy_cx_cy": np.array([50, 60, 32, 24.0])}
    tracks = read_tracks(save(tmp_path / "clip.npz", arrays))
    np.testing.assert_allclose(tracks.xy, xy, atol=1e-4)


def test_a_table_is_read_with_gaps_hidden_at_the_nearest_position(tmp_path, video):
    path = tmp_path / "tracks.csv"
    path.write_text(
        "track,frame,x,y,visible\nleft,1,10,20,1\nleft,4,13,20.5,true\nright,0,30,9,0\n"
        "right,2,31,9,1\n"
    )
    tracks = whole(make_tracker(f"file:{path}"), video)
    np.testing.assert_array_equal(tracks.query_frame, [1, 2])
    np.testing.assert_array_equal(tracks.visible[:, 0], [0, 1, 0, 0, 1, 0])
    np.testing.assert_array_equal(tracks.visible[:, 1], [0, 0, 1, 0, 0, 0])
    np.testing.assert_array_equal(tracks.xy[:, 0, 0], [10, 10, 10, 13, 13, 13])


def test_a_table_without_visibility_counts_every_row_as_seen(tmp_path):
    path = tmp_path / "tracks.csv"
    path.write_text("frame,track,y,x\n0,a,2,1\n1,a,4,3\n\n")
    tracks = read_tracks(path)
    assert tracks.visible.all()
    np.testing.assert_array_equal(tracks.xy[:, 0], [[1, 2], [3, 4]])


def test_hidden_positions_may_be_missing_and_stay_at_the_nearest_known_one(tmp_path, arrays):
    arrays["tracks_xy"][3:, 1] = np.nan
    tracks = read_tracks(save(tmp_path / "tracks.npz", arrays))
    np.testing.assert_array_equal(tracks.xy[3:, 1], np.repeat(tracks.xy[2:3, 1], 3, 0))


def test_a_window_is_answered_with_the_tracks_seen_in_its_first_frame(tmp_path, video, arrays):
    tracker = make_tracker(f"file:{save(tmp_path / 'tracks.npz', arrays)}")
    assert tracker.seeds_own_points
    window = TrackingJob(Queries(np.zeros((1, 2)), np.int64(1)), range(1, 6, 2))
    ((index, tracks),) = tracker.track(video, [window])
    assert index == 0
    np.testing.assert_array_equal(tracks.xy, arrays["tracks_xy"][1::2][:, [0, 1, 3]])
    np.testing.assert_array_equal(tracks.query_frame, 0)


def test_a_window_that_starts_where_nothing_is_seen_is_refused(tmp_path, video, arrays):
    arrays["visibility"][1] = False
    tracker = make_tracker(f"file:{save(tmp_path / 'tracks.npz', arrays)}")
    window = TrackingJob(Queries(np.zeros((1, 2)), np.int64(1)), range(1, 5))
    with pytest.raises(KinedepthError, match="no track visible in frame 1"):
        list(tracker.track(video, [window]))


def spoiled(arrays, name, value):
    return {**arrays, name: value}


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda a: {"other": np.zeros(3)}, "tracks need tracks_xy or tracks_XYZ"),
        (lambda a: spoiled(a, "tracks_xy", a["tracks_xy"][..., :1]), r"shape \(T, N, 2\)"),
        (lambda a: spoiled(a, "tracks_xy", a["tracks_xy"].astype(str)), "must hold numbers"),
        (lambda a: spoiled(a, "visibility", a["visibility"][:-1]), "visibility has shape"),
        (lambda a: spoiled(a, "tracks_xy", a["tracks_xy"] * np.nan), "not finite"),
        (lambda a: spoiled(a, "queries_xyt", a["queries_xyt"][:, :2]), "queries_xyt must hold"),
        (lambda a: spoiled(a, "queries_xyt", a["queries_xyt"] + 9), "outside 0 to 5"),
        (lambda a: {k: v[:5] if k != "queries_xyt" else v for k, v in a.items()}, "of 5 frames"),
        (lambda a: spoiled(a, "tracks_xy", a["tracks_xy"] + 900), "outside the 64x48 frame"),
        (lambda a: {k: v[:, :0] if v.ndim > 2 else v[:0] for k, v in a.items()}, "shape|no tracks"),
    ],
)
def test_a_bad_archive_is_refused_with_what_is_wrong(tmp_path, video, arrays, spoil, words):
    path = save(tmp_path / "tracks.npz", spoil(arrays))
    with pytest.raises(KinedepthError, match=words):
        whole(make_tracker(f"file:{path}"), video)


def test_3d_tracks_need_intrinsics_and_points_before_the_camera(tmp_path, arrays):
    xy = arrays.pop("tracks_xy")
    arrays["tracks_XYZ"] = np.concatenate([xy, -np.ones((FRAMES, POINTS, 1))], -1)
    with pytest.raises(KinedepthError, match="fx_fy_cx_cy"):
        read_tracks(save(tmp_path / "clip.npz", arrays))
    arrays["fx_fy_cx_cy"] = np.ones(4)
    with pytest.raises(KinedepthError, match="in front of the camera"):
        read_tracks(save(tmp_path / "clip.npz", arrays))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no column track, frame, x, y"),
        ("track,frame,x\n1,2,3\n", "no column y"),
        ("track,frame,x,y\n", "no row below"),
        ("track,frame,x,y\n1,0,3,4\n1,1,three,4\n", "line 3: x must be a finite number"),
        ("track,frame,x,y\n1,0,nan,4\n", "line 2: x must be a finite"),
        ("track,frame,x,y\n1,0.5,3,4\n", "line 2: frame must be a whole number"),
        ("track,frame,x,y\n1,-1,3,4\n", "line 2: frame must be a whole number"),
        ("track,frame,x,y\n1,6,3,4\n", "line 2: frame 6 lies outside the clip"),
        ("track,frame,x,y\n1,0,3\n", "line 2: there are 3 cells"),
        ("track,frame,x,y,visible\n1,0,3,4,maybe\n", "line 2: visible must be"),
        ("track,frame,x,y\n1,0,3,4\n1,0,5,6\n", "line 3: track 1 already has a row for frame 0"),
        ("track,frame,x,y,visible\n1,0,3,4,0\n", "track 1 is never visible"),
    ],
)
def test_a_bad_table_is_refused_with_the_line(tmp_path, text, words):
    path = tmp_path / "tracks.csv"
    path.write_text(text)
    with pytest.raises(KinedepthError, match=words):
        read_tracks(path, frames=FRAMES)


def test_files_that_are_missing_damaged_or_of_another_kind_are_refused(tmp_path):
    (tmp_path / "tracks.npz").write_bytes(b"PK\x03\x04 not an archive")
    (tmp_path / "tracks.csv").write_bytes(b"\xff\xfe\x00track")
    (tmp_path / "tracks.txt").write_text("1 2 3")
    for name in ("absent.npz", "tracks.npz", "tracks.csv", "tracks.txt"):
        with pytest.raises(KinedepthError, match=name):
            read_tracks(tmp_path / name)
