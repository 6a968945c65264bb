"""Live frames and their points in the Rerun viewer, which listens on this machine only."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from kinedepth.camera import Intrinsics
from kinedepth.errors import KinedepthError
from kinedepth.live.capture import Captured
from kinedepth.live.lifter import LiveState
from kinedepth.live.outputs import OutputClosedError
from kinedepth.viewing.hollowness import hole_share
from kinedepth.viewing.live_overlay import live_scale
from kinedepth.viewing.rerun_log import SURE_RADIUS, UNSURE_RADIUS, import_rerun, jpeg

_LOOPBACK = "127.0.0.1"
"""By itself the viewer would listen on every network interface."""

_MEMORY = "1GB"
"""Of the viewer; what is older is forgotten, since a live run may never end."""

_STARTING_SECONDS = 20.0
_WINDOW_SECONDS = 2.0


class RerunOutput:
    """Logs each frame to a viewer that is started for it.

    On the timelines ``frame`` and ``time``: the picture (``camera/picture``), the points on it
    (``camera/points``), and the points in 3D with depth 1 where each was first seen (``points``),
    for an assumed field of view of 60 degrees. Unsure points are small.

    Args:
        web: serve a page for the browser instead of opening a window.
        announce: is given each sentence meant for the user.

    Raises:
        MissingExtraError: if ``rerun-sdk`` is not installed.
    """

    def __init__(self, web: bool = False, announce: Callable[[str], None] = print) -> None:
        self._web = web
        self._announce = announce
        self._rerun = import_rerun()
        self._recording: Any = None
        self._viewer: subprocess.Popen[bytes] | None = None
        self._scale = live_scale()

    def __enter__(self) -> RerunOutput:
        """Start the viewer.

        Raises:
            KinedepthError: if it does not start.
        """
        port = _free_port()
        command = [sys.executable, "-m", "rerun", "--bind", _LOOPBACK, "--port", str(port)]
        command += ["--memory-limit", _MEMORY, "--server-memory-limit", _MEMORY]
        server = f"rerun+http://{_LOOPBACK}:{port}/proxy"
        if self._web:
            page = _free_port()
            command += ["--serve-web", "--web-viewer-port", str(page)]
        # In a session of its own, or Ctrl-C would close it before it has been told the end.
        self._viewer = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            self._wait_for(port)
        except BaseException:
            _end(self._viewer)
            raise
        if self._web:
            self._announce(f"Watch at http://{_LOOPBACK}:{page}/?url={server} on this machine.")
        self._recording = self._rerun.RecordingStream("kinedepth live")
        self._recording.connect_grpc(server)
        self._recording.log("/", self._rerun.ViewCoordinates.RDF, static=True)
        return self

    def _wait_for(self, port: int) -> None:
        assert self._viewer is not None
        deadline = time.monotonic() + _STARTING_SECONDS
        while time.monotonic() < deadline and self._viewer.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection((_LOOPBACK, port), 1):
                # It listens before it opens its window, which may fail.
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._viewer.wait(_WINDOW_SECONDS)
                    break
                return
            time.sleep(0.1)
        raise KinedepthError(
            "The Rerun viewer does not start (a window needs a screen); without one, use "
            "--show web or -o FILE.mp4."
        )

    def write(self, frame: Captured, state: LiveState) -> None:
        """Log a frame."""
        if self._viewer is not None and self._viewer.poll() is not None:
            raise OutputClosedError  # Its window was closed.
        rerun, recording = self._rerun, self._recording
        height, width = frame.image.shape[:2]
        camera = Intrinsics.from_field_of_view(width, height)
        recording.set_time("frame", sequence=frame.index)
        recording.set_time("time", duration=frame.time)
        pinhole = rerun.Pinhole(
            focal_length=[camera.fx, camera.fy],
            principal_point=[camera.cx, camera.cy],
            resolution=[width, height],
            camera_xyz=rerun.ViewCoordinates.RDF,
            image_plane_distance=0.3,
        )
        recording.log("camera", pinhole)
        picture = rerun.EncodedImage(contents=jpeg(frame.image), media_type="image/jpeg")
        recording.log("camera/picture", picture)
        known = state.visible & np.isfinite(state.log_ratio)
        log_ratio = state.log_ratio[known]
        tint = self._scale.colours(log_ratio)
        # Negative radii are in pixels of the screen.
        radii = (SURE_RADIUS - UNSURE_RADIUS) * hole_share(state.log_ratio_std[known]) - SURE_RADIUS
        xy = state.xy[known]
        recording.log("camera/points", rerun.Points2D(xy, colors=tint, radii=radii))
        xyz = camera.unproject(xy, np.exp(log_ratio))
        recording.log("points", rerun.Points3D(xyz, colors=tint, radii=radii))

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Send what is left. A window stays open to look at; a page ends with the run."""
        if self._recording is not None:
            with contextlib.suppress(RuntimeError):  # Its window may be closed.
                self._recording.flush()
            self._recording.disconnect()
        if self._viewer is not None and (self._web or kind is not None):
            _end(self._viewer)


def _end(viewer: subprocess.Popen[bytes]) -> None:
    """End the viewer, which is a child of the process that was started: both are one group."""
    if os.name == "posix":
        with contextlib.suppress(ProcessLookupError):
            os.killpg(viewer.pid, signal.SIGTERM)
    viewer.terminate()
    viewer.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_LOOPBACK, 0))
        return int(probe.getsockname()[1])
