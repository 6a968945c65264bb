import numpy as np
import pytest

from kinedepth.viewing.colour_scale import RATIO_TABLE, ColourScale
from kinedepth.viewing.legend import draw_legend


@pytest.mark.parametrize(
    ("width", "height"), [(24, 16), (96, 64), (200, 120), (640, 193), (360, 640), (3840, 2160)]
)
@pytest.mark.parametrize("by", ["ratio", "depth"])
def test_the_legend_fits_into_a_frame_of_any_size(width, height, by):
    legend = draw_legend(ColourScale(by, -0.7, 0.7, RATIO_TABLE), width, height)
    assert legend.rgb.shape[:2] == legend.opacity.shape
    assert 0 <= legend.left <= width - legend.opacity.shape[1]
    assert 0 <= legend.top <= height - legend.opacity.shape[0]


@pytest.mark.parametrize("background", [0, 255])
def test_the_legend_is_legible_on_dark_and_on_bright_frames(background):
    frame = np.full((360, 640, 3), background, np.uint8)
    legend = draw_legend(ColourScale("ratio", -0.7, 0.7, RATIO_TABLE), 640, 360)
    legend.draw_on(frame)
    height, width = legend.opacity.shape
    panel = frame[legend.top : legend.top + height, legend.left : legend.left + width]
    grey = panel.mean(-1)[height // 2 :]
    assert grey.max() - np.median(grey) > 120, "white text needs a dark ground"


def test_the_legend_bar_runs_from_the_nearest_to_the_farthest_colour():
    legend = draw_legend(ColourScale("ratio", -0.7, 0.7, RATIO_TABLE), 640, 360)
    row = next(row for row in legend.rgb if (row == RATIO_TABLE[0]).all(-1).any())
    colours = row[np.ptp(row.astype(int), axis=1) > 40]
    assert (colours[0] == RATIO_TABLE[0]).all()
    assert (colours[-1] == RATIO_TABLE[-1]).all()


def test_the_legend_explains_hollow_points_where_there_is_room():
    scale = ColourScale("ratio", -0.7, 0.7, RATIO_TABLE)
    plain = draw_legend(scale, 640, 360)
    explained = draw_legend(scale, 640, 360, explain_holes=True)
    assert explained.opacity.shape[0] > plain.opacity.shape[0]
    added = explained.rgb[plain.opacity.shape[0] - 6 :]
    assert (added.min(-1) > 200).sum() > 30, "white words on the added line"
    tiny = draw_legend(scale, 48, 32, explain_holes=True)
    assert tiny.opacity.shape == draw_legend(scale, 48, 32).opacity.shape
