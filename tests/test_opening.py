import subprocess
import threading
import urllib.error
import urllib.request
import webbrowser
from pathlib import Path

import pytest

from kinedepth.errors import KinedepthError
from kinedepth.viewing import opening, view_run


@pytest.fixture
def run_folder(tmp_path):
    (tmp_path / "scene.html").write_text("<p>the page</p>")
    (tmp_path / "scene.rrd").write_bytes(b"RRF2")
    (tmp_path / "tracks.npz").write_bytes(b"private")
    return tmp_path


def test_a_run_opens_as_a_file_in_the_browser(run_folder, monkeypatch):
    opened = []
    monkeypatch.setattr(webbrowser, "open", lambda address: opened.append(address) or True)
    view_run(run_folder, announce=lambda sentence: None)
    assert opened == [(run_folder / "scene.html").resolve().as_uri()]


def test_without_a_browser_the_user_is_told_where_the_page_is(run_folder, monkeypatch):
    said = []
    monkeypatch.setattr(webbrowser, "open", lambda address: False)
    view_run(run_folder, announce=said.append)
    assert "scene.html" in said[0]
    assert "no browser" in said[0]


@pytest.mark.parametrize(("rerun", "name"), [(False, "scene.html"), (True, "scene.rrd")])
def test_a_folder_without_a_run_is_refused_by_name(rerun, name, tmp_path):
    with pytest.raises(KinedepthError, match=f"holds no {name}"):
        view_run(tmp_path, rerun=rerun)
    with pytest.raises(KinedepthError, match="There is no folder"):
        view_run(tmp_path / "nowhere", rerun=rerun)


@pytest.fixture
def served(run_folder):
    server = opening.page_server(run_folder / "scene.html", 0)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_page_is_served_to_this_machine_only(served):
    assert served.server_address[0] == "127.0.0.1"
    with urllib.request.urlopen(f"http://127.0.0.1:{served.server_port}/") as answer:
        assert answer.read() == b"<p>the page</p>"


@pytest.mark.parametrize("path", ["tracks.npz", "../scene.rrd", "%2e%2e/scene.html", "x/y"])
def test_nothing_but_the_page_is_served(served, path):
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"http://127.0.0.1:{served.server_port}/{path}")


def test_a_port_that_is_taken_is_named(served, run_folder):
    with pytest.raises(KinedepthError, match=f"Port {served.server_port} cannot be used"):
        view_run(run_folder, port=served.server_port)


def test_a_port_that_is_none_is_named(run_folder):
    with pytest.raises(KinedepthError, match="Port 70000 cannot be used"):
        view_run(run_folder, port=70000)


def test_the_rerun_viewer_listens_to_this_machine_only(run_folder, monkeypatch):
    started = []

    def pretend(command, check):
        started.append(command)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(opening, "import_rerun", lambda: None)
    monkeypatch.setattr(subprocess, "run", pretend)
    view_run(run_folder, port=9123, rerun=True)
    (command,) = started
    assert command[command.index("--bind") + 1] == "127.0.0.1"
    assert command[command.index("--port") + 1] == "9123"
    assert Path(command[3]) == (run_folder / "scene.rrd").resolve()


def test_a_rerun_viewer_that_fails_is_reported(run_folder, monkeypatch):
    monkeypatch.setattr(opening, "import_rerun", lambda: None)
    failed = subprocess.CompletedProcess([], 1)
    monkeypatch.setattr(subprocess, "run", lambda command, check: failed)
    with pytest.raises(KinedepthError, match="Rerun viewer stopped with an error"):
        view_run(run_folder, rerun=True)
