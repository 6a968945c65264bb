"""Compare a run with a clip whose depth is known, beside "nothing changes its depth".

kinedepth synth clips --frames 48
kinedepth lift clips/clip0000.mp4 -o out --queries clips/clip0000.npz
python examples/03_compare_with_truth.py out clips/clip0000.npz
"""

import sys
from pathlib import Path

import numpy as np

from kinedepth import KinedepthError
from kinedepth.exporting.tracks_file import load_tracks3d
from kinedepth.synthesis.clip_files import read_clip_truth


def main(run: str, clip: str) -> None:
    lifted = load_tracks3d(Path(run) / "tracks.npz")
    truth = read_clip_truth(clip)
    if not np.allclose(lifted.queries_xyt, truth.queries_xyt, atol=0.01):
        raise KinedepthError(f"{run} followed other points; lift with --queries {clip}.")

    # Depth relative to the frame that each track starts from, (T, N).
    start = lifted.tracks.query_frame
    depth = truth.tracks_xyz[..., 2]
    true_ratio = depth / depth[start, np.arange(depth.shape[1])]
    scored = truth.visibility & (depth > 0)
    scored[start, np.arange(depth.shape[1])] = False  # Right by definition.
    moving = scored & (np.abs(np.log(np.where(scored, true_ratio, 1))) > 0.05)

    print(f"{scored.sum()} visible points, {moving.sum() / scored.sum():.0%} of them with a depth")
    print("that has changed by more than 5 % since their track began")
    print()
    print(f"{'error of the':28} {'log depth ratio':>17} {'depth':>19}")
    print(f"{'':28} {'all':>8} {'moving':>8} {'all':>10} {'moving':>8}")
    for name, log_ratio in {
        "kinedepth": lifted.log_ratio,
        "constant depth": np.zeros_like(lifted.log_ratio),
    }.items():
        ratio = np.exp(log_ratio)
        in_log = np.abs(log_ratio - np.log(np.where(scored, true_ratio, 1)))
        # A track's own scale is not observable: it is set right where the track begins.
        in_depth = np.abs(ratio / np.where(scored, true_ratio, 1) - 1)
        print(
            f"{name:28} {in_log[scored].mean():8.4f} {in_log[moving].mean():8.4f} "
            f"{in_depth[scored].mean():10.1%} {in_depth[moving].mean():8.1%}"
        )
    print()
    print("(means; depth after setting each track's scale in the frame that it starts from)")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except KinedepthError as error:
        sys.exit(str(error))
