import pytest
from command_outcome import Outcome

from kinedepth.cli import main


@pytest.fixture
def kine(capsys):
    """Runs the command line in this process."""

    def run(*arguments):
        capsys.readouterr()
        with pytest.raises(SystemExit) as ending:
            main([str(argument) for argument in arguments])
        return Outcome(ending.value.code or 0, *capsys.readouterr())

    return run
