import base64
import json
import re
import shutil
import subprocess
import sys
import threading
import urllib.error
import urllib.request
import webbrowser
from dataclasses import replace
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinedepth.camera import Intrinsics
from kinedepth.errors import KinedepthError, MissingExtraError
from kinedepth.tracks import GUESSED_SCALE_STD, Tracks, Tracks3D, grid_points
from kinedepth.video import Video, load_video
from kinedepth.viewing import opening, scene_data, view_run, write_overlay, write_rerun
from kinedepth.viewing.colour_scale import DEPTH_TABLE, RATIO_TABLE, ColourScale, colour_scale
from kinedepth.viewing.hollowness import FULL_STD, HOLLOW_STD, LARGEST_STD, hole_share
from kinedepth.viewing.legend import draw_legend
from kinedepth.viewing.overlay import OverlayPainter
from kinedepth.viewing.scene_page import SCRIPTS, viewer_script, write_scene_page

WIDTH, HEIGHT, FRAMES = 160, 120, 8


def make_tracks3d(
    xy,
    log_ratio,
    *,
    visible=True,
    metric=False,
    query_depth=1.0,
    width=WIDTH,
    height=HEIGHT,
):
    """Tracks at ``xy (T, N, 2)`` with ``log_ratio (T, N)``, broadcast against each other."""
    log_ratio = np.asarray(log_ratio, np.float32)
    xy = np.broadcast_to(np.asarray(xy, np.float32), (*log_ratio.shape, 2))
    tracks = Tracks(xy, np.broadcast_to(visible, log_ratio.shape), np.int64(0))
    camera = Intrinsics.from_field_of_view(width, height)
    xyz = camera.unproject(xy, np.exp(log_ratio) * query_depth).astype(np.float32)
    return Tracks3D(xyz, log_ratio, tracks, camera, metric)


def moving_grid(frames=FRAMES, columns=6, rows=5, **options):
    """A grid that drifts, its left half coming nearer and its right half receding."""
    start = grid_points(WIDTH, HEIGHT, columns, rows)
    time = np.linspace(0, 1, frames)[:, None]
    xy = start + 6 * np.stack([time, 0.5 * time], axis=-1)
    log_ratio = time * (start[:, 0] / WIDTH - 0.5) * 1.2
    return make_tracks3d(xy, log_ratio, **options)


def no_tracks(frames=FRAMES, **options):
    return make_tracks3d(np.zeros((frames, 0, 2)), np.zeros((frames, 0)), **options)


def one_track(log_ratio, xy=(80.5, 40.5), **options):
    log_ratio = np.asarray(log_ratio, np.float32)[:, None]
    return make_tracks3d(np.asarray(xy, np.float32), log_ratio, **options)


def with_std(tracks3d, std):
    """The tracks with a standard deviation of their log ratio, broadcast to all of them."""
    std = np.broadcast_to(np.float32(std), tracks3d.log_ratio.shape)
    return replace(tracks3d, log_ratio_std=std)


def anchored(tracks3d, metric=False, scale_std=0.02, poses=None):
    """The tracks with one scale for all, and camera poses if given."""
    scale_std = np.broadcast_to(np.float32(scale_std), len(tracks3d.tracks))
    return replace(tracks3d, metric=metric, log_scale_std=scale_std, extrinsics_w2c=poses)


def turning_camera(frames=FRAMES):
    """World-to-camera matrices ``(T, 4, 4)`` of a camera that turns and moves."""
    poses = np.tile(np.eye(4, dtype=np.float32), (frames, 1, 1))
    angle = np.linspace(0, 0.5, frames)
    poses[:, 0, 0] = poses[:, 2, 2] = np.cos(angle)
    poses[:, 0, 2], poses[:, 2, 0] = np.sin(angle), -np.sin(angle)
    poses[:, :3, 3] = angle[:, None] * [1.0, -0.5, 2.0]
    return poses


def black_video(frames=FRAMES, value=0):
    return Video.from_array(np.full((frames, HEIGHT, WIDTH, 3), value, np.uint8), fps=10)


def warmth(rgb):
    rgb = np.asarray(rgb, int)
    return rgb[..., 0] - rgb[..., 2]


# The colour scale


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


# The legend


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


# The overlay


def paint(tracks3d, index, value=0, **options):
    painter = OverlayPainter(tracks3d, WIDTH, HEIGHT, **options)
    return painter.paint(np.full((HEIGHT, WIDTH, 3), value, np.uint8), index), painter


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


def test_a_video_of_another_size_is_refused(tmp_path):
    with pytest.raises(KinedepthError, match="160x120, but the tracks were made on 320x240"):
        write_scene_page(moving_grid(width=320, height=240), tmp_path / "a.html", black_video())


# What is unsure


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


def test_the_legend_explains_hollow_points_where_there_is_room():
    scale = ColourScale("ratio", -0.7, 0.7, RATIO_TABLE)
    plain = draw_legend(scale, 640, 360)
    explained = draw_legend(scale, 640, 360, explain_holes=True)
    assert explained.opacity.shape[0] > plain.opacity.shape[0]
    added = explained.rgb[plain.opacity.shape[0] - 6 :]
    assert (added.min(-1) > 200).sum() > 30, "white words on the added line"
    tiny = draw_legend(scale, 48, 32, explain_holes=True)
    assert tiny.opacity.shape == draw_legend(scale, 48, 32).opacity.shape


def test_depth_is_as_unsure_as_its_scale_while_its_change_may_be_sure():
    tracks3d = with_std(one_track([0, 0], xy=(80.5, 40.5)), 0.0)
    unsure = anchored(tracks3d, metric=True, scale_std=GUESSED_SCALE_STD)
    by_ratio, _ = paint(unsure, 1)
    by_depth, _ = paint(unsure, 1, colour_by="depth")
    sure_depth, _ = paint(anchored(tracks3d, metric=True), 1, colour_by="depth")
    assert by_ratio[40, 80].min() > 200
    assert by_depth[40, 80].max() < 150 < sure_depth[40, 80].max()


# The 3D page


class PageReader(HTMLParser):
    """Collects a page's attributes, and the text inside its scripts, title and heading."""

    def __init__(self):
        super().__init__()
        self.attributes, self.ids, self.texts, self.inside = [], set(), {}, None

    def handle_starttag(self, tag, attrs):
        self.attributes += attrs
        names = dict(attrs)
        self.ids.add(names.get("id"))
        if tag in ("script", "title", "h1", "style"):
            self.inside = names.get("id") or tag

    def handle_endtag(self, tag):
        self.inside = None

    def handle_data(self, data):
        if self.inside:
            self.texts[self.inside] = self.texts.get(self.inside, "") + data


def read_page(tracks3d, folder, video=None, **options):
    path = folder / "scene.html"
    write_scene_page(tracks3d, path, video, **options)
    reader = PageReader()
    reader.feed(path.read_text(encoding="utf-8"))
    return reader


def read_scene(tracks3d, folder, video=None, **options):
    def not_in_json(constant):
        raise AssertionError(f"{constant} is not JSON; browsers refuse it")

    text = read_page(tracks3d, folder, video, **options).texts["scene"]
    return json.loads(text, parse_constant=not_in_json)


def unpack(packed, kind, shape):
    return np.frombuffer(base64.b64decode(packed["data"]), kind).reshape(shape).astype(np.float64)


def positions_of(scene):
    low, high = np.array(scene["position"]["low"]), np.array(scene["position"]["high"])
    grid = unpack(scene["position"], "<u2", (scene["frames"], scene["tracks"], 3))
    return low + grid / 65535 * (high - low), (high - low) / 65535 / 2


def test_the_page_loads_nothing_from_anywhere(tmp_path):
    page = read_page(moving_grid(), tmp_path, black_video())
    text = (tmp_path / "scene.html").read_text(encoding="utf-8")
    links = [value for name, value in page.attributes if name in ("src", "href", "action")]
    assert all(link.startswith("data:") for link in links)
    assert not re.search(r"https?://|//cdn|@import|\bimport\b|\bfetch\(|XMLHttpRequest", text)
    policies = [value for name, value in page.attributes if name == "content"]
    assert any("default-src 'none'" in policy for policy in policies)


def test_positions_in_the_page_are_exact_to_half_a_step(tmp_path):
    tracks3d = moving_grid()
    positions, half_step = positions_of(read_scene(tracks3d, tmp_path))
    assert (np.abs(positions - tracks3d.xyz) <= half_step * 1.001 + 1e-6).all()


def test_log_ratios_and_visibility_survive_the_page(tmp_path):
    seen = np.random.default_rng(0).random((FRAMES, 30)) > 0.3
    tracks3d = moving_grid(visible=seen)
    scene = read_scene(tracks3d, tmp_path)
    largest = scene["logRatio"]["largest"]
    log_ratio = unpack(scene["logRatio"], "<i2", (FRAMES, 30)) / 32767 * largest
    np.testing.assert_allclose(log_ratio, tracks3d.log_ratio, atol=largest / 32767)
    bits = np.frombuffer(base64.b64decode(scene["visible"]["data"]), np.uint8)
    visible = np.unpackbits(bits, bitorder="little", count=FRAMES * 30).reshape(FRAMES, 30)
    np.testing.assert_array_equal(visible, seen)


@pytest.mark.parametrize("largest", [0.004, 0.3, 1.9])
def test_standard_deviations_in_the_page_are_exact_to_half_a_step(largest, tmp_path):
    std = np.random.default_rng(1).random((FRAMES, 30)).astype(np.float32) * largest
    packed = read_scene(with_std(moving_grid(), std), tmp_path)["uncertainty"]
    step = packed["largest"] / 255
    assert step <= largest / 255 * 1.0001
    found = unpack(packed, np.uint8, (FRAMES, 30)) * step
    assert np.abs(found - std).max() <= step / 2 * 1.001


def test_a_standard_deviation_that_is_not_a_number_is_as_large_as_can_be(tmp_path):
    std = np.full((FRAMES, 30), 0.1)
    std[3, 4], std[5, 6] = np.nan, np.inf
    packed = read_scene(with_std(moving_grid(), std), tmp_path)["uncertainty"]
    assert packed["largest"] == LARGEST_STD
    data = unpack(packed, np.uint8, (FRAMES, 30))
    assert data[3, 4] == data[5, 6] == 255
    assert (data == 255).sum() == 2


def test_tracks_without_standard_deviation_make_a_page_that_says_nothing_of_it(tmp_path):
    scene = read_scene(moving_grid(), tmp_path)
    assert scene["uncertainty"] is None
    assert scene["cameraToWorld"] is None
    assert scene["commonScale"] is False


def test_camera_poses_in_the_page_put_points_into_the_world(tmp_path):
    poses = turning_camera()
    tracks3d = anchored(moving_grid(), poses=poses)
    scene = read_scene(tracks3d, tmp_path)
    rows = unpack(scene["cameraToWorld"], "<f4", (FRAMES, 3, 4))
    homogeneous = np.concatenate([tracks3d.xyz, np.ones((FRAMES, 30, 1))], axis=-1)
    world = np.einsum("tij,tnj->tni", rows, homogeneous)
    back = np.einsum("tij,tnj->tni", poses[:, :3, :3], world) + poses[:, None, :3, 3]
    np.testing.assert_allclose(back, tracks3d.xyz, atol=1e-5)


def test_a_thinned_page_keeps_the_poses_and_deviations_of_its_own_frames(tmp_path, monkeypatch):
    monkeypatch.setattr(scene_data, "MOST_ENTRIES", 100)
    poses, std = turning_camera(), np.linspace(0, 1, FRAMES, dtype=np.float32)[:, None]
    scene = read_scene(with_std(anchored(moving_grid(), poses=poses), std), tmp_path)
    assert scene["frameStep"] == 3
    rows = unpack(scene["cameraToWorld"], "<f4", (3, 3, 4))
    np.testing.assert_allclose(rows, np.linalg.inv(poses[::3])[:, :3], atol=1e-6)
    found = unpack(scene["uncertainty"], np.uint8, (3, 30)) * scene["uncertainty"]["largest"] / 255
    np.testing.assert_allclose(found[:, 7], std[::3, 0], atol=2e-3)


def test_tracks_of_one_unknown_scale_are_not_said_to_be_metric(tmp_path):
    scale_std = np.full(30, 0.02)
    scale_std[[3, 8]] = GUESSED_SCALE_STD
    depths = np.linspace(2.5, 33, 30)
    scene = read_scene(anchored(moving_grid(query_depth=depths), scale_std=scale_std), tmp_path)
    assert (scene["metric"], scene["commonScale"]) == (False, True)
    assert scene["scale"]["guessed"] == [3, 8]
    found = unpack(scene["scale"], "<u2", 30) * scene["scale"]["largest"] / 65535
    np.testing.assert_allclose(found, np.minimum(scale_std, LARGEST_STD), atol=2e-5)
    assert [guide["label"] for guide in scene["guides"]] == ["depth 5", "depth 10", "depth 20"]


def test_the_page_uses_the_colours_of_the_overlay(tmp_path):
    tracks3d = moving_grid()
    scale, packed = colour_scale(tracks3d), read_scene(tracks3d, tmp_path)["scales"]["ratio"]
    assert (packed["low"], packed["high"]) == (scale.low, scale.high)
    assert base64.b64decode(packed["table"]) == RATIO_TABLE.tobytes()


def test_only_metric_tracks_can_be_coloured_by_depth_in_the_page(tmp_path):
    assert set(read_scene(moving_grid(), tmp_path)["scales"]) == {"ratio"}
    assert set(read_scene(moving_grid(metric=True), tmp_path)["scales"]) == {"ratio", "depth"}


def test_one_outlier_neither_ruins_the_precision_nor_leaves_its_pixel(tmp_path):
    tracks3d = moving_grid()
    xyz = tracks3d.xyz.copy()
    xyz[3, 7] *= 1e6
    wild = Tracks3D(xyz, tracks3d.log_ratio, tracks3d.tracks, tracks3d.intrinsics)
    scene = read_scene(wild, tmp_path)
    positions, half_step = positions_of(scene)
    assert half_step.max() < 1e-3
    assert scene["movedShare"] == pytest.approx(1 / (FRAMES * 30))
    pixel = tracks3d.intrinsics.project(positions[3, 7])
    np.testing.assert_allclose(pixel, tracks3d.tracks.xy[3, 7], atol=0.1)
    others = np.ones((FRAMES, 30), bool)
    others[3, 7] = False
    error = np.abs(positions - tracks3d.xyz)[others]
    assert (error <= half_step * 1.001 + 1e-6).all()


def test_positions_that_are_not_numbers_are_hidden_and_kept_out_of_the_page(tmp_path):
    tracks3d = moving_grid()
    xyz, log_ratio = tracks3d.xyz.copy(), tracks3d.log_ratio.copy()
    xyz[2, 4], log_ratio[2, 4] = np.nan, np.nan
    xyz[:, 5, 2] = -1
    broken = Tracks3D(xyz, log_ratio, tracks3d.tracks, tracks3d.intrinsics)
    scene = read_scene(broken, tmp_path)
    positions, _ = positions_of(scene)
    assert np.isfinite(positions).all()
    assert (positions[..., 2] > 0).all()
    bits = np.frombuffer(base64.b64decode(scene["visible"]["data"]), np.uint8)
    visible = np.unpackbits(bits, bitorder="little", count=FRAMES * 30).reshape(FRAMES, 30)
    assert visible[2, 4] == 0
    assert not visible[:, 5].any()
    assert visible.sum() == FRAMES * 30 - 1 - FRAMES


@pytest.mark.parametrize(
    "title", ["<b>& \"quotes\" 'n' more</b>", "</script><script>alert(1)</script>", "{{SCENE}}"]
)
def test_a_title_is_shown_as_it_is_written(title, tmp_path):
    page = read_page(moving_grid(), tmp_path, title=title)
    assert page.texts["title"] == title
    assert page.texts["h1"] == title
    assert json.loads(page.texts["scene"])["title"] == title


def test_the_page_holds_small_pictures_and_the_colours_under_the_queries(tmp_path):
    frames = np.zeros((FRAMES, HEIGHT, WIDTH, 3), np.uint8)
    frames[:, :, : WIDTH // 2] = (250, 20, 10)
    frames[1:, :, :] //= 2
    scene = read_scene(moving_grid(), tmp_path, Video.from_array(frames, fps=10))
    assert [picture["frame"] for picture in scene["pictures"]] == list(range(FRAMES))
    jpeg = np.frombuffer(base64.b64decode(scene["pictures"][0]["jpeg"]), np.uint8)
    picture = cv2.imdecode(jpeg, cv2.IMREAD_COLOR)[..., ::-1]
    assert picture.shape == (HEIGHT, WIDTH, 3)
    np.testing.assert_allclose(picture[60, 40], (250, 20, 10), atol=8)
    colours = unpack(scene["videoColour"], np.uint8, (30, 3))
    left = grid_points(WIDTH, HEIGHT, 6, 5)[:, 0] < WIDTH / 2
    np.testing.assert_array_equal(colours[left], np.tile([250, 20, 10], (15, 1)))
    np.testing.assert_array_equal(colours[~left], 0)
    assert scene["fps"] == pytest.approx(10)


def test_a_long_clip_has_few_pictures_within_their_budget(tmp_path, monkeypatch):
    noise = np.random.default_rng(0).integers(0, 255, (150, HEIGHT, WIDTH, 3), dtype=np.uint8)
    monkeypatch.setattr(scene_data, "PICTURE_BYTES", 600_000)
    scene = read_scene(moving_grid(150), tmp_path, Video.from_array(noise))
    assert len(scene["pictures"]) <= scene_data.MOST_PICTURES
    assert sum(len(picture["jpeg"]) for picture in scene["pictures"]) <= 600_000
    assert scene["pictures"][-1]["frame"] < 150


def test_a_clip_too_long_for_one_page_is_shown_every_few_frames(tmp_path, monkeypatch):
    monkeypatch.setattr(scene_data, "MOST_ENTRIES", 1000)
    tracks3d = moving_grid(100)
    scene = read_scene(tracks3d, tmp_path, black_video(100))
    assert scene["frameStep"] == 3
    assert (scene["frames"], scene["clipFrames"]) == (34, 100)
    positions, half_step = positions_of(scene)
    assert (np.abs(positions - tracks3d.xyz[::3]) <= half_step * 1.001 + 1e-6).all()


def test_very_many_tracks_are_thinned(tmp_path, monkeypatch):
    monkeypatch.setattr(scene_data, "MOST_TRACKS", 12)
    scene = read_scene(moving_grid(), tmp_path)
    assert (scene["trackStep"], scene["tracks"], scene["clipTracks"]) == (3, 10, 30)


def test_pages_of_ordinary_clips_are_small(tmp_path):
    write_scene_page(with_std(moving_grid(48, 20, 20), 0.1), tmp_path / "small.html")
    assert (tmp_path / "small.html").stat().st_size < 400_000


def test_the_largest_page_stays_below_15_megabytes():
    numbers = scene_data.MOST_ENTRIES * (3 * 2 + 2 + 1 + 1 / 8) * 4 / 3
    assert numbers + scene_data.PICTURE_BYTES + 200_000 < 15e6


@pytest.mark.parametrize("metric", [False, True])
@pytest.mark.parametrize("make", [no_tracks, lambda **o: one_track(np.zeros(FRAMES), **o)])
def test_a_page_can_be_made_of_one_track_or_none(make, metric, tmp_path):
    scene = read_scene(make(metric=metric), tmp_path, black_video())
    assert scene["frames"] == FRAMES
    assert scene["guides"]


def test_tracks_that_are_never_visible_still_make_a_page(tmp_path):
    assert read_scene(moving_grid(visible=False), tmp_path)["tracks"] == 30


def test_guides_of_a_metric_scene_lie_at_round_depths_within_it(tmp_path):
    depths = np.linspace(2.5, 33, 30)
    scene = read_scene(moving_grid(metric=True, query_depth=depths), tmp_path)
    assert [guide["label"] for guide in scene["guides"]] == ["5 m", "10 m", "20 m"]


def test_every_element_the_viewer_looks_up_is_in_the_page(tmp_path):
    looked_up = set(re.findall(r'element\("([^"]+)"\)', viewer_script()))
    assert len(looked_up) > 15
    assert looked_up <= read_page(moving_grid(), tmp_path).ids


def test_every_field_the_viewer_reads_is_in_the_page(tmp_path):
    read = set(re.findall(r"\bscene\.(\w+)", viewer_script()))
    assert read <= set(read_scene(moving_grid(), tmp_path, black_video()))


def test_every_control_has_a_name_for_screen_readers(tmp_path):
    write_scene_page(moving_grid(), tmp_path / "scene.html")
    text = (tmp_path / "scene.html").read_text(encoding="utf-8")
    for control in re.findall(r"<(?:input|canvas)[^>]*>", text):
        name = re.search(r'id="([^"]+)"', control)
        labelled = f'for="{name[1]}"' in text or "aria-label" in control
        inside_label = f'<label class="check">{control}' in text
        assert labelled or inside_label, control


def test_every_file_of_the_viewer_is_joined_once():
    folder = resources.files("kinedepth.viewing").joinpath("page")
    files = [entry.name for entry in folder.iterdir() if entry.name.endswith(".js")]
    assert sorted(SCRIPTS) == sorted(files)


def test_no_function_of_the_viewer_is_hidden_by_a_second_one_of_its_name():
    # Twice the same constant is an error of syntax; of two functions the later one wins, unseen.
    names = re.findall(r"^function (\w+)", viewer_script(), re.MULTILINE)
    assert len(names) > 40
    assert len(names) == len(set(names))


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_the_viewer_is_valid_javascript(tmp_path):
    (tmp_path / "viewer.js").write_text(viewer_script(), encoding="utf-8")
    checked = subprocess.run(
        ["node", "--check", str(tmp_path / "viewer.js")], capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stderr


# The Rerun recording


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


# Opening a run


@pytest.fixture
def run_folder(tmp_path):
    (tmp_path / "scene.html").write_text("<p>the page</p>")
    (tmp_path / "scene.rrd").write_bytes(b"RRF2")
    (tmp_path / "tracks.npz").write_bytes(b"private")
    return tmp_path


def test_a_run_opens_as_a_file_in_the_browser(run_folder, monkeypatch):
    opened = []
    monkeypatch.setattr(webbrowser, "open", lambda address: opened.append(address) or True)
    view_run(run_folder, announce=lambda sentence: None)
    assert opened == [(run_folder / "scene.html").resolve().as_uri()]


def test_without_a_browser_the_user_is_told_where_the_page_is(run_folder, monkeypatch):
    said = []
    monkeypatch.setattr(webbrowser, "open", lambda address: False)
    view_run(run_folder, announce=said.append)
    assert "scene.html" in said[0]
    assert "no browser" in said[0]


@pytest.mark.parametrize(("rerun", "name"), [(False, "scene.html"), (True, "scene.rrd")])
def test_a_folder_without_a_run_is_refused_by_name(rerun, name, tmp_path):
    with pytest.raises(KinedepthError, match=f"holds no {name}"):
        view_run(tmp_path, rerun=rerun)
    with pytest.raises(KinedepthError, match="There is no folder"):
        view_run(tmp_path / "nowhere", rerun=rerun)


@pytest.fixture
def served(run_folder):
    server = opening.page_server(run_folder / "scene.html", 0)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_page_is_served_to_this_machine_only(served):
    assert served.server_address[0] == "127.0.0.1"
    with urllib.request.urlopen(f"http://127.0.0.1:{served.server_port}/") as answer:
        assert answer.read() == b"<p>the page</p>"


@pytest.mark.parametrize("path", ["tracks.npz", "../scene.rrd", "%2e%2e/scene.html", "x/y"])
def test_nothing_but_the_page_is_served(served, path):
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"http://127.0.0.1:{served.server_port}/{path}")


def test_a_port_that_is_taken_is_named(served, run_folder):
    with pytest.raises(KinedepthError, match=f"Port {served.server_port} cannot be used"):
        view_run(run_folder, port=served.server_port)


def test_a_port_that_is_none_is_named(run_folder):
    with pytest.raises(KinedepthError, match="Port 70000 cannot be used"):
        view_run(run_folder, port=70000)


def test_the_rerun_viewer_listens_to_this_machine_only(run_folder, monkeypatch):
    started = []

    def pretend(command, check):
        started.append(command)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(opening, "import_rerun", lambda: None)
    monkeypatch.setattr(subprocess, "run", pretend)
    view_run(run_folder, port=9123, rerun=True)
    (command,) = started
    assert command[command.index("--bind") + 1] == "127.0.0.1"
    assert command[command.index("--port") + 1] == "9123"
    assert Path(command[3]) == (run_folder / "scene.rrd").resolve()


def test_a_rerun_viewer_that_fails_is_reported(run_folder, monkeypatch):
    monkeypatch.setattr(opening, "import_rerun", lambda: None)
    failed = subprocess.CompletedProcess([], 1)
    monkeypatch.setattr(subprocess, "run", lambda command, check: failed)
    with pytest.raises(KinedepthError, match="Rerun viewer stopped with an error"):
        view_run(run_folder, rerun=True)
