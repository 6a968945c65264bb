"""Cameras and track containers: conventions, round trips, refusals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinedepth.camera import Intrinsics
from kinedepth.errors import KinedepthError
from kinedepth.tracks import Queries, Tracks, grid, grid_points


@given(
    focal=st.floats(50, 5000),
    x=st.floats(0, 640),
    y=st.floats(0, 360),
    depth=st.floats(0.01, 1000),
)
def test_projecting_an_unprojected_pixel_gives_the_pixel_back(focal, x, y, depth):
    camera = Intrinsics(focal, 1.1 * focal, 300, 170, 640, 360)
    pixel = np.array([[x, y]])
    point = camera.unproject(pixel, np.array([depth]))
    assert point[0, 2] == depth
    assert np.allclose(camera.project(point), pixel, atol=1e-6)


def test_the_field_of_view_spans_the_longer_side():
    wide = Intrinsics.from_field_of_view(640, 360, 90)
    tall = Intrinsics.from_field_of_view(360, 640, 90)
    assert wide.fx == pytest.approx(320)
    assert tall.fx == wide.fx
    assert (wide.cx, wide.cy) == (320, 180)


def test_scaling_the_image_scales_the_projection():
    camera = Intrinsics(500, 510, 300, 170, 640, 360)
    point = np.array([[0.3, -0.2, 2.0]])
    assert np.allclose(camera.scaled_to(1280, 720).project(point), 2 * camera.project(point))


@pytest.mark.parametrize("bad", [(0, 500), (-5, 500), (float("nan"), 500)])
def test_impossible_focal_lengths_are_refused(bad):
    with pytest.raises(KinedepthError, match="positive, finite focal lengths"):
        Intrinsics(*bad, 320, 180, 640, 360)


def test_intrinsics_of_another_size_are_noticed_by_their_principal_point():
    with pytest.raises(KinedepthError, match="another size"):
        Intrinsics(1000, 1000, 960, 540, 640, 360)


def test_a_grid_sits_at_cell_centres():
    points = grid_points(100, 50, 2, 1)
    assert points.tolist() == [[25.0, 25.0], [75.0, 25.0]]
    assert len(grid(20).at(640, 360, 3)) == 400
    assert (grid(20).at(640, 360, 3).frame == 3).all()


def test_queries_outside_frame_or_clip_are_named():
    queries = Queries(np.array([[5, 5], [700, 5]]), np.array([0, 0]))
    with pytest.raises(KinedepthError, match=r"Query 1 at \(700, 5\) lies outside the 640x360"):
        queries.check_inside(640, 360, 10)
    late = Queries(np.array([[5, 5]]), np.array(12))
    with pytest.raises(KinedepthError, match="frames 0 to 9"):
        late.check_inside(640, 360, 10)


@pytest.mark.parametrize(
    ("xy", "visible", "message"),
    [
        (np.zeros((4, 2)), np.ones((4,)), "shape"),
        (np.zeros((4, 3, 2)), np.ones((3, 4)), "Visibility has shape"),
        (np.full((4, 3, 2), np.nan), np.ones((4, 3)), "NaN"),
    ],
)
def test_tracks_of_wrong_shape_or_with_nan_are_refused(xy, visible, message):
    with pytest.raises(KinedepthError, match=message):
        Tracks(xy, visible, np.array(0))


def test_empty_queries_are_refused():
    with pytest.raises(KinedepthError, match="N >= 1"):
        Queries(np.zeros((0, 2)), np.array(0))
