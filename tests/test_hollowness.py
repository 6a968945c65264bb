import numpy as np
import pytest
from viewing_tracks import anchored, moving_grid, one_track, paint, with_std

from kinedepth.tracks import GUESSED_SCALE_STD
from kinedepth.viewing.colour_scale import colour_scale
from kinedepth.viewing.hollowness import FULL_STD, HOLLOW_STD, hole_share
from kinedepth.viewing.overlay import OverlayPainter


def test_a_point_is_full_while_sure_and_hollows_out_as_it_becomes_unsure():
    std = np.array([0.0, FULL_STD, 0.1, 0.2, HOLLOW_STD, 1.0, np.inf, np.nan])
    share = hole_share(std)
    assert share[:2].tolist() == [0, 0]
    assert 0 < share[2] < share[3] < 1
    assert share[4:].tolist() == pytest.approx([1, 1, 1, 1])
    assert share[3] - share[2] == pytest.approx(np.log(2) / np.log(HOLLOW_STD / FULL_STD))


@pytest.mark.parametrize("value", [0, 255])
def test_the_middle_of_a_dot_is_dark_where_it_is_unsure_and_its_ring_keeps_the_colour(value):
    # 48 pixels of room for the ring to be looked at; on dark frames and on bright ones.
    tracks3d = one_track([0, -0.5, -0.5], xy=(1000.5, 500.5), width=1920, height=1080)
    blank = np.full((1080, 1920, 3), value, np.uint8)

    def painted(std):
        return OverlayPainter(with_std(tracks3d, std), 1920, 1080).paint(blank, 2)

    sure, unsure = painted(0.01), painted(1.0)
    colour = colour_scale(tracks3d).colours(np.array(-0.5)).astype(int)
    np.testing.assert_array_equal(sure[500, 1000], colour)
    assert unsure[500, 1000].max() < 30
    ring = unsure[490:511, 990:1011].astype(int)
    assert (np.abs(ring - colour).max(-1) <= 3).sum() >= 12, "the ring shows the same colour"


def test_the_hole_of_a_dot_grows_with_its_standard_deviation():
    tracks3d = one_track([0, 0], xy=(1000.5, 500.5), width=1920, height=1080)
    blank = np.full((1080, 1920, 3), 0, np.uint8)

    def light(std):
        frame = OverlayPainter(with_std(tracks3d, std), 1920, 1080).paint(blank, 1)
        return frame[480:521, 980:1021].astype(int).sum()

    lights = [light(std) for std in (0.0, 0.1, 0.2, 0.3, 0.5)]
    assert lights == sorted(lights, reverse=True)
    assert len(set(lights)) == 5


def test_unsure_points_are_told_from_sure_ones_on_a_small_frame():
    tracks3d = one_track([0, 0, 0], xy=(80.5, 40.5))
    sure, _ = paint(with_std(tracks3d, 0.0), 2)
    unsure, _ = paint(with_std(tracks3d, 0.5), 2)
    assert sure[40, 80].min() > 200
    assert unsure[40, 80].max() < 150


@pytest.mark.parametrize("std", [None, 0.0, 0.03])
def test_a_film_without_unsure_points_is_as_it_always_was(std):
    tracks3d = moving_grid()
    plain, _ = paint(tracks3d, 5)
    frame, _ = paint(tracks3d if std is None else with_std(tracks3d, std), 5)
    np.testing.assert_array_equal(frame, plain)


def test_depth_is_as_unsure_as_its_scale_while_its_change_may_be_sure():
    tracks3d = with_std(one_track([0, 0], xy=(80.5, 40.5)), 0.0)
    unsure = anchored(tracks3d, metric=True, scale_std=GUESSED_SCALE_STD)
    by_ratio, _ = paint(unsure, 1)
    by_depth, _ = paint(unsure, 1, colour_by="depth")
    sure_depth, _ = paint(anchored(tracks3d, metric=True), 1, colour_by="depth")
    assert by_ratio[40, 80].min() > 200
    assert by_depth[40, 80].max() < 150 < sure_depth[40, 80].max()
