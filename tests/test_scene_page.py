import json
import re
import shutil
import subprocess
from importlib import resources

import numpy as np
import pytest
from scene_page_reader import read_page, read_scene
from viewing_tracks import FRAMES, black_video, moving_grid, no_tracks, one_track, with_std

from kinedepth.errors import KinedepthError
from kinedepth.viewing import scene_data
from kinedepth.viewing.scene_page import SCRIPTS, viewer_script, write_scene_page


def test_a_video_of_another_size_is_refused(tmp_path):
    with pytest.raises(KinedepthError, match="160x120, but the tracks were made on 320x240"):
        write_scene_page(moving_grid(width=320, height=240), tmp_path / "a.html", black_video())


def test_the_page_loads_nothing_from_anywhere(tmp_path):
    page = read_page(moving_grid(), tmp_path, black_video())
    text = (tmp_path / "scene.html").read_text(encoding="utf-8")
    links = [value for name, value in page.attributes if name in ("src", "href", "action")]
    assert all(link.startswith("data:") for link in links)
    assert not re.search(r"https?://|//cdn|@import|\bimport\b|\bfetch\(|XMLHttpRequest", text)
    policies = [value for name, value in page.attributes if name == "content"]
    assert any("default-src 'none'" in policy for policy in policies)


@pytest.mark.parametrize(
    "title", ["<b>& \"quotes\" 'n' more</b>", "</script><script>alert(1)</script>", "{{SCENE}}"]
)
def test_a_title_is_shown_as_it_is_written(title, tmp_path):
    page = read_page(moving_grid(), tmp_path, title=title)
    assert page.texts["title"] == title
    assert page.texts["h1"] == title
    assert json.loads(page.texts["scene"])["title"] == title


def test_pages_of_ordinary_clips_are_small(tmp_path):
    write_scene_page(with_std(moving_grid(48, 20, 20), 0.1), tmp_path / "small.html")
    assert (tmp_path / "small.html").stat().st_size < 400_000


def test_the_largest_page_stays_below_15_megabytes():
    numbers = scene_data.MOST_ENTRIES * (3 * 2 + 2 + 1 + 1 / 8) * 4 / 3
    assert numbers + scene_data.PICTURE_BYTES + 200_000 < 15e6


@pytest.mark.parametrize("metric", [False, True])
@pytest.mark.parametrize("make", [no_tracks, lambda **o: one_track(np.zeros(FRAMES), **o)])
def test_a_page_can_be_made_of_one_track_or_none(make, metric, tmp_path):
    scene = read_scene(make(metric=metric), tmp_path, black_video())
    assert scene["frames"] == FRAMES
    assert scene["guides"]


def test_tracks_that_are_never_visible_still_make_a_page(tmp_path):
    assert read_scene(moving_grid(visible=False), tmp_path)["tracks"] == 30


def test_every_element_the_viewer_looks_up_is_in_the_page(tmp_path):
    looked_up = set(re.findall(r'element\("([^"]+)"\)', viewer_script()))
    assert len(looked_up) > 15
    assert looked_up <= read_page(moving_grid(), tmp_path).ids


def test_every_field_the_viewer_reads_is_in_the_page(tmp_path):
    read = set(re.findall(r"\bscene\.(\w+)", viewer_script()))
    assert read <= set(read_scene(moving_grid(), tmp_path, black_video()))


def test_every_control_has_a_name_for_screen_readers(tmp_path):
    write_scene_page(moving_grid(), tmp_path / "scene.html")
    text = (tmp_path / "scene.html").read_text(encoding="utf-8")
    for control in re.findall(r"<(?:input|canvas)[^>]*>", text):
        name = re.search(r'id="([^"]+)"', control)
        labelled = f'for="{name[1]}"' in text or "aria-label" in control
        inside_label = f'<label class="check">{control}' in text
        assert labelled or inside_label, control


def test_every_file_of_the_viewer_is_joined_once():
    folder = resources.files("kinedepth.viewing").joinpath("page")
    files = [entry.name for entry in folder.iterdir() if entry.name.endswith(".js")]
    assert sorted(SCRIPTS) == sorted(files)


def test_no_function_of_the_viewer_is_hidden_by_a_second_one_of_its_name():
    # Twice the same constant is an error of syntax; of two functions the later one wins, unseen.
    names = re.findall(r"^function (\w+)", viewer_script(), re.MULTILINE)
    assert len(names) > 40
    assert len(names) == len(set(names))


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_the_viewer_is_valid_javascript(tmp_path):
    (tmp_path / "viewer.js").write_text(viewer_script(), encoding="utf-8")
    checked = subprocess.run(
        ["node", "--check", str(tmp_path / "viewer.js")], capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stderr
