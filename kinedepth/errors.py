"""The one exception that means "the input or the setup is wrong, and here is what to do".

Anything a user can cause (a missing file, a video with one frame, NaN tracks, an unknown
model name) raises :class:`KinedepthError` with one clear sentence. The command line prints
that sentence and exits with code 2; every other exception is a bug and keeps its traceback.
"""


class KinedepthError(ValueError):
    """Bad input or setup; the message says what is wrong and what to do about it."""


class MissingExtraError(KinedepthError):
    """An optional dependency is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(
            f"{package} is not installed; install it with: pip install 'kinedepth[{extra}]'."
        )
