import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from viewing_tracks import anchored, make_tracks3d, moving_grid, one_track, warmth

from kinedepth.errors import KinedepthError
from kinedepth.viewing.colour_scale import DEPTH_TABLE, RATIO_TABLE, ColourScale, colour_scale


@pytest.mark.parametrize("table", [RATIO_TABLE, DEPTH_TABLE])
def test_both_tables_run_from_warm_for_near_to_cool_for_far(table):
    assert warmth(table[0]) > 100
    assert warmth(table[-1]) < -100


def test_warmth_never_rises_from_nearer_to_farther():
    # One step of rounding to 8 bits in either channel is allowed.
    assert np.diff(warmth(RATIO_TABLE)).max() <= 2


def test_unchanged_depth_is_light_and_colourless():
    neutral = RATIO_TABLE[len(RATIO_TABLE) // 2].astype(int)
    assert neutral.min() > 230
    assert np.ptp(neutral) <= 2


def test_colours_darken_from_no_change_towards_both_ends():
    luminance = (RATIO_TABLE / 255.0) ** 2.2 @ [0.2126, 0.7152, 0.0722]
    middle = len(RATIO_TABLE) // 2
    # Compared over several rows, because single ones differ by rounding.
    assert (np.diff(luminance[middle::8]) < 0).all()
    assert (np.diff(luminance[middle::-8]) < 0).all()


@given(st.floats(-3, 3), st.floats(0.05, 2))
def test_equal_changes_nearer_and_farther_lie_equally_far_from_neutral(value, limit):
    scale = ColourScale("ratio", -limit, limit, RATIO_TABLE)
    there, back = scale.index(np.array([value, -value]))
    assert there + back == len(RATIO_TABLE) - 1


@given(st.floats(-3, 3), st.floats(-3, 3))
def test_a_farther_point_never_gets_a_nearer_colour(first, second):
    scale = ColourScale("ratio", -0.5, 0.5, RATIO_TABLE)
    near, far = sorted([first, second])
    assert scale.index(np.array(near)) <= scale.index(np.array(far))


def test_a_value_that_is_not_a_number_is_shown_as_unchanged():
    scale = ColourScale("ratio", -0.5, 0.5, RATIO_TABLE)
    assert (scale.colours(np.array([np.nan])) == RATIO_TABLE[128]).all()


def test_the_ratio_scale_reaches_the_95th_percentile_of_the_change():
    log_ratio = np.linspace(-1, 1, 2001)[None].repeat(2, axis=0)
    scale = colour_scale(make_tracks3d((80, 60), log_ratio))
    assert scale.high == pytest.approx(0.95, abs=2e-3)
    assert scale.low == -scale.high


def test_one_wild_track_does_not_wash_out_the_others():
    log_ratio = np.full((4, 100), 0.2)
    log_ratio[:, 0] = 50
    assert colour_scale(make_tracks3d((80, 60), log_ratio)).high == pytest.approx(0.2)


def test_hidden_points_do_not_set_the_scale():
    log_ratio = np.array([[0.1, 3.0]] * 4)
    scale = colour_scale(make_tracks3d((80, 60), log_ratio, visible=[True, False]))
    assert scale.high == pytest.approx(0.1)


def test_noise_on_a_still_scene_is_not_blown_up_to_full_colour():
    assert colour_scale(one_track([0, 0.001, -0.001])).high == pytest.approx(0.05)


def test_the_depth_scale_spans_the_depths_in_metres():
    tracks3d = make_tracks3d((80, 60), np.log(np.linspace(2, 8, 500))[None], metric=True)
    scale = colour_scale(tracks3d, "depth")
    assert 2 <= np.exp(scale.low) < 2.3
    assert 7.7 < np.exp(scale.high) <= 8


def test_colouring_by_depth_needs_metric_tracks():
    with pytest.raises(KinedepthError, match="needs metric tracks"):
        colour_scale(moving_grid(), "depth")


def test_depth_of_one_unknown_scale_is_coloured_without_a_unit():
    tracks3d = anchored(make_tracks3d((80, 60), np.log(np.linspace(2, 8, 500))[None]))
    figures = [figure for _, _, figure in colour_scale(tracks3d, "depth").ticks()]
    assert figures[0].startswith("2.1")
    assert not any("m" in figure for figure in figures)


def test_an_unknown_way_to_colour_is_named():
    with pytest.raises(KinedepthError, match='not by "speed"'):
        colour_scale(moving_grid(), "speed")  # type: ignore[arg-type]


def test_legend_ticks_say_in_words_and_figures_what_the_ends_mean():
    scale = colour_scale(make_tracks3d((80, 60), np.full((2, 9), np.log(2))))
    assert scale.ticks() == [
        (0.0, "nearer", "×0.5"),
        (0.5, "same", "×1"),
        (1.0, "farther", "×2"),
    ]
