import numpy as np
import pytest
import torch
from small_lift_runs import FRAMES, HEIGHT, TINY, WIDTH

from kinedepth.exporting.video_writer import VideoWriter
from kinedepth.seurat.checkpoint import save_checkpoint
from kinedepth.seurat.model import Seurat


@pytest.fixture(scope="session")
def things(tmp_path_factory):
    """A folder with a clip and a network, both tiny."""
    folder = tmp_path_factory.mktemp("things")
    rng = np.random.default_rng(0)
    texture = rng.integers(0, 255, (HEIGHT // 4, 2 * WIDTH // 4, 3), dtype=np.uint8)
    texture = texture.repeat(4, axis=0).repeat(4, axis=1)
    with VideoWriter(folder / "clip.mp4", WIDTH, HEIGHT, 25) as writer:
        for index in range(FRAMES):
            writer.write(texture[:, 2 * index : 2 * index + WIDTH])
    with VideoWriter(folder / "one_frame.mp4", WIDTH, HEIGHT, 25) as writer:
        writer.write(texture[:, :WIDTH])
    torch.manual_seed(0)
    save_checkpoint(folder / "tiny.safetensors", Seurat(TINY), {"steps": 0})
    return folder


@pytest.fixture
def lift(kine, things, tmp_path):
    """Runs ``kinedepth lift`` on the tiny clip; later options win over the usual ones."""

    def run(*options, video=things / "clip.mp4", output=tmp_path / "out"):
        usual = ("--model", things / "tiny.safetensors", "--queries", "grid:3", "-o", output)
        return kine("lift", video, *usual, *options)

    return run
