"""Draws docs/images/learning_curve_small.png from the log of the training run.

python docs/images/make_learning_curve.py
"""

from __future__ import annotations

from pathlib import Path

from kinedepth._training_curve import Curve, draw_curve

HERE = Path(__file__).parent
LINES = {"seurat_mean": "small", "robust_mean": "robust local fit, without a network"}


def main() -> None:
    """Draw it."""
    draw_curve(
        HERE.parent / "training_log_small.jsonl",
        HERE / "learning_curve_small.png",
        Curve("mean error of the log depth ratio", LINES),
    )


if __name__ == "__main__":
    main()
