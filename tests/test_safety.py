"""No file runs code or writes elsewhere, and nothing listens to other machines."""

import ast
import functools
import io
import json
import re
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

import kinedepth
from kinedepth._safe_npz import load_tapvid3d
from kinedepth.dense.store import DepthStore
from kinedepth.errors import KinedepthError
from kinedepth.exporting.atomic import file_in
from kinedepth.lifting.work import WorkOnDisk

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))

from damaged import archives

PACKAGE = Path(kinedepth.__file__).parent
GUARDED = "_safe_npz.py"
"""The one module that may unpickle, with an unpickler that knows no class."""


@functools.cache
def package_calls():
    """(file, call) for every call in the package."""
    calls = []
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                calls.append((path.relative_to(PACKAGE).as_posix(), node))
    return calls


def test_no_call_in_the_package_loads_a_pickle():
    loaders = {"pickle", "cPickle", "dill", "joblib", "shelve", "marshal", "cloudpickle"}
    seen = 0
    for file, call in package_calls():
        name = ast.unparse(call.func)
        options = {option.arg: ast.unparse(option.value) for option in call.keywords}
        assert options.get("allow_pickle", "False") == "False", f"{file}: {ast.unparse(call)}"
        assert options.get("trust_remote_code", "False") == "False", f"{file}: {name}"
        if name.endswith("from_pretrained") and "Tokenizer" not in name:
            # Else the library takes pickled weights where it finds no others.
            assert options.get("use_safetensors") == "True", f"{file}: {name}"
        assert not (name.split(".")[0] in loaders and "load" in name), f"{file}: {name}"
        if name == "torch.load":
            seen += 1
            assert options.get("weights_only") == "True", f"{file}: {ast.unparse(call)}"
        assert name not in ("eval", "exec", "yaml.load", "yaml.unsafe_load"), f"{file}: {name}"
    assert seen > 0  # The search finds what it is meant to find.


def test_only_the_guarded_reader_makes_an_unpickler():
    users = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if re.search(r"Unpickler\(|pickle\.loads?\b|from pickle import", path.read_text())
    }
    assert users == {GUARDED}


def test_the_guarded_reader_gives_bytes_and_refuses_code(tmp_path):
    clip = archives.arrays_of("video")
    path = tmp_path / "a.npz"
    path.write_bytes(archives.archive(clip))
    assert load_tapvid3d(path)["images_jpeg_bytes"] == list(clip["images_jpeg_bytes"])
    harmful = np.empty(1, dtype=object)
    harmful[0] = archives.RunsCode()
    content = io.BytesIO()
    np.lib.format.write_array(content, harmful, allow_pickle=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images_jpeg_bytes.npy", content.getvalue())
    with pytest.raises(KinedepthError, match="not allowed"):
        load_tapvid3d(path)
    assert not Path("a_pickle_was_run").exists()


# Names from files lead nowhere


def test_no_archive_is_ever_unpacked_to_its_own_file_names():
    for file, call in package_calls():
        if isinstance(call.func, ast.Attribute):
            assert call.func.attr not in ("extract", "extractall", "unpack_archive"), file


@pytest.mark.parametrize(
    "name", ["../a.npy", "/etc/a", "a/b", "..", "", "a\\b", "c:a", "a\0", 1, None]
)
def test_a_name_from_a_file_is_a_plain_name(tmp_path, name):
    with pytest.raises(ValueError, match="not the name of a file"):
        file_in(tmp_path, name)
    assert file_in(tmp_path, "depth-000012.npy") == tmp_path / "depth-000012.npy"


def test_an_unfinished_depth_run_that_names_other_files_is_refused(tmp_path):
    treasure = tmp_path / "treasure.npz"
    np.savez(treasure, a=np.zeros(1))
    store = DepthStore.create(tmp_path / "run", {}, 4, 6)
    store.append(np.ones((2, 4, 6), np.float32), {"a": np.zeros(1)})
    manifest = next((tmp_path / "run").glob("*.json"))
    for key, value in (("state", "../treasure.npz"), ("chunks", [{"file": "../a.npy"}])):
        damaged = {**json.loads(manifest.read_text()), key: value}
        (tmp_path / "other").mkdir(exist_ok=True)
        (tmp_path / "other" / manifest.name).write_text(json.dumps(damaged))
        with pytest.raises(KinedepthError, match="begin anew"):
            DepthStore.open(tmp_path / "other")
    assert treasure.exists()


def test_an_unfinished_lift_that_names_other_files_is_refused(tmp_path):
    with WorkOnDisk.create(tmp_path / "run", {}) as work:
        work.rows("xy", (2, 3), "f4")
        work.checkpoint("tracking", 1, lambda: {"a": np.zeros(1)})
    manifest = next((tmp_path / "run").glob("*.json"))
    whole = json.loads(manifest.read_text())
    for damage in (
        {"stages": {"tracking": {"done": 1, "state": "../treasure.npz"}}},
        {"arrays": {"../treasure": whole["arrays"]["xy"]}},
    ):
        manifest.write_text(json.dumps(whole | damage))
        with pytest.raises(KinedepthError, match="begin anew"):
            WorkOnDisk.open(tmp_path / "run")


# Nothing listens


def test_nothing_in_the_package_listens_beyond_this_machine():
    servers = 0
    for file, call in package_calls():
        name = ast.unparse(call.func)
        if name.endswith(("HTTPServer", "create_server", "TCPServer", ".bind")):
            servers += 1
            assert "_LOOPBACK" in ast.unparse(call), f"{file}: {ast.unparse(call)}"
        if name == "ray.init":
            servers += 1
            options = {option.arg: ast.unparse(option.value) for option in call.keywords}
            local = options.get("_node_ip_address") == "_LOOPBACK"
            assert local or options["address"] == "address", file  # Of a cluster that runs.
    assert servers > 2
    values = {
        ast.literal_eval(line.partition(" = ")[2])
        for path in PACKAGE.rglob("*.py")
        for line in path.read_text().splitlines()
        if line.startswith("_LOOPBACK = ")
    }
    assert values == {"127.0.0.1"}


def test_every_viewer_that_is_started_is_bound_to_this_machine():
    seen = 0
    for path in PACKAGE.rglob("*.py"):
        for line in path.read_text().splitlines():
            if '"-m", "rerun"' in line:
                seen += 1
                assert '"--bind", _LOOPBACK' in line, path
            assert not re.search(r"\b0\.0\.0\.0\b|rr\.serve|serve_web\(|serve_grpc\(", line), path
    assert seen > 0
