"""All cases together."""

from __future__ import annotations

from damaged.archives import archive_cases
from damaged.case import Case
from damaged.images import image_cases
from damaged.tables import depth_folder_cases, table_cases
from damaged.videos import video_cases
from damaged.weights import weights_cases


def corpus() -> list[Case]:
    """Every case, in a fixed order; the same in every run."""
    makers = (
        video_cases,
        image_cases,
        archive_cases,
        weights_cases,
        table_cases,
        depth_folder_cases,
    )
    return [case for maker in makers for case in maker()]
