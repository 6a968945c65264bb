"""Colours of dense depth, and the range that they span."""

import numpy as np
import pytest
from depth_output_runs import KINDS, outputs_for, some_depth, write_all

from kinedepth.errors import KinedepthError
from kinedepth.exporting.depth_colours import (
    COLORMAPS,
    NO_VALUE,
    DepthPainter,
    DepthRangeMeter,
    measure_ranges,
)
from kinedepth.exporting.stereo import StereoSettings
from kinedepth.video import load_video


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", sorted(set(COLORMAPS) - {"turbo"}))
def test_nearer_is_lighter(kind, name):
    values = np.linspace(1, 5, 32, dtype=np.float32)[None]
    if kind == "affine_invariant_disparity":
        values = values[:, ::-1].copy()
    picture = DepthPainter(kind, (1, 5), name).paint(values)
    light = picture.astype(int) @ [299, 587, 114]
    assert (np.diff(light[0]) < 0).all()


def test_depth_up_to_scale_is_shown_by_its_logarithm():
    painter = DepthPainter("metric", (1, 100), "grey")
    found = painter.nearness(np.array([[1, 10, 100, 1000, 0.1]], np.float32))
    np.testing.assert_allclose(found, [[1, 0.5, 0, 0, 1]], atol=1e-6)
    painter = DepthPainter("affine_invariant_disparity", (1, 3), "grey")
    np.testing.assert_allclose(painter.nearness(np.array([[1, 2, 3]], np.float32)), [[0, 0.5, 1]])


@pytest.mark.parametrize("value", [np.nan, np.inf, 0, -1])
def test_a_pixel_without_depth_has_the_colour_of_none(value):
    picture = DepthPainter("metric", (1, 3), "turbo").paint(np.array([[value, 2]], np.float32))
    assert tuple(picture[0, 0]) == NO_VALUE
    assert tuple(picture[0, 1]) != NO_VALUE


def test_one_scale_holds_for_the_whole_film(tmp_path):
    depth = np.full((6, 32, 32), 2, np.float32)
    depth[:3, :, :16] = 1
    depth[3:, :, :16] = 8
    write_all(tmp_path, depth, ["mp4"], colormap="grey")
    film = load_video(tmp_path / "depth.mp4")
    first, last = film.frame(0), film.frame(5)
    # The still half keeps its grey while the other goes from one end to the other.
    assert abs(first[:, 20:].mean() - last[:, 20:].mean()) < 2
    assert first[:, :12].mean() > 250
    assert last[:, :12].mean() < 5


def test_an_unknown_colour_map_is_told_with_those_that_there_are(tmp_path):
    with pytest.raises(KinedepthError, match=r"no colour map 'jet'; choose one of inferno, .*"):
        outputs_for(tmp_path, some_depth(), ["mp4"], colormap="jet")


def test_ranges_leave_out_what_is_unusable_and_are_little_moved_by_outliers():
    depth = np.full((3, 100, 100), 2, np.float32)
    depth[:, :50] = 4
    depth[0, 0, :5] = np.nan, np.inf, -np.inf, 0, -5
    depth[1, 0, 0] = 1000
    ranges = measure_ranges(depth, "metric")
    assert ranges.value == (2, 1000)
    assert ranges.shown == (2, 4)
    assert measure_ranges(depth, "affine_invariant").value == (-5, 1000)


def test_measuring_a_long_video_keeps_few_samples():
    meter = DepthRangeMeter("metric")
    frame = some_depth(1, 64, 64)[0]
    for _ in range(3000):
        meter.add(frame)
    assert sum(sample.size for sample in meter._samples) <= 2**21
    low, high = meter.ranges().shown
    assert 0.5 < low < 0.6
    assert 5.9 < high < 6


def test_a_video_without_a_usable_value_is_written_and_told(tmp_path):
    depth = np.full((2, 4, 4), np.nan, np.float32)
    with pytest.warns(UserWarning, match="Not one depth value is usable"):
        ranges = measure_ranges(depth, "metric")
    options = {"value_range": ranges.value, "stereo": StereoSettings()}
    write_all(tmp_path, depth, ["mp4", "png16"], **options)
    assert len(load_video(tmp_path / "stereo.mp4")) == 2
