import numpy as np
import pytest
from viewing_tracks import (
    FRAMES,
    HEIGHT,
    WIDTH,
    black_video,
    make_tracks3d,
    moving_grid,
    no_tracks,
    one_track,
    paint,
    warmth,
)

from kinedepth.errors import KinedepthError
from kinedepth.video import load_video
from kinedepth.viewing import write_overlay
from kinedepth.viewing.overlay import OverlayPainter


def test_a_point_is_a_dot_of_its_colour_at_its_place():
    tracks3d = one_track([0, -0.3, -0.6], xy=(80.5, 40.5))
    frame, painter = paint(tracks3d, 2)
    assert (frame[40, 80] == painter.scale.colours(np.array(-0.6))).all()
    assert not frame[:25].any()
    assert not frame[:55, 100:].any()


@pytest.mark.parametrize(("change", "sign"), [(-0.5, 1), (0.5, -1)])
def test_a_point_that_came_nearer_is_warm_and_one_that_receded_is_cool(change, sign):
    frame, _ = paint(one_track([0, change, change]), 2)
    assert sign * warmth(frame[40, 80]) > 100


@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.25, 0.5), (0.5, 0.5), (0.75, 0.125)])
def test_dots_sit_at_fractions_of_a_pixel(shift):
    place = np.array([80.0, 40.0]) + shift
    frame, _ = paint(one_track([0, 0], xy=place), 0, tail_frames=0)
    light = frame[30:50, 70:90].astype(float).sum(-1)
    centres = np.stack(np.meshgrid(np.arange(70, 90), np.arange(30, 50)), -1) + 0.5
    found = (centres * light[..., None]).sum((0, 1)) / light.sum()
    np.testing.assert_allclose(found, place, atol=0.12)


def test_the_same_change_has_the_same_colour_in_every_frame():
    log_ratio = np.array([[0.0, 0.2], [0.2, 0.9], [0.9, 0.2]])
    tracks3d = make_tracks3d([(40.5, 30.5), (120.5, 30.5)], log_ratio)
    first, second, third = (paint(tracks3d, index)[0] for index in range(3))
    assert (second[30, 40] == first[30, 120]).all()
    assert (third[30, 120] == first[30, 120]).all()


def test_hidden_points_are_fainter_than_visible_ones():
    frame, _ = paint(one_track([0, 0, 0], visible=[[True], [True], [False]]), 2)
    ring = frame[30:50, 70:90]
    assert 0 < ring.max() < 160


def test_tails_reach_back_along_the_path_and_fade():
    xy = np.array([[[30.5 + 12 * frame, 40.5]] for frame in range(6)])
    tracks3d = make_tracks3d(xy, np.zeros((6, 1)))
    frame, _ = paint(tracks3d, 5, tail_frames=4)
    along = frame[40].astype(int).sum(-1)
    assert along[78] > along[66] > along[54] > along[48] > 0
    assert along[34] == 0, "the tail ends after four frames"
    bare, _ = paint(tracks3d, 5, tail_frames=0)
    assert not bare[40, 20:80].any()


def test_near_points_are_drawn_over_far_ones():
    log_ratio = np.array([[0.0, 0.0], [-0.5, 0.5]])
    for order in ([0, 1], [1, 0]):
        tracks3d = make_tracks3d((80.5, 40.5), log_ratio[:, order])
        frame, _ = paint(tracks3d, 1)
        assert warmth(frame[40, 80]) > 100


def test_painting_leaves_the_given_frame_alone():
    given_frame = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    OverlayPainter(moving_grid(), WIDTH, HEIGHT).paint(given_frame, 3)
    assert not given_frame.any()


def test_points_far_outside_the_frame_do_no_harm():
    frame, _ = paint(one_track([0, 0.1], xy=(1e9, -1e9)), 1)
    assert not frame[:60].any()


def test_metric_tracks_can_be_coloured_by_depth():
    tracks3d = make_tracks3d(
        [(40.5, 30.5), (120.5, 30.5)], np.zeros((2, 2)), metric=True, query_depth=[1.0, 9.0]
    )
    frame, _ = paint(tracks3d, 0, colour_by="depth")
    assert warmth(frame[30, 40]) > 80
    assert warmth(frame[30, 120]) < -80


def test_the_film_has_as_many_frames_of_the_same_size_and_rate_as_the_video(tmp_path):
    told = []
    path = tmp_path / "overlay.mp4"
    write_overlay(black_video(20), moving_grid(20), path, lambda *done: told.append(done))
    film = load_video(path)
    assert (len(film), film.width, film.height) == (20, WIDTH, HEIGHT)
    assert film.fps == pytest.approx(10)
    assert told[-1] == (20, 20)


def test_the_film_shows_its_points_in_their_colours(tmp_path):
    tracks3d = one_track(np.linspace(0, -0.5, FRAMES))
    write_overlay(black_video(), tracks3d, tmp_path / "overlay.mp4")
    last = load_video(tmp_path / "overlay.mp4").frame(FRAMES - 1)
    assert warmth(last[40, 80]) > 60


@pytest.mark.parametrize("tracks3d", [no_tracks(), one_track(np.zeros(FRAMES))])
def test_a_film_can_be_made_of_one_track_or_none(tracks3d, tmp_path):
    write_overlay(black_video(), tracks3d, tmp_path / "overlay.mp4")
    assert len(load_video(tmp_path / "overlay.mp4")) == FRAMES


def test_a_video_of_another_length_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(KinedepthError, match="has 5 frames, but the tracks have 8"):
        write_overlay(black_video(5), moving_grid(), tmp_path / "overlay.mp4")
    assert not list(tmp_path.iterdir())
