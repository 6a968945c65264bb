"""One scale for all points, and the camera's path, from parallax alone.

    python examples/04_depth_from_parallax.py my_clip.mp4 out

No depth model is asked: where the camera travels, near points move more than far ones. Where it
does not travel far enough, the reason is printed instead of invented depth.
"""

import sys

import numpy as np

from kinedepth import KinedepthError, grid, lift


def main(source: str, folder: str) -> None:
    lifted = lift(source, queries=grid(20), anchor="rigid")
    lifted.save(folder, overwrite=True)
    tracks = lifted.tracks
    if tracks.extrinsics_w2c is None:
        print(f"No common scale: {lifted.facts['anchor']['reason']}.")
        return

    rotation, translation = tracks.extrinsics_w2c[:, :3, :3], tracks.extrinsics_w2c[:, :3, 3]
    camera = -np.einsum("tji,tj->ti", rotation, translation)  # where it is, seen from frame 0
    travelled = np.linalg.norm(np.diff(camera, axis=0), axis=1).sum()
    near, far = np.percentile(tracks.depth[0, tracks.tracks.visible[0]], [5, 95])
    print(f"Depth in the first frame goes from {near:.2f} to {far:.2f}, in one common unit.")
    print(f"The camera travelled {travelled:.2f} of it. Open {folder}/scene.html and choose World.")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except KinedepthError as error:
        sys.exit(str(error))
