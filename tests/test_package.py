import subprocess
import sys

import pytest

import kinedepth

HEAVY = ("torch", "cv2", "av", "scipy", "numpy", "rich", "typer", "matplotlib", "rerun")


def modules_after(statement):
    """Names of the modules that a fresh interpreter holds after a statement."""
    program = f"{statement}\nimport sys\nprint(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_importing_the_package_loads_nothing_heavy():
    assert modules_after("import kinedepth").isdisjoint(HEAVY)


def test_importing_the_command_line_loads_none_of_what_its_commands_need():
    loaded = modules_after("import kinedepth.cli")
    assert loaded.isdisjoint({"torch", "cv2", "av", "scipy", "numpy", "matplotlib", "rerun"})


def test_nouns_load_without_torch():
    assert "torch" not in modules_after("from kinedepth import Intrinsics, Tracks, load_video")


@pytest.mark.parametrize("name", kinedepth.__all__)
def test_every_public_name_is_there_and_listed(name):
    assert getattr(kinedepth, name) is getattr(kinedepth, name)
    assert name in dir(kinedepth)


def test_a_name_that_does_not_exist_is_told_as_usual():
    with pytest.raises(AttributeError, match="no attribute 'depth_of_everything'"):
        _ = kinedepth.depth_of_everything


def test_the_version_is_that_of_the_installed_package():
    from importlib.metadata import version

    assert kinedepth.__version__ == version("kinedepth")


def test_the_package_runs_as_a_module():
    done = subprocess.run(
        [sys.executable, "-m", "kinedepth", "--version"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, f"kinedepth {kinedepth.__version__}\n")
