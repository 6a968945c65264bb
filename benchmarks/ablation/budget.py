"""How much every row of the ablations may see and how long it may learn."""

from __future__ import annotations

from dataclasses import dataclass

from kinedepth.seurat.config import SeuratConfig
from kinedepth.training.trainer import TrainingConfig


@dataclass(frozen=True)
class Budget:
    """The same for all rows; at 250 steps a row takes a processor core half a minute to train."""

    steps: int = 250
    batch: int = 8
    held_out: int = 160  # windows to test on
    clips: int = 8  # rendered clips to test on
    learning_rate: float = 1e-3
    width: int = 64  # of a token
    heads: int = 4
    grid: int = 8  # supporting tracks a side
    queries: int = 32  # in a window

    @property
    def windows(self) -> int:
        """How many there are to learn from: each is seen about twice."""
        return max(1, self.steps * self.batch // 2)

    @property
    def rendered(self) -> int:
        """Windows with pictures to learn from, which cost far more; a fifth as many to test on."""
        return max(2, self.windows // 5)

    def network(self, **changes: object) -> SeuratConfig:
        """The paper's network at this size, one look at each window, with some fields changed.

        Tokens hold positions, visibility and displacements; geometric features and the start at
        a robust fit are ours and have to be asked for.
        """
        fields: dict[str, object] = {
            "name": "ablation",
            "width": self.width,
            "heads": self.heads,
            "support_grid": self.grid,
            "geometric_features": False,
            "start_at_fit": False,
            "both_ways": False,
        }
        return SeuratConfig(**(fields | changes))  # type: ignore[arg-type]

    def training(self, seed: int, batch: int | None = None) -> TrainingConfig:
        """How a row is trained; ``seed`` is of initial weights and of the order of the windows."""
        return TrainingConfig(
            steps=self.steps,
            batch=batch or self.batch,
            learning_rate=self.learning_rate,
            warmup=self.steps // 20,
            average=0.98,
            precision="bfloat16",
            seed=seed,
            test_every=self.steps,
        )
