"""What the 3D page holds, read back from the written file."""

import base64
import json
from html.parser import HTMLParser

import numpy as np

from kinedepth.viewing.scene_page import write_scene_page


class PageReader(HTMLParser):
    """Collects a page's attributes, and the text inside its scripts, title and heading."""

    def __init__(self):
        super().__init__()
        self.attributes, self.ids, self.texts, self.inside = [], set(), {}, None

    def handle_starttag(self, tag, attrs):
        self.attributes += attrs
        names = dict(attrs)
        self.ids.add(names.get("id"))
        if tag in ("script", "title", "h1", "style"):
            self.inside = names.get("id") or tag

    def handle_endtag(self, tag):
        self.inside = None

    def handle_data(self, data):
        if self.inside:
            self.texts[self.inside] = self.texts.get(self.inside, "") + data


def read_page(tracks3d, folder, video=None, **options):
    path = folder / "scene.html"
    write_scene_page(tracks3d, path, video, **options)
    reader = PageReader()
    reader.feed(path.read_text(encoding="utf-8"))
    return reader


def read_scene(tracks3d, folder, video=None, **options):
    def not_in_json(constant):
        raise AssertionError(f"{constant} is not JSON; browsers refuse it")

    text = read_page(tracks3d, folder, video, **options).texts["scene"]
    return json.loads(text, parse_constant=not_in_json)


def unpack(packed, kind, shape):
    return np.frombuffer(base64.b64decode(packed["data"]), kind).reshape(shape).astype(np.float64)


def positions_of(scene):
    low, high = np.array(scene["position"]["low"]), np.array(scene["position"]["high"])
    grid = unpack(scene["position"], "<u2", (scene["frames"], scene["tracks"], 3))
    return low + grid / 65535 * (high - low), (high - low) / 65535 / 2
