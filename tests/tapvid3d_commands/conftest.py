import shutil

import pytest
import torch
from approaching_wall import PLACES, TINY, write_clip, write_prediction

from kinedepth.seurat.checkpoint import save_checkpoint
from kinedepth.seurat.model import Seurat


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("split")
    for seed, place in enumerate(PLACES):
        write_clip(folder / place, seed)
    torch.manual_seed(0)
    save_checkpoint(folder / "tiny.safetensors", Seurat(TINY), {"steps": 0})
    return folder


@pytest.fixture
def data(prepared, tmp_path):
    """A split of three clips in two subsets."""
    for place in PLACES:
        (tmp_path / "data" / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(prepared / place, tmp_path / "data" / place)
    return tmp_path / "data"


@pytest.fixture
def exact(data):
    """The truth as predictions, twice too large."""
    folder = data.parent / "exact"
    for place in PLACES:
        write_prediction(folder / place, data / place, factor=2.0)
    return folder
