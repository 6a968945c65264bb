"""Stereo pairs against closed form: planes, a square before a wall, slopes, and their colours."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinedepth.errors import KinedepthError
from kinedepth.exporting.anaglyph import anaglyph
from kinedepth.exporting.stereo import StereoSettings, normalised_disparity, stereo_pair
from kinedepth.exporting.stereo_film import arrange

WALL, SQUARE = 80, 200
"""Grey levels of a far wall and of a near square before it."""


def shifting(pixels: int, width: int, convergence: float = 0.0, margin: int = 0) -> StereoSettings:
    """Settings by which disparity 1 moves ``pixels`` to the right in the left view."""
    return StereoSettings(strength=2 * pixels / width, convergence=convergence, edge_margin=margin)


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def square_before_wall() -> tuple[np.ndarray, np.ndarray]:
    """Frame and disparity, 40 x 100; the square covers rows 10 to 29 and columns 40 to 59."""
    image = np.full((40, 100, 3), WALL, np.uint8)
    disparity = np.zeros((40, 100), np.float32)
    image[10:30, 40:60] = SQUARE
    disparity[10:30, 40:60] = 1
    return image, disparity


def test_a_flat_scene_at_the_screen_gives_the_frame_twice():
    image = noise(9, 31)
    left, right = stereo_pair(image, np.full((9, 31), 0.5, np.float32), StereoSettings())
    np.testing.assert_array_equal(left, image)
    np.testing.assert_array_equal(right, image)


@given(pixels=st.integers(1, 5), seed=st.integers(0, 100))
@settings(max_examples=20, deadline=None)
def test_a_plane_before_the_screen_moves_by_whole_pixels_exactly(pixels, seed):
    image = noise(8, 60, seed)
    left, right = stereo_pair(image, np.ones((8, 60), np.float32), shifting(pixels, 60))
    np.testing.assert_array_equal(left[:, pixels + 1 :], image[:, 1:-pixels])
    np.testing.assert_array_equal(right[:, : -pixels - 1], image[:, pixels:-1])


def test_a_plane_behind_the_screen_moves_the_other_way():
    image = noise(8, 60)
    far = np.zeros((8, 60), np.float32)
    left, right = stereo_pair(image, far, shifting(3, 60, convergence=1))
    np.testing.assert_array_equal(left[:, :-4], image[:, 3:-1])
    np.testing.assert_array_equal(right[:, 4:], image[:, 1:-3])


def test_a_plane_moves_by_a_fraction_of_a_pixel():
    ramp = np.arange(0, 240, 4, dtype=np.uint8)
    image = np.broadcast_to(ramp[None, :, None], (5, 60, 3)).copy()
    half = np.full((5, 60), 0.5, np.float32)
    left, right = stereo_pair(image, half, shifting(3, 60))  # 1.5 pixels.
    inside = slice(4, -4)
    np.testing.assert_array_equal(left[:, inside], image[:, inside] - 6)
    np.testing.assert_array_equal(right[:, inside], image[:, inside] + 6)


def test_a_near_square_covers_and_uncovers_exactly_the_columns_that_it_should():
    image, disparity = square_before_wall()
    left, right = stereo_pair(image, disparity, shifting(6, 100))
    expected_left = np.full_like(image, WALL)
    expected_left[10:30, 46:66] = SQUARE  # Columns 40 to 45 are uncovered, 60 to 65 covered.
    expected_right = np.full_like(image, WALL)
    expected_right[10:30, 34:54] = SQUARE
    hole = np.zeros(image.shape[:2], bool)
    hole[10:30, 40:46] = True
    np.testing.assert_array_equal(left[~hole], expected_left[~hole])
    hole = np.zeros(image.shape[:2], bool)
    hole[10:30, 54:60] = True
    np.testing.assert_array_equal(right[~hole], expected_right[~hole])


def test_what_a_near_square_uncovers_is_filled_from_the_wall():
    image, disparity = square_before_wall()
    left, right = stereo_pair(image, disparity, shifting(6, 100))
    # The outermost pixels of a hole are smoothed with what is beside them.
    assert (left[11:29, 40:45] == WALL).all()
    assert (right[11:29, 55:60] == WALL).all()


def test_a_hole_goes_on_with_the_texture_beside_it():
    image, disparity = square_before_wall()
    stripes = np.where(np.arange(100) // 4 % 2, 40, 120).astype(np.uint8)
    wall = disparity == 0
    image[wall] = np.broadcast_to(stripes[None, :, None], image.shape)[wall]
    left, _ = stereo_pair(image, disparity, shifting(8, 100))
    hole = left[20, 40:48, 0].astype(int)
    # Columns 39, 38, ... mirrored; repeating column 39 would be flat.
    assert np.ptp(hole[1:-1]) > 60


def test_a_thin_near_pole_is_not_lost():
    image = np.full((5, 50, 3), WALL, np.uint8)
    disparity = np.zeros((5, 50), np.float32)
    image[:, 20] = SQUARE
    disparity[:, 20] = 1
    left, right = stereo_pair(image, disparity, shifting(4, 50))
    assert (left[:, 24] == SQUARE).all()
    assert (right[:, 16] == SQUARE).all()


def test_of_surfaces_that_meet_the_nearest_is_seen():
    image = np.full((3, 80, 3), 10, np.uint8)
    disparity = np.zeros((3, 80), np.float32)
    # Moved by 2, 4 and 8 pixels, all three arrive at column 38.
    for column, value, grey in ((36, 0.25, 60), (34, 0.5, 120), (30, 1.0, 240)):
        disparity[:, column] = value
        image[:, column] = grey
    left, _ = stereo_pair(image, disparity, shifting(8, 80))
    assert (left[:, 38] == 240).all()


@given(seed=st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_each_pixel_of_a_view_shows_the_nearest_of_what_arrives_there(seed):
    """Against a z-buffer, pixel by pixel, of flat patches that move by whole pixels.

    Even ones: patches that are one pixel of movement apart count as one slope.
    """
    generator = np.random.default_rng(seed)
    width, most = 64, 6
    steps = np.repeat(2 * generator.integers(0, most // 2 + 1, 8), 8)
    image = noise(1, width, seed)
    disparity = (steps / most).astype(np.float32)[None]
    left, _ = stereo_pair(image, disparity, shifting(most, width))
    depth = np.full(width, -1)
    expected = np.zeros((width, 3), int)
    for column in range(width):
        target = column + steps[column]
        if target < width and steps[column] > depth[target]:
            depth[target], expected[target] = steps[column], image[0, column]
    seen = depth >= 0
    np.testing.assert_array_equal(left[0, seen], expected[seen])


def test_a_slanted_surface_is_stretched_and_squeezed_without_cracks():
    width, most = 200, 20
    column = np.arange(width)
    wave = 127 + 100 * np.sin(column / 3)
    image = np.broadcast_to(np.rint(wave)[None, :, None], (4, width, 3)).astype(np.uint8)
    disparity = np.broadcast_to(column / (width - 1), (4, width)).astype(np.float32)
    left, right = stereo_pair(image, disparity, shifting(most, width))
    # Column x moves to x (1 +- most / (width - 1)); linear interpolation bends the wave by 1.4.
    rate = most / (width - 1)
    expected = 127 + 100 * np.sin(column / (1 + rate) / 3)
    assert np.abs(left[0, 1:, 0] - expected[1:]).max() < 3
    seen = column < width - most - 1
    expected = 127 + 100 * np.sin(column / (1 - rate) / 3)
    assert np.abs(right[0, :, 0] - expected)[seen].max() < 3


@given(seed=st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_order_along_a_gentle_surface_is_kept(seed):
    generator = np.random.default_rng(seed)
    width = 120
    curve = cv2.GaussianBlur(generator.random((1, width)).astype(np.float32), (0, 0), 8)
    disparity = (curve - curve.min()) / (curve.max() - curve.min())
    image = np.broadcast_to(np.linspace(0, 255, width)[None, :, None], (1, width, 3))
    image = np.rint(image).astype(np.uint8)
    assert np.abs(np.diff(disparity)).max() * 4 < 1  # Nothing overtakes anything.
    for view in stereo_pair(image, disparity, shifting(4, width)):
        inside = view[0, 6:-6, 0].astype(int)
        assert (np.diff(inside) >= 0).all()


def test_the_two_views_are_mirror_images_of_each_others_making():
    image = noise(12, 50)
    disparity = cv2.GaussianBlur(np.random.default_rng(1).random((12, 50)), (0, 0), 3)
    disparity = disparity.astype(np.float32)
    left, right = stereo_pair(image, disparity, StereoSettings(strength=0.1))
    flipped_left, flipped_right = stereo_pair(
        np.ascontiguousarray(image[:, ::-1]),
        np.ascontiguousarray(disparity[:, ::-1]),
        StereoSettings(strength=0.1),
    )
    np.testing.assert_array_equal(flipped_left[:, ::-1], right)
    np.testing.assert_array_equal(flipped_right[:, ::-1], left)


def test_the_blurred_rim_of_an_object_moves_with_it():
    image, disparity = square_before_wall()
    image[10:30, 39] = image[10:30, 60] = (WALL + SQUARE) // 2  # Outside of its depth.
    left_behind, _ = stereo_pair(image, disparity, shifting(6, 100))
    taken_along, _ = stereo_pair(image, disparity, shifting(6, 100, margin=1))
    assert (left_behind[15:25, 39] != WALL).all()
    assert (taken_along[15:25, 36:42] == WALL).all()
    assert (taken_along[15:25, 45] == (WALL + SQUARE) // 2).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 1), (2, 2)])
def test_tiny_frames_have_views(size):
    image = noise(*size)
    disparity = np.random.default_rng(0).random(size).astype(np.float32)
    for view in stereo_pair(image, disparity, StereoSettings(strength=0.2)):
        assert view.shape == image.shape
    for layout in ("side-by-side", "half-side-by-side", "anaglyph"):
        width = 2 * size[1] if layout == "side-by-side" else size[1]
        assert arrange(image, image, layout).shape == (size[0], width, 3)


# Disparity from depth


def test_depth_turns_to_disparity_by_its_reciprocal():
    depth = np.array([[1, 2, 4, 8, 0.5]], np.float32)
    found = normalised_disparity(depth, "metric", (1.0, 4.0))
    np.testing.assert_allclose(found, [[1, 1 / 3, 0, 0, 1]], atol=1e-6)


@given(scale=st.floats(0.01, 1000))
@settings(max_examples=20, deadline=None)
def test_an_unknown_scale_of_depth_changes_nothing(scale):
    depth = np.random.default_rng(0).uniform(1, 9, (4, 5)).astype(np.float32)
    once = normalised_disparity(depth, "scale_invariant", (1, 9))
    scaled = normalised_disparity(depth * np.float32(scale), "scale_invariant", (scale, 9 * scale))
    np.testing.assert_allclose(scaled, once, atol=1e-5)


def test_disparity_is_taken_as_it_is_and_depth_with_a_shift_is_turned_around():
    values = np.array([[-1, 0, 1, 3]], np.float32)
    found = normalised_disparity(values, "affine_invariant_disparity", (-1, 3))
    np.testing.assert_allclose(found, [[0, 0.25, 0.5, 1]])
    found = normalised_disparity(values, "affine_invariant", (-1, 3))
    np.testing.assert_allclose(found, [[1, 0.75, 0.5, 0]])


@pytest.mark.parametrize("unknown", [np.nan, 0, -1, np.inf])
def test_a_pixel_without_depth_is_as_far_as_its_farther_neighbour(unknown):
    depth = np.array([[1, unknown, unknown, 2], [unknown] * 4], np.float32)
    found = normalised_disparity(depth, "metric", (1, 2))
    np.testing.assert_allclose(found, [[1, 0, 0, 0], [0, 0, 0, 0]])


def test_depth_without_any_range_is_flat():
    found = normalised_disparity(np.full((2, 3), 4, np.float32), "metric", (4, 4))
    assert (found == 0).all()


# Anaglyphs


def test_an_anaglyph_of_one_grey_picture_twice_is_that_picture():
    """The rows of Dubois's matrices add up to 1 within two per cent."""
    grey = np.full((2, 2, 3), 128, np.uint8)
    assert np.abs(anaglyph(grey, grey).astype(int) - 128).max() <= 3
    for level in (0, 255):
        same = np.full((2, 2, 3), level, np.uint8)
        assert np.abs(anaglyph(same, same).astype(int) - level).max() <= 2


def test_the_left_view_is_red_and_the_right_one_cyan():
    white, black = np.full((1, 1, 3), 255, np.uint8), np.zeros((1, 1, 3), np.uint8)
    red, green, blue = anaglyph(white, black)[0, 0].astype(int)
    assert red == 255
    assert max(green, blue) == 0
    red, green, blue = anaglyph(black, white)[0, 0].astype(int)
    assert red == 0
    assert min(green, blue) == 255


def test_the_matrices_work_on_linear_light():
    left = np.array([[[200, 30, 90]]], np.uint8)
    right = np.array([[[20, 180, 60]]], np.uint8)

    def linear(value):
        value = np.asarray(value) / 255
        return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)

    light = 0.437 * linear(200) + 0.449 * linear(30) + 0.164 * linear(90)
    light += -0.011 * linear(20) - 0.032 * linear(180) - 0.007 * linear(60)
    expected = 255 * (1.055 * light ** (1 / 2.4) - 0.055)
    assert abs(int(anaglyph(left, right)[0, 0, 0]) - expected) <= 1


# Layouts and settings


def test_side_by_side_has_the_left_view_on_the_left():
    left, right = noise(6, 10, 1), noise(6, 10, 2)
    np.testing.assert_array_equal(arrange(left, right, "side-by-side"), np.hstack([left, right]))


def test_half_side_by_side_squeezes_both_views_into_one_width():
    left, right = np.full((6, 11, 3), 50, np.uint8), np.full((6, 11, 3), 90, np.uint8)
    both = arrange(left, right, "half-side-by-side")
    assert both.shape == (6, 11, 3)
    assert (both[:, :5] == 50).all()
    assert (both[:, 5:] == 90).all()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"layout": "upside-down"}, "no stereo layout 'upside-down'; choose one of side-by-side"),
        ({"strength": 0}, "above 0 and up to 0.2"),
        ({"strength": 0.5}, "above 0 and up to 0.2"),
        ({"strength": float("nan")}, "above 0 and up to 0.2"),
        ({"convergence": 1.5}, "between 0"),
        ({"edge_margin": -1}, "cannot be negative"),
    ],
)
def test_settings_out_of_range_are_told(wrong, message):
    with pytest.raises(KinedepthError, match=message):
        StereoSettings(**wrong)
