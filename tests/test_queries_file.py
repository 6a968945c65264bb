import re
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinedepth.errors import KinedepthError
from kinedepth.queries_file import parse_queries
from kinedepth.tracks import GridQueries


def table(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "points.csv"
    path.write_text(text, encoding=encoding)
    return str(path)


def archive(tmp_path, **arrays):
    path = tmp_path / "clip.npz"
    np.savez(path, **arrays)
    return str(path)


def tapvid3d_arrays(queries):
    images = np.empty(2, dtype=object)
    images[:] = [b"first", b"second"]
    points = len(queries)
    return {
        "images_jpeg_bytes": images,
        "queries_xyt": queries,
        "tracks_XYZ": np.zeros((2, points, 3), np.float32),
        "visibility": np.ones((2, points), bool),
        "fx_fy_cx_cy": np.ones(4),
    }


def test_a_grid_is_left_to_be_laid_out_once_the_frame_size_is_known():
    assert parse_queries("grid:20") == GridQueries(20)


@pytest.mark.parametrize("spec", ["grid:", "grid:0", "grid:-3", "grid:2.5", "grid:many", "grid: 4"])
def test_a_grid_needs_a_whole_number_of_points_a_side(spec):
    with pytest.raises(KinedepthError, match="grid"):
        parse_queries(spec)


def test_points_of_a_table_without_frames_sit_in_the_query_frame(tmp_path):
    queries = parse_queries(table(tmp_path, "x,y\n1.5,2\n3,4.25\n"), query_frame=7)
    np.testing.assert_array_equal(queries.xy, np.float32([[1.5, 2], [3, 4.25]]))
    np.testing.assert_array_equal(queries.frame, [7, 7])


def test_points_of_a_table_with_frames_keep_their_own(tmp_path):
    queries = parse_queries(table(tmp_path, "x,y,frame\n1,2,0\n3,4,9\n"), query_frame=7)
    np.testing.assert_array_equal(queries.frame, [0, 9])


@pytest.mark.parametrize(
    "text", ["X, Y\r\n1, 2\r\n\r\n", "x,y\n\n1,2\n , \n", "x,y\n1.0e0,+2."], ids=repr
)
def test_tables_as_spreadsheets_write_them_are_read(tmp_path, text):
    # Byte order mark, capital letters, blanks, other line ends, empty lines.
    queries = parse_queries(table(tmp_path, text, encoding="utf-8-sig"))
    np.testing.assert_array_equal(queries.xy, [[1, 2]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: the header must be x,y or x,y,frame; got nothing"),
        ("1,2\n3,4\n", "line 1: the header must be x,y or x,y,frame; got 1,2"),
        ("x,y,t\n1,2,3\n", "line 1: the header"),
        ("x,y\n", "holds no points"),
        ("x,y\n1,2\n3\n", "line 3: 2 values are needed, but there are 1"),
        ("x,y\n1,2,3\n", "line 2: 2 values are needed, but there are 3"),
        ("x,y\n1,two\n", "line 2: 'two' is not a finite number"),
        ("x,y\n\n1,nan\n", "line 3: 'nan' is not a finite number"),
        ("x,y,frame\n1,2,inf\n", "line 2: 'inf' is not a finite number"),
        ("x,y,frame\n1,2,0.5\n", "line 2: a frame is a whole number from 0 up; got 0.5"),
        ("x,y,frame\n1,2,-1\n", "line 2: a frame is a whole number"),
    ],
)
def test_a_wrong_table_is_told_with_its_line(tmp_path, text, message):
    with pytest.raises(KinedepthError, match=re.escape(message)):
        parse_queries(table(tmp_path, text))


def test_a_table_that_is_no_text_is_told(tmp_path):
    path = tmp_path / "points.csv"
    path.write_bytes(b"\xff\xfe\x00\x01 no text")
    with pytest.raises(KinedepthError, match="cannot be read as a table"):
        parse_queries(str(path))


@pytest.mark.parametrize("make", [tapvid3d_arrays, lambda queries: {"queries_xyt": queries}])
def test_queries_of_a_clip_with_or_without_images_are_read(tmp_path, make):
    expected = np.float32([[1.5, 2.5, 0], [3, 4, 1]])
    queries = parse_queries(archive(tmp_path, **make(expected)), query_frame=5)
    np.testing.assert_array_equal(queries.xy, expected[:, :2])
    np.testing.assert_array_equal(queries.frame, [0, 1])


@pytest.mark.parametrize(
    ("queries", "message"),
    [
        (np.zeros((3, 2)), "queries_xyt has shape (3, 2)"),
        (np.zeros((0, 3)), "N >= 1"),
        (np.array([["a", "b", "c"]]), "queries_xyt has shape (1, 3) and type <U1"),
        (np.array([[1, 2, 0], [np.nan, 2, 0]]), "point 1 of queries_xyt is (nan, 2, 0)"),
        (np.array([[1, 2, 0], [1, 2, 0], [1, 2, -1]]), "point 2 of queries_xyt"),
        (np.array([[1, 2, 0.5]]), "point 0 of queries_xyt is (1, 2, 0.5)"),
    ],
)
def test_wrong_queries_of_a_clip_are_told_with_their_point(tmp_path, queries, message):
    with pytest.raises(KinedepthError, match=re.escape(message)):
        parse_queries(archive(tmp_path, queries_xyt=queries))


def test_a_clip_without_queries_is_told_with_what_it_holds(tmp_path):
    with pytest.raises(KinedepthError, match=r"no queries_xyt \(it holds depth\)"):
        parse_queries(archive(tmp_path, depth=np.zeros(3)))


def test_an_archive_that_holds_python_objects_is_refused(tmp_path):
    queries = np.array([[{"any": "object"}, 1, 2]], dtype=object)
    with pytest.raises(KinedepthError, match="Python objects"):
        parse_queries(archive(tmp_path, queries_xyt=queries))


def test_a_damaged_archive_is_told(tmp_path):
    path = tmp_path / "clip.npz"
    path.write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(KinedepthError, match="damaged or of another kind"):
        parse_queries(str(path))
    with zipfile.ZipFile(path, "w"):
        pass
    with pytest.raises(KinedepthError, match="holds nothing"):
        parse_queries(str(path))


@pytest.mark.parametrize("spec", ["", "20", "points.txt", "Grid:20"])
def test_anything_else_is_told_with_what_there_is(spec):
    with pytest.raises(KinedepthError, match="grid:20"):
        parse_queries(spec)


@pytest.mark.parametrize("spec", ["missing.csv", "missing.npz"])
def test_a_missing_file_is_told(spec):
    with pytest.raises(KinedepthError, match="There is no file missing"):
        parse_queries(spec)


COORDINATE = st.floats(0, 4096, width=32)


@given(st.lists(st.tuples(COORDINATE, COORDINATE, st.integers(0, 10_000)), min_size=1))
def test_every_table_of_finite_points_comes_back_as_written(tmp_path_factory, points):
    text = "x,y,frame\n" + "".join(f"{x!r},{y!r},{t}\n" for x, y, t in points)
    queries = parse_queries(table(tmp_path_factory.mktemp("table"), text))
    np.testing.assert_array_equal(queries.xy, np.float32([point[:2] for point in points]))
    np.testing.assert_array_equal(queries.frame, [point[2] for point in points])
