"""Lift 2D tracks that kinedepth did not make, here of OpenCV's corner tracker.

    python examples/02_your_own_tracks.py my_clip.mp4 out

Tracks may also come as a table, a row for each frame of each track: track,frame,x,y,visible.
"""

import sys
from pathlib import Path

import cv2
import numpy as np

from kinedepth import KinedepthError, lift, load_video


def follow_corners(video):
    """Positions (T, N, 2) in pixels and visibility (T, N) of the corners in the first frame."""
    grey = (cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for _, b in video.blocks() for frame in b)
    before = next(grey)
    points = cv2.goodFeaturesToTrack(before, 400, 0.01, 8).reshape(-1, 1, 2)
    positions, visibility = [points], [np.ones(len(points), bool)]
    for now in grey:
        points, found, _ = cv2.calcOpticalFlowPyrLK(before, now, positions[-1], None)
        positions.append(points)
        visibility.append(visibility[-1] & (found[:, 0] == 1))
        before = now
    # OpenCV counts from the centre of the top left pixel, kinedepth from its corner.
    return np.stack(positions)[:, :, 0] + 0.5, np.stack(visibility)


def main(source: str, folder: str) -> None:
    video = load_video(source)
    xy, visible = follow_corners(video)
    Path(folder).mkdir(parents=True, exist_ok=True)
    file = Path(folder) / "my_tracks.npz"
    np.savez(file, tracks_xy=xy, visibility=visible)

    lifted = lift(video, tracker=f"file:{file}")
    lifted.save(folder, overwrite=True)
    print(f"Lifted {xy.shape[1]} tracks; open {folder}/scene.html")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except KinedepthError as error:
        sys.exit(str(error))
