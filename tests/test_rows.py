"""Arrays by rows: the same in memory and on disk."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinedepth.errors import KinedepthError
from kinedepth.rows import RowsInMemory, RowsOnDisk, read_at

SHAPE = (20, 3, 2)


@settings(max_examples=30, deadline=None)
@given(
    writes=st.lists(st.tuples(st.integers(0, 15), st.integers(1, 5)), max_size=6),
    start=st.integers(0, 19),
    stop=st.integers(0, 20),
    step=st.integers(1, 5),
)
def test_rows_on_disk_are_those_in_memory(tmp_path_factory, writes, start, stop, step):
    path = tmp_path_factory.mktemp("rows") / "rows.npy"
    memory, disk = RowsInMemory(SHAPE, np.float32), RowsOnDisk(path, SHAPE, np.float32)
    for number, (first, count) in enumerate(writes):
        values = np.full((count, 3, 2), number + 1, np.float32)
        memory.write(first, values)
        disk.write(first, values)
    rows = range(start, stop, step)
    np.testing.assert_array_equal(disk.read(rows), memory.read(rows))
    frame = np.array([start, 0, 19])
    np.testing.assert_array_equal(read_at(disk, frame), memory.array[frame, [0, 1, 2]])
    disk.sync()
    disk.close()
    np.testing.assert_array_equal(np.load(path), memory.array)


def test_rows_can_be_opened_again_and_written_on(tmp_path):
    first = RowsOnDisk(tmp_path / "a.npy", SHAPE, bool)
    first.write(2, np.ones((1, 3, 2), bool))
    first.close()
    second = RowsOnDisk(tmp_path / "a.npy", SHAPE, bool, opened=True)
    second.write(4, np.ones((1, 3, 2), bool))
    assert second.read(range(20)).any(axis=(1, 2)).nonzero()[0].tolist() == [2, 4]


def test_rows_without_values_are_read_and_written(tmp_path):
    rows = RowsOnDisk(tmp_path / "a.npy", (4, 0), np.float32)
    rows.write(0, np.zeros((4, 0)))
    assert rows.read(range(1, 3)).shape == (2, 0)


@pytest.mark.parametrize("harm", ["cut", "other shape", "gone"])
def test_a_file_that_is_not_what_it_should_be_is_refused(tmp_path, harm):
    path = tmp_path / "a.npy"
    RowsOnDisk(path, SHAPE, np.float32).close()
    shape = (20, 3) if harm == "other shape" else SHAPE
    if harm == "cut":
        path.write_bytes(path.read_bytes()[:-1])
    if harm == "gone":
        path.unlink()
    with pytest.raises(KinedepthError, match=r"a\.npy"):
        RowsOnDisk(path, shape, np.float32, opened=True)
