"""Lift a grid of points of a video to 3D and say which came closest.

python examples/01_lift_a_clip.py my_clip.mp4 out
"""

import sys

import numpy as np

from kinedepth import KinedepthError, grid, lift


def main(video: str, folder: str) -> None:
    lifted = lift(video, queries=grid(20))
    tracks = lifted.tracks
    frames, points = tracks.depth.shape
    print(f"{points} points over {frames} frames in {sum(lifted.seconds.values()):.1f} s")

    # Depth is relative to each track's query frame: 0.5 means that it came twice as close.
    depth = np.where(tracks.tracks.visible, tracks.depth, np.inf)
    for point in np.argsort(depth.min(axis=0))[:5]:
        frame = int(depth[:, point].argmin())
        x, y = tracks.tracks.xy[frame, point]
        print(
            f"point {point}: {depth[frame, point]:.2f} of its first depth in frame {frame}, "
            f"where it is at ({x:.0f}, {y:.0f})"
        )

    lifted.save(folder, overwrite=True)
    print(f"Open {folder}/scene.html")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except KinedepthError as error:
        sys.exit(str(error))
