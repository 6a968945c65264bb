"""``kinedepth ttc``: what it leaves, and what it refuses."""

import json

import numpy as np
import pytest
import torch

from kinedepth.contact_run import CONTACT_FILES
from kinedepth.exporting.video_writer import VideoWriter
from kinedepth.seurat.checkpoint import save_checkpoint
from kinedepth.seurat.config import SeuratConfig
from kinedepth.seurat.model import Seurat

TINY = SeuratConfig(name="tiny", width=24, heads=2, layers=1, iterations=1, support_grid=6)


@pytest.fixture(scope="module")
def things(tmp_path_factory):
    """A film of an approaching wall, its frames as images, and a tiny network."""
    import cv2

    folder = tmp_path_factory.mktemp("things")
    rng = np.random.default_rng(0)
    small = rng.integers(0, 255, (18, 24, 3), dtype=np.uint8)
    texture = cv2.resize(small, (96, 72), interpolation=cv2.INTER_CUBIC)
    (folder / "images").mkdir()
    with VideoWriter(folder / "clip.mp4", 96, 72, 20) as writer:
        for index in range(12):
            grow = 1 / (1 - 0.02 * index)
            warp = np.array([[grow, 0, 47.5 * (1 - grow)], [0, grow, 35.5 * (1 - grow)]])
            frame = cv2.warpAffine(texture, warp, (96, 72), borderMode=cv2.BORDER_REFLECT)
            writer.write(frame)
            cv2.imwrite(str(folder / "images" / f"{index:03d}.png"), frame[..., ::-1])
    torch.manual_seed(0)
    save_checkpoint(folder / "tiny.safetensors", Seurat(TINY), {"steps": 0})
    return folder


@pytest.fixture
def ttc(kine, things, tmp_path):
    """Runs ``kinedepth ttc`` with a tiny network."""

    def run(source, *options, output=tmp_path / "out"):
        usual = ("-o", output, "--model", things / "tiny.safetensors", "--queries", "grid:4")
        return kine("ttc", source, *usual, "--device", "cpu", *options)

    return run


def test_the_command_leaves_table_film_and_summary(ttc, things, tmp_path):
    code, out, _ = ttc(things / "clip.mp4", "--warn", "4")
    assert code == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(CONTACT_FILES)
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["fps"] == pytest.approx(20)
    assert summary["warn_seconds"] == 4
    # The wall is 50 frames away at first and 39 at last: 2.5 s and 1.95 s.
    assert summary["soonest"]["ttc"] == pytest.approx(2.1, rel=0.3)
    assert "contact in" in out
    assert summary["first_warning_time"] is not None
    assert summary["rigid_groups"] is True


def test_the_network_can_be_taken_at_its_word(ttc, things, tmp_path):
    code, _, err = ttc(things / "clip.mp4", "--no-rigid")
    assert code == 0, err
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["rigid_groups"] is False
    assert "rigid groups" not in summary["seconds"]


def test_images_need_a_frame_rate_and_it_counts_before_frames_are_chosen(ttc, things, tmp_path):
    code, _, err = ttc(things / "images")
    assert code == 2
    assert "give their --fps" in err
    code, _, _ = ttc(things / "images", "--fps", "20", "--frames", "::2")
    assert code == 0
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["fps"] == pytest.approx(10)
    assert summary["frames"] == 6


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--fps", "0"), "frame rate has to be a positive number"),
        (("--fps", "nan"), "frame rate has to be a positive number"),
        (("--warn", "-1"), "positive number of seconds"),
        (("--frames", "0:1"), "one frame"),
        (("--frames", "0:4"), "at least 5 frames; the clip has 4"),
        (("--window", "0"), "window has to be"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_sentence(ttc, things, tmp_path, options, sentence):
    code, _, err = ttc(things / "clip.mp4", *options)
    assert code == 2
    said = [line for line in err.splitlines() if line.startswith("kinedepth:")]
    assert len(said) == 1
    assert sentence in said[0]
    assert not list(tmp_path.glob("out/*"))


def test_an_earlier_run_is_replaced_only_when_asked_and_a_lift_never(ttc, things, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "ttc.csv").write_text("old")
    code, _, err = ttc(things / "clip.mp4")
    assert code == 2
    assert "already holds ttc.csv" in err
    assert ttc(things / "clip.mp4", "--overwrite")[0] == 0
    (tmp_path / "lift").mkdir()
    (tmp_path / "lift" / "tracks.npz").write_text("lifted")
    code, _, err = ttc(things / "clip.mp4", "--overwrite", output=tmp_path / "lift")
    assert code == 2
    assert "of a lift; choose another folder" in err
