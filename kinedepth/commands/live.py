"""``kinedepth live``: depth change of points while the video is being taken."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kinedepth._terminal import say
from kinedepth.commands._options import Device, SeuratModel
from kinedepth.commands._parsing import parse_size
from kinedepth.errors import KinedepthError

if TYPE_CHECKING:
    from kinedepth.live.outputs import Output
    from kinedepth.live.sources import RawFormat

_RAW_OUTPUT = "pipe:raw"


def live_command(
    source: Annotated[
        str,
        typer.Option(
            help="A camera's number (0), pipe: for standard input, an address such as "
            "rtsp://..., or a file, which is played at its own pace."
        ),
    ],
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            help="The overlay: FILE.mp4, pipe: (MPEG-TS to standard output) or pipe:raw "
            "(bare RGB frames).",
        ),
    ] = None,
    show: Annotated[
        str | None,
        typer.Option(help="rerun (a window) or web (a page for this machine's browser)."),
    ] = None,
    tracks: Annotated[
        Path | None, typer.Option(help="FILE.csv to write points and ratios to.")
    ] = None,
    points: Annotated[int, typer.Option(help="About how many points to keep alive.")] = 100,
    model: SeuratModel = "small",
    size: Annotated[
        str | None, typer.Option(help="Width x height of raw frames from pipe:, e.g. 640x360.")
    ] = None,
    rate: Annotated[float, typer.Option(help="Frames a second of raw frames.")] = 25.0,
    pixels: Annotated[
        str, typer.Option(help="Pixel format of raw frames, by FFmpeg's name.")
    ] = "rgb24",
    every_frame: Annotated[
        bool,
        typer.Option(
            "--every-frame", help="Let the source wait instead of dropping frames: not live."
        ),
    ] = False,
    seconds: Annotated[
        float | None, typer.Option(help="Stop after so many seconds; otherwise on Ctrl-C.")
    ] = None,
    stall: Annotated[
        float, typer.Option(help="Seconds without a frame after which to give up.")
    ] = 10.0,
    device: Device = "auto",
) -> None:
    """Follow points of a camera or a stream and show how their depth changes.

    Frames are dropped rather than shown late. Ctrl-C ends the run; files are whole then.
    """
    if show not in (None, "rerun", "web"):
        raise KinedepthError(f"--show takes rerun or web; got {show!r}.")
    from kinedepth.live.running import check_arguments, run_live, stopping_on_signals
    from kinedepth.live.sources import open_source

    check_arguments(stall, seconds)
    _refuse_terminals(source, output)
    frames = open_source(source, _raw_format(size, rate, pixels), paced=not every_frame)
    outputs = _outputs(output, show, tracks, points)
    from kinedepth.live.lifter import LiveLifter

    lifter = LiveLifter(points, model, device=device)
    stop = threading.Event()
    with stopping_on_signals(stop):
        report = run_live(
            frames,
            lifter,
            outputs,
            lossless=every_frame,
            stall=stall,
            seconds=seconds,
            stop=stop,
            tell=say,
        )
    say(report.sentence())


def _refuse_terminals(source: str, output: str | None) -> None:
    """Raise where video would be typed in or printed."""
    if source == "pipe:" and sys.stdin.isatty():
        raise KinedepthError("Standard input is a terminal; send a video into it: ... | kinedepth")
    if output in ("pipe:", _RAW_OUTPUT) and sys.stdout.isatty():
        raise KinedepthError(
            "Standard output is a terminal; send it to a player: kinedepth ... | ffplay -"
        )


def _raw_format(size: str | None, rate: float, pixels: str) -> RawFormat | None:
    if size is None:
        return None
    from kinedepth.live.sources import RawFormat

    return RawFormat(*parse_size(size), rate, pixels)


def _outputs(
    output: str | None, show: str | None, tracks: Path | None, points: int
) -> list[Output]:
    """What was asked for, none of it open yet."""
    from kinedepth.live import outputs as kinds
    from kinedepth.live.sources import PIPE

    chosen: list[Output] = []
    if output == PIPE:
        chosen.append(kinds.StreamOutput(points))
    elif output == _RAW_OUTPUT:
        chosen.append(kinds.RawOutput(points))
    elif output is not None:
        if Path(output).suffix.lower() != ".mp4":
            raise KinedepthError(f"-o takes FILE.mp4, pipe: or {_RAW_OUTPUT}; got {output!r}.")
        chosen.append(kinds.FilmOutput(output, points))
    if tracks is not None:
        if tracks.suffix.lower() != ".csv":
            raise KinedepthError(f"--tracks takes FILE.csv; got {str(tracks)!r}.")
        chosen.append(kinds.TableOutput(tracks))
    if show is not None:
        from kinedepth.live.rerun_output import RerunOutput

        chosen.append(RerunOutput(web=show == "web", announce=say))
    return chosen
