"""``kinedepth batch``: many videos."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kinedepth._terminal import INTERRUPTED, StageProgress, say, tell_log
from kinedepth.errors import KinedepthError

if TYPE_CHECKING:
    from kinedepth.batch.run import Outcome

SOME_FAILED = 1
"""Exit code when some videos failed and the others are done."""


def batch_command(
    videos: Annotated[
        Path,
        typer.Argument(
            help="A folder, searched for videos and folders of images; a text file with one "
            "video a line; or a .csv file with a column video."
        ),
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="Folder for the results, with one for each video."),
    ],
    job_options: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="-- OPTIONS",
            help="Options of the job, e.g. -- --queries grid:30 --fov 65.",
            show_default=False,
        ),
    ] = None,
    job: Annotated[str, typer.Option(help="What to do with each: lift or depth.")] = "lift",
    workers: Annotated[
        int,
        typer.Option(min=1, help="How many videos at a time; several have one thread each."),
    ] = 1,
    ray: Annotated[
        str | None,
        typer.Option(
            help="Let Ray place the workers: on this machine (local), or on a running cluster "
            "(auto, or HOST:PORT), whose machines see the same files."
        ),
    ] = None,
    worker_gpus: Annotated[
        float, typer.Option(min=0, help="GPUs that each worker asks Ray for, e.g. 0.5.")
    ] = 0.0,
) -> None:
    """Lift many videos to 3D, or estimate the depth of each.

    Run again to go on: finished videos are skipped. A video that fails does not stop the
    others; it is named at the end, with the reason, and in summary.csv. Exit code 1 means that
    some failed, 2 that nothing was begun or the disk is full, 130 a stop by Ctrl-C.
    """
    from kinedepth._settings_file import open_results_folder
    from kinedepth.batch.folders import open_folders
    from kinedepth.batch.run import Workers, run_batch
    from kinedepth.batch.table import SUMMARY_TABLE, write_table
    from kinedepth.batch.videos import find_videos
    from kinedepth.commands._batch_job import CommandJob

    options = tuple(job_options or ())
    work = CommandJob(job, options)
    work.check()
    if worker_gpus and ray is None:
        raise KinedepthError("--worker-gpus is for --ray; leave it out.")
    found = find_videos(videos, output)
    output = output.absolute()
    open_results_folder(output, {"job": job, "options": list(options)})
    folders = open_folders(output, found)

    def make_workers() -> Workers:
        if ray is not None:
            from kinedepth.batch.ray_workers import RayWorkers

            return RayWorkers(work, workers, ray, worker_gpus)
        from kinedepth.batch.processes import ProcessWorkers

        return ProcessWorkers(work, workers)

    known: dict[str, Outcome] = {}
    with StageProgress() as stages:

        def report(outcome: Outcome) -> None:
            known[outcome.video] = outcome
            if outcome.state != "earlier":
                what = outcome.reason or f"done in {outcome.seconds} s"
                tell_log(f"{outcome.folder.name}: {what}")
            stages.report("videos", len(known), len(folders))

        try:
            outcomes = run_batch(folders, make_workers, report)
        except KeyboardInterrupt:
            finished = sum(outcome.state != "failed" for outcome in known.values())
            say(
                f"stopped by Ctrl-C; {finished} of {len(folders)} videos are done: run the same "
                f"command to go on."
            )
            raise SystemExit(INTERRUPTED) from None
        finally:
            write_table(output, folders, known)
    _tell(list(outcomes.values()), output / SUMMARY_TABLE)


def _tell(outcomes: list[Outcome], table: Path) -> None:
    from rich.console import Console

    from kinedepth.batch.table import draw_table

    # Where there is no terminal, lines are for a log or a program: none is broken.
    width = None if sys.stdout.isatty() else 10_000
    Console(width=width).print(draw_table(outcomes), soft_wrap=width is not None)
    failed = [outcome for outcome in outcomes if outcome.state == "failed"]
    earlier = sum(outcome.state == "earlier" for outcome in outcomes)
    typer.echo(
        f"{len(outcomes) - len(failed)} of {len(outcomes)} videos are done"
        + (f", {earlier} of them by an earlier run" if earlier else "")
        + f"; see {table}."
    )
    if failed:
        names = ", ".join(outcome.folder.name for outcome in failed)
        say(f"{len(failed)} of {len(outcomes)} videos failed: {names}; run again to retry these.")
        raise SystemExit(SOME_FAILED)
