"""What a command said and how it ended, and what is expected where it refuses."""

import re
from pathlib import Path
from typing import NamedTuple


class Outcome(NamedTuple):
    """Exit code and printed text of a command."""

    code: int
    out: str
    err: str

    @property
    def err_lines(self) -> list[str]:
        return self.err.splitlines()


def assert_told_in_one_line(outcome: Outcome, message: str) -> None:
    """The command refused its input in one line, in which ``message`` (a pattern) is found."""
    assert outcome.code == 2, outcome.err
    assert len(outcome.err_lines) == 1, outcome.err
    assert outcome.err.endswith("\n")
    assert outcome.err.startswith("kinedepth: ")
    assert re.search(message, outcome.err), outcome.err


def assert_nothing_whole(folder: Path) -> None:
    """No file of a run, and no half-written one either."""
    assert not folder.exists() or list(folder.iterdir()) == []
