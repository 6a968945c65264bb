"""Make overview.jpg of a run on a rendered clip: a frame of its film beside its 3D page.

    python docs/images/make_overview.py demo/out 30

Needs Chromium, which draws the page without a window.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np

from kinedepth import load_video

WIDTH, HEIGHT, GAP = 800, 450, 12


def main(run: str, frame: str) -> None:
    """Write the picture of one frame of a run."""
    film = load_video(Path(run) / "overlay.mp4").frame(int(frame))
    film = cv2.resize(film, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    film = cv2.cvtColor(film, cv2.COLOR_RGB2BGR)
    page = screenshot((Path(run) / "scene.html").resolve(), frame)
    page = cv2.resize(page, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    film = cv2.copyMakeBorder(film, 0, 0, 0, GAP, cv2.BORDER_CONSTANT, value=(255, 255, 255))
    target = Path(__file__).with_name("overview.jpg")
    cv2.imwrite(str(target), cv2.hconcat([film, page]), [cv2.IMWRITE_JPEG_QUALITY, 88])
    print(f"Wrote {target}")


def screenshot(page: Path, frame: str) -> np.ndarray:
    """The 3D page at a frame, (540, 960, 3) uint8 BGR."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        sys.exit("Chromium is needed to draw the page.")
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "page.png"
        options = ["--headless=new", "--no-sandbox", "--enable-unsafe-swiftshader"]
        options += ["--hide-scrollbars", "--window-size=960,540", "--virtual-time-budget=4000"]
        command = [browser, *options, f"--screenshot={picture}", f"{page.as_uri()}#frame={frame}"]
        subprocess.run(command, check=True, capture_output=True, timeout=300)
        return cv2.imread(str(picture))


if __name__ == "__main__":
    main(*sys.argv[1:])
