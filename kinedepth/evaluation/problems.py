"""What is wrong with the predictions in a folder, and how it is told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Problem:
    """Why a prediction cannot be scored.

    Attributes:
        clip: name of the clip, or of an extra prediction.
        kind: ``missing``; ``unusable``: damaged, of another size or length, or it cannot be
            scored; ``extra``: there is no clip that it belongs to.
        reason: what is wrong with an unusable one; otherwise empty.
    """

    clip: str
    kind: Literal["missing", "unusable", "extra"]
    reason: str = ""


def describe_problems(
    problems: Sequence[Problem], shorten: Callable[[list[str]], list[str]] = list
) -> str:
    """One phrase that names every clip with a problem.

    Args:
        problems: in any order.
        shorten: of the names of clips that lack a prediction, makes what is written for them.
    """
    phrases = []
    missing = [problem.clip for problem in problems if problem.kind == "missing"]
    if missing:
        phrases.append(f"{len(missing)} missing ({', '.join(shorten(missing))})")
    unusable = [problem for problem in problems if problem.kind == "unusable"]
    if unusable:
        reasons = "; ".join(f"{problem.clip}: {problem.reason}" for problem in unusable)
        phrases.append(f"{len(unusable)} unusable ({reasons})")
    extra = [problem.clip for problem in problems if problem.kind == "extra"]
    if extra:
        phrases.append(f"{len(extra)} that no clip belongs to ({', '.join(extra)})")
    return ", ".join(phrases)
