"""The noun DepthVideo says what its numbers mean and takes nothing else."""

import numpy as np
import pytest

from kinedepth.depth import DepthVideo
from kinedepth.errors import KinedepthError

ZEROS = np.zeros((2, 3, 4), dtype=np.float32)


def test_it_knows_its_size_and_its_sense():
    video = DepthVideo(ZEROS, "affine_invariant_disparity", 24.0)
    assert (len(video), video.height, video.width) == (2, 3, 4)
    assert video.larger_is_nearer
    assert not DepthVideo(ZEROS, "metric", 24.0).larger_is_nearer


def test_a_memory_map_stays_one(tmp_path):
    np.save(tmp_path / "d.npy", ZEROS)
    mapped = np.load(tmp_path / "d.npy", mmap_mode="r")
    assert isinstance(DepthVideo(mapped, "metric", 1.0).depth, np.memmap)


@pytest.mark.parametrize(
    ("depth", "kind", "fps", "message"),
    [
        (ZEROS[0], "metric", 25, r"shape \(T, H, W\)"),
        (ZEROS[:0], "metric", 25, r"shape \(T, H, W\)"),
        (ZEROS.astype(np.float64), "metric", 25, "float32; got float64"),
        (ZEROS, "relative", 25, "Unknown kind of depth 'relative'"),
        (ZEROS, "metric", 0, "frame rate has to be positive"),
    ],
)
def test_what_is_none_is_refused(depth, kind, fps, message):
    with pytest.raises(KinedepthError, match=message):
        DepthVideo(depth, kind, fps)
