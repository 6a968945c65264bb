"""How the package takes damaged and odd inputs: every one has to end in a result or a sentence.

Makes the corpus in a temporary folder, gives each input to the reader that is meant for it, and
a sample to the command line. Linux, since memory is read from the kernel.

    python benchmarks/damaged_inputs.py
    python benchmarks/damaged_inputs.py --only npz --show
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from _report import print_table, write_results
from damaged.case import Case
from damaged.corpus import corpus
from damaged.guard import MOST_BYTES, MOST_SECONDS, Outcome, read_all
from damaged.reading import is_clear_sentence

_ENDINGS = ("result", "refused", "fault")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", default=[""], help="the families that begin so")
    parser.add_argument("--show", action="store_true", help="say how each input ended")
    parser.add_argument("--every", type=int, default=45, help="of these, the command line gets one")
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"  # Of all that is started here.

    begins = tuple(arguments.only)
    chosen = [(i, case) for i, case in enumerate(corpus()) if case.family.startswith(begins)]
    with tempfile.TemporaryDirectory(prefix="damaged-") as folder:
        outcomes = read_all([index for index, _ in chosen], Path(folder))
        sample = [case for _, case in chosen if case.reader in _COMMANDS][:: arguments.every]
        outcomes += [_through_command_line(case, Path(folder)) for case in sample]

    for outcome in outcomes:
        if arguments.show or outcome.ending == "fault":
            where = f"{outcome.family} | {outcome.name}"
            print(f"{outcome.ending:8}{outcome.seconds:6.1f} s  {where}: {outcome.says}")
    families = list(dict.fromkeys(outcome.family for outcome in outcomes))
    rows = [_row(name, [o for o in outcomes if o.family == name]) for name in families]
    columns = ["class", "tried", "results", "refused", "faults", "longest s", "most MB"]
    print_table("Damaged and odd inputs", columns, [*rows, _row("all", outcomes)])
    if arguments.only == [""]:
        handled = sum(outcome.ending != "fault" for outcome in outcomes)
        write_results(
            "damaged_inputs",
            {
                "handled": f"{handled} of {len(outcomes)}",
                "limits": {"seconds": MOST_SECONDS, "bytes": MOST_BYTES},
                "classes": [dict(zip(columns, row, strict=True)) for row in rows],
                "faults": [f"{o.family}: {o.name}" for o in outcomes if o.ending == "fault"],
            },
        )


def _row(name: str, outcomes: list[Outcome]) -> list[str]:
    counts = Counter(outcome.ending for outcome in outcomes)
    longest = max((outcome.seconds for outcome in outcomes), default=0)
    most = max((outcome.peak for outcome in outcomes), default=0)
    return [
        name,
        str(len(outcomes)),
        *(str(counts[ending]) for ending in _ENDINGS),
        f"{longest:.1f}",
        f"{most / 1e6:.0f}",
    ]


_COMMANDS = {
    "video": ["lift", "{input}", "--queries", "grid:3", "--frames", "0:10"],
    "queries": ["lift", "{clip}", "--queries", "{input}"],
    "tracks": ["lift", "{clip}", "--tracker", "file:{input}"],
    "depth": ["lift", "{clip}", "--queries", "grid:3", "--anchor", "file:{input}"],
    "model": ["lift", "{clip}", "--queries", "grid:3", "--model", "{input}"],
}
"""How the command line is given each kind of input; ``{clip}`` is whole."""


def _through_command_line(case: Case, scratch: Path) -> Outcome:
    """One whole run of the program; exit code 0 or 2, and no traceback."""
    from damaged.clips import whole

    folder = Path(tempfile.mkdtemp(dir=scratch))
    clip = folder / "whole.mp4"
    clip.write_bytes(whole("late.mp4"))
    (folder / "input").mkdir()
    names = {"input": str(case.make(folder / "input")), "clip": str(clip)}
    arguments = [part.format(**names) for part in _COMMANDS[case.reader]]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    command = [sys.executable, "-m", "kinedepth", *arguments, "-o", str(folder / "out")]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=10 * MOST_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return Outcome(_FAMILY, case.name, "fault", "hung", 10.0 * MOST_SECONDS, 0)
    seconds = round(time.perf_counter() - began, 3)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # The kernel keeps only the largest of all children: an equal one counts as no larger.
    most = 1024 * after.ru_maxrss
    # On a busy machine most of the time is waiting.
    worked = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    last = (done.stderr.splitlines() or [""])[-1]
    ending = {0: "result", 2: "refused"}.get(done.returncode, "fault")
    told = last.startswith("kinedepth: ") and is_clear_sentence(last)
    if "Traceback" in done.stderr or (ending == "refused" and not told) or most > MOST_BYTES:
        ending = "fault"
    says = f"exit code {done.returncode} after {worked:.1f} s of processor time; {last}"
    says = says.replace(f"{folder}/", "")
    name = f"{case.family}, {case.name}"
    return Outcome(_FAMILY, name, ending, says[:400], seconds, most)


_FAMILY = "through the command line"


if __name__ == "__main__":
    main()
