import pytest
from command_outcome import Outcome

from kinedepth.cli import main


@pytest.fixture(scope="session")
def untrained(tmp_path_factory):
    """The checkpoint of a small network that says what the local fit says."""
    import torch

    from kinedepth.seurat.checkpoint import save_checkpoint
    from kinedepth.seurat.config import SeuratConfig
    from kinedepth.seurat.model import Seurat

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "untrained.safetensors"
    config = SeuratConfig(name="untrained", width=16, heads=2, support_grid=8)
    save_checkpoint(path, Seurat(config), {})
    return str(path)


@pytest.fixture
def kine(capsys):
    """Runs the command line in this process."""

    def run(*arguments):
        capsys.readouterr()
        with pytest.raises(SystemExit) as ending:
            main([str(argument) for argument in arguments])
        return Outcome(ending.value.code or 0, *capsys.readouterr())

    return run
