"""Which frames of a clip a benchmark scores."""

from __future__ import annotations

from dataclasses import dataclass

from kinedepth.errors import KinedepthError


@dataclass(frozen=True)
class FrameSelection:
    """Frames ``first:stop:step`` of the footage, as far as it goes.

    Attributes:
        first: the first one.
        stop: the one to stop before; None for the end.
        step: from one to the next.
    """

    first: int = 0
    stop: int | None = None
    step: int = 1

    def of(self, footage: int, name: str) -> range:
        """The frames selected of ``footage`` frames.

        Raises:
            KinedepthError: if there are none.
        """
        selected = range(footage)[self.first : self.stop : self.step]
        if not selected:
            raise KinedepthError(
                f"{name} has {footage} frames with truth, none from frame {self.first} on, where "
                f"the benchmark begins."
            )
        return selected


ALL_FRAMES = FrameSelection()
