"""Folders of many results that were all made with the same settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import kinedepth
from kinedepth.errors import KinedepthError
from kinedepth.exporting.atomic import atomic_path

SETTINGS_FILE = "settings.json"
"""In such a folder: what its results were made with."""


def open_results_folder(
    folder: Path, settings: dict[str, Any], results: str = "results", foreign: str | None = None
) -> None:
    """Create the folder, or see that what it holds was made with the same settings.

    Args:
        folder: of the results.
        settings: plain values; this package's version is added to them.
        results: what to call them in a sentence.
        foreign: pattern of files that must not be there before there are settings.

    Raises:
        KinedepthError: if it is a file, cannot be used, or holds results of other settings.
    """
    record = folder / SETTINGS_FILE
    if folder.exists() and not folder.is_dir():
        raise KinedepthError(f"{folder} is a file; give a folder to write the {results} into.")
    now = {**settings, "version": kinedepth.__version__}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        text = record.read_text(encoding="utf-8") if record.exists() else None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or f"{SETTINGS_FILE} is no text"
        raise KinedepthError(f"{folder} cannot be used for the {results} ({reason}).") from error
    if text is not None:
        _check_same(folder, text, now, results)
    elif foreign is not None and any(folder.rglob(foreign)):
        raise KinedepthError(
            f"{folder} holds {foreign.lstrip('*')} files but no {SETTINGS_FILE} that says what "
            f"they were made with; choose another folder."
        )
    else:
        with atomic_path(record) as temporary:
            temporary.write_text(json.dumps(now, indent=2) + "\n", encoding="utf-8")


def _check_same(folder: Path, text: str, now: dict[str, Any], results: str) -> None:
    try:
        before = json.loads(text)
        keys = sorted(set(before) | set(now))
        differ = [key for key in keys if before.get(key) != now.get(key)]
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise KinedepthError(
            f"{folder / SETTINGS_FILE} cannot be read as JSON; choose another folder."
        ) from None
    if differ:
        changes = ", ".join(f"{k} was {before.get(k)} and is {now.get(k)}" for k in differ)
        raise KinedepthError(
            f"{folder} holds {results} of other settings ({changes}); choose another folder, or "
            f"the same settings to go on."
        )
