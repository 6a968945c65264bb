"""Showing a finished run: its page in the browser, or its recording in the Rerun viewer."""

from __future__ import annotations

import subprocess
import sys
import webbrowser
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from kinedepth.errors import KinedepthError
from kinedepth.viewing.rerun_log import import_rerun

SCENE_PAGE = "scene.html"
SCENE_RECORDING = "scene.rrd"
"""Names of the two in the folder of a run."""

_LOOPBACK = "127.0.0.1"
"""Nothing is ever served to other machines: a video may be private."""


def view_run(
    folder: Path,
    port: int | None = None,
    *,
    rerun: bool = False,
    announce: Callable[[str], None] = print,
) -> None:
    """Show the run in ``folder``.

    Without a port, opens the page as a file in the default browser and returns; where there is
    no browser, says where the page lies. With a port, serves the page to this machine only
    until interrupted, which suits a tunnel from a machine without a screen. With ``rerun``,
    starts the Rerun viewer on the recording and returns when its window closes.

    Args:
        folder: where the run was written.
        port: to serve on, 1 to 65535, or 0 for any free one; with ``rerun``, the viewer's own.
        rerun: show ``scene.rrd`` instead of ``scene.html``.
        announce: is given each sentence meant for the user.

    Raises:
        KinedepthError: if ``folder`` holds no run to show, the port is taken, or the Rerun
            viewer does not start; MissingExtraError if it is not installed.
    """
    if rerun:
        _open_recording(_find(folder, SCENE_RECORDING), port)
        return
    page = _find(folder, SCENE_PAGE)
    if port is not None:
        _serve(page, port, announce)
    elif _open_in_browser(page):
        announce(f"Opened {page} in the browser.")
    else:
        announce(f"There is no browser here; open {page} in one.")


def _find(folder: Path, name: str) -> Path:
    if not folder.is_dir():
        raise KinedepthError(f"There is no folder {folder}; give the output folder of a run.")
    path = (folder / name).resolve()
    if not path.is_file():
        raise KinedepthError(
            f"{folder} holds no {name}; give the output folder of a run that wrote one."
        )
    return path


def _open_in_browser(page: Path) -> bool:
    try:
        return webbrowser.open(page.as_uri())
    except webbrowser.Error:
        return False


def _serve(page: Path, port: int, announce: Callable[[str], None]) -> None:
    with page_server(page, port) as server:
        announce(
            f"{page} is at http://{_LOOPBACK}:{server.server_port}/ on this machine; "
            f"press Ctrl+C to stop."
        )
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            announce("Stopped.")


def page_server(page: Path, port: int) -> ThreadingHTTPServer:
    """A server, not yet running, that answers this machine with ``page`` and nothing else.

    Raises:
        KinedepthError: if the port is taken, not allowed or not a port.
    """

    class PageHandler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.split("?")[0] not in ("/", f"/{page.name}"):
                self.send_error(404)
                return
            content = page.read_bytes()
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Requests are of no interest to the user."""

    try:
        return ThreadingHTTPServer((_LOOPBACK, port), PageHandler)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or "ports go from 0 to 65535"
        raise KinedepthError(
            f"Port {port} cannot be used ({reason}); give another one, or 0 for any."
        ) from error


def _open_recording(recording: Path, port: int | None) -> None:
    import_rerun()
    # By itself the viewer would listen on every network interface.
    command = [sys.executable, "-m", "rerun", str(recording), "--bind", _LOOPBACK]
    if port is not None:
        command += ["--port", str(port)]
    if subprocess.run(command, check=False).returncode != 0:
        raise KinedepthError(
            f"The Rerun viewer stopped with an error (it needs a screen); "
            f"copy {recording} to a machine with one and open it there."
        )
