"""Published weights of others: where they lie, under which licence, and how they get here.

Sizes and checksums are those of the files at the named revision. A download is never begun
without the licence having been shown, and nothing is used that is not, to the last byte, the
file that was meant.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from kinedepth.errors import KinedepthError, MissingExtraError
from kinedepth.exporting.atomic import disk_is_full


@dataclass(frozen=True)
class Licence:
    """Terms under which weights were published.

    Attributes:
        name: as the publisher calls it.
        permissive: whether any use is free, so that it is enough to show it.
        terms: what it means for a user, in a few words.
        url: where its text is.
    """

    name: str
    permissive: bool
    terms: str
    url: str


APACHE_2 = Licence(
    "Apache-2.0", True, "free for any use", "https://www.apache.org/licenses/LICENSE-2.0"
)
CC_BY_NC_4 = Licence(
    "CC-BY-NC-4.0",
    False,
    "not for commercial use; give credit",
    "https://creativecommons.org/licenses/by-nc/4.0/",
)


MIT = Licence("MIT", True, "free for any use", "https://opensource.org/license/mit")
APPLE_AMLR = Licence(
    "apple-amlr",
    False,
    "Apple's licence for research models: for non-commercial research only",
    "https://huggingface.co/apple/DepthPro/blob/main/LICENSE",
)
RAIL_PP_M = Licence(
    "CreativeML Open RAIL++-M",
    False,
    "free, but not for the uses that its attachment A forbids, which you have to pass on",
    "https://huggingface.co/stabilityai/stable-diffusion-2/blob/main/LICENSE-MODEL",
)


@dataclass(frozen=True)
class HubFile:
    """A file of a repository on the hub.

    Attributes:
        name: path inside the repository.
        size: bytes; None where it is not known.
        sha256: hexadecimal; None where it is not known.
    """

    name: str
    size: int | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class PublishedWeights:
    """Weights on the Hugging Face hub.

    Attributes:
        repository: ``owner/name``.
        files: what is needed of it.
        licence: of the weights.
        revision: commit of the repository, so that the same files come for ever; None for the
            newest.
        megabytes: about how large all files are, where they are not known to the byte.
    """

    repository: str
    files: tuple[HubFile, ...]
    licence: Licence
    revision: str | None = None
    megabytes: int | None = None

    @property
    def size(self) -> int | None:
        """Bytes of all files; None where one is not known."""
        sizes = [file.size for file in self.files if file.size is not None]
        return sum(sizes) if len(sizes) == len(self.files) else None


def _video_depth_anything(
    repository: str, file: str, size: int, sha256: str, licence: Licence, revision: str
) -> PublishedWeights:
    return PublishedWeights(
        f"depth-anything/{repository}", (HubFile(file, size, sha256),), licence, revision
    )


def _transformers(repository: str, megabytes: int, licence: Licence) -> PublishedWeights:
    names = ("config.json", "preprocessor_config.json", "model.safetensors")
    files = tuple(HubFile(name) for name in names)
    return PublishedWeights(repository, files, licence, megabytes=megabytes)


def _pipeline(repository: str, licence: Licence) -> PublishedWeights:
    """A latent diffusion pipeline of diffusers, part by part."""
    network = "diffusion_pytorch_model.safetensors"
    names = (
        "model_index.json",
        "scheduler/scheduler_config.json",
        *(f"text_encoder/{name}" for name in ("config.json", "model.safetensors")),
        *(f"tokenizer/{name}" for name in ("vocab.json", "merges.txt")),
        *(f"tokenizer/{name}.json" for name in ("tokenizer_config", "special_tokens_map")),
        *(f"{part}/{name}" for part in ("unet", "vae") for name in ("config.json", network)),
    )
    return PublishedWeights(repository, tuple(map(HubFile, names)), licence)


def _depth_anything_v2(kind: str) -> dict[str, PublishedWeights]:
    """Three sizes. The licences are those that the authors name in their own repository; the pages
    of the larger metric models on the hub name none, or a freer one."""
    sizes = {"small": (99, APACHE_2), "base": (390, CC_BY_NC_4), "large": (1340, CC_BY_NC_4)}
    return {
        f"depth-anything-v2-{f'{kind}-' if kind else ''}{size}": _transformers(
            f"depth-anything/Depth-Anything-V2-{f'{kind}-'.title() if kind else ''}"
            f"{size.title()}-hf",
            megabytes,
            licence,
        )
        for size, (megabytes, licence) in sizes.items()
    }


PUBLISHED: dict[str, PublishedWeights] = {
    "vda-small": _video_depth_anything(
        "Video-Depth-Anything-Small",
        "video_depth_anything_vits.pth",
        116_440_756,
        "13379300b739e659f076a59d52e9801bd8d38c541a7e71f73bbca4dcfb013609",
        APACHE_2,
        "256875362cff76724b920335dfb4b29dd611f66e",
    ),
    "vda-base": _video_depth_anything(
        "Video-Depth-Anything-Base",
        "video_depth_anything_vitb.pth",
        458_247_082,
        "775e578e8f9431ec0496514aa466bd0a1f67c28d0f518267809f35a43c04329b",
        CC_BY_NC_4,
        "7231d0c6e260f54f103eba5005d01f6efa4f43db",
    ),
    "vda-large": _video_depth_anything(
        "Video-Depth-Anything-Large",
        "video_depth_anything_vitl.pth",
        1_538_392_012,
        "43df27c6b396042ba34ff7b798ab279f64d204d2e86d7a373968f8fa36d0e6fa",
        CC_BY_NC_4,
        "7aafbcb5c6af0bac741aad2b6471894fb4761afa",
    ),
    "vda-metric-small": _video_depth_anything(
        "Metric-Video-Depth-Anything-Small",
        "metric_video_depth_anything_vits.pth",
        116_444_063,
        "3c28432b4e1f0d7bb31cad5151b6313b49457db5aa58d82e85bfb0f8b1311b33",
        APACHE_2,
        "273d090f2ce17df50c2872d82c8322c45da5b4dd",
    ),
    "vda-metric-base": _video_depth_anything(
        "Metric-Video-Depth-Anything-Base",
        "metric_video_depth_anything_vitb.pth",
        458_249_567,
        "f6f58576b9680a112f2428d4f39aff92656d3ae85745b0164675ace8d5b1fade",
        CC_BY_NC_4,
        "f6a245abad4b5a5b0d26722c8e1767ef310c547d",
    ),
    "vda-metric-large": _video_depth_anything(
        "Metric-Video-Depth-Anything-Large",
        "metric_video_depth_anything_vitl.pth",
        1_538_348_216,
        "24eba25342e7ee0f054be25da6a852ebd7cfa40cd6bf41a353ecb6abfe24e620",
        CC_BY_NC_4,
        "607fcdbd454b95c3bd39abbd3054142869a527d3",
    ),
    "rollingdepth": _pipeline("prs-eth/rollingdepth-v1-0", RAIL_PP_M),
    **_depth_anything_v2("metric-indoor"),
    **_depth_anything_v2("metric-outdoor"),
    **_depth_anything_v2(""),
    "zoedepth": _transformers("Intel/zoedepth-nyu-kitti", 1380, MIT),
    "marigold": _pipeline("prs-eth/marigold-depth-v1-1", RAIL_PP_M),
    "depth-pro": _transformers("apple/DepthPro-hf", 1900, APPLE_AMLR),
}
"""By name of the model."""

TINY_AUTOENCODER = PublishedWeights(
    "madebyollin/taesd",
    (HubFile("config.json"), HubFile("diffusion_pytorch_model.safetensors")),
    MIT,
    megabytes=10,
)
"""Decodes latents of Stable Diffusion 1 and 2, and so of RollingDepth (Ollin Boer Bohan)."""

Permission = Callable[[PublishedWeights], bool]
"""Called before a download: shows the licence, and says whether the user agrees to it."""


def permission(
    accept_licence: bool = False,
    ask: Callable[[str], bool] | None = None,
    tell: Callable[[str], None] | None = None,
) -> Permission:
    """Shows a licence, and asks for consent where it restricts what one may do.

    Args:
        accept_licence: the user has agreed already.
        ask: puts a question that is answered by yes or no; None where there is nobody to ask.
        tell: shows a sentence; None for standard error.
    """

    def permitted(weights: PublishedWeights) -> bool:
        (tell or _tell)(describe(weights))
        if weights.licence.permissive or accept_licence:
            return True
        return ask is not None and ask(f"Do you accept {weights.licence.name}?")

    return permitted


def describe(weights: PublishedWeights) -> str:
    """One sentence on what is about to be downloaded, with its licence."""
    about = f" (about {weights.megabytes:,} MB)" if weights.megabytes is not None else ""
    size = about if weights.size is None else f" ({weights.size / 1e6:,.0f} MB)"
    licence = weights.licence
    return (
        f"The weights {weights.repository}{size} are published under {licence.name}: "
        f"{licence.terms} ({licence.url})."
    )


def fetch(weights: PublishedWeights, permit: Permission) -> Path:
    """The verified weights on this machine, downloaded into the hub's cache if need be.

    Args:
        weights: what to get.
        permit: asked before a download; not asked where all files are here already.

    Returns:
        The file, or the folder where there are several.

    Raises:
        KinedepthError: the licence was declined, the hub cannot be reached, or a file has
            another size or checksum than it should.
        MissingExtraError: huggingface_hub is not installed.
    """
    try:
        import huggingface_hub
    except ImportError:
        raise MissingExtraError("huggingface_hub", "hub") from None
    cached = [_cached(huggingface_hub, weights, file) for file in weights.files]
    if None in cached and not permit(weights):
        licence = weights.licence
        raise KinedepthError(
            f"{weights.repository} was not downloaded, because its licence {licence.name} "
            f"({licence.terms}) was not accepted; add --accept-licence (accept_licence=True) if "
            f"you do, or choose another model."
        )
    paths = [
        path or _download(huggingface_hub, weights, file)
        for path, file in zip(cached, weights.files, strict=True)
    ]
    for path, file in zip(paths, weights.files, strict=True):
        check_file(path, file)
    if len(paths) == 1:
        return paths[0]
    return paths[0].parents[len(PurePosixPath(weights.files[0].name).parts) - 1]


def check_file(path: Path, file: HubFile) -> None:
    """Raise unless ``path`` has the size and checksum of ``file``, as far as they are known.

    Raises:
        KinedepthError: if it differs; the sentence names the file to remove.
    """
    found = path.stat().st_size
    if file.size is not None and found != file.size:
        wrong = f"has {found:,} bytes instead of {file.size:,}"
    elif file.sha256 is not None and sha256_of(path) != file.sha256:
        wrong = f"does not have the SHA-256 {file.sha256}"
    else:
        return
    # The cache holds a link to the real file: without that one the next run fetches it anew.
    raise KinedepthError(
        f"{file.name} was damaged or cut off on its way and is not used: {path.resolve()} "
        f"{wrong}; remove that file and run again."
    )


def identify(path: Path) -> str | None:
    """Name of the model whose published file ``path`` is, byte for byte; None for any other."""
    size = path.stat().st_size
    for name, weights in PUBLISHED.items():
        for file in weights.files:
            # The checksum is worked out only where the size fits already.
            if file.size == size and file.sha256 == sha256_of(path):
                return name
    return None


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _cached(hub: Any, weights: PublishedWeights, file: HubFile) -> Path | None:
    path = hub.try_to_load_from_cache(
        weights.repository, file.name, revision=weights.revision or "main"
    )
    return Path(path) if isinstance(path, str) else None


def _download(hub: Any, weights: PublishedWeights, file: HubFile) -> Path:
    try:
        return Path(hub.hf_hub_download(weights.repository, file.name, revision=weights.revision))
    except Exception as error:
        # Whatever goes wrong here lies outside of this program; the library's many kinds of
        # error differ from version to version.
        if disk_is_full(error):
            raise
        raise KinedepthError(
            f"{file.name} could not be downloaded from {weights.repository} on the Hugging Face "
            f"hub ({_reason(hub, error)}); fetch it on a machine with network access and give "
            f"--weights PATH."
        ) from error


def _reason(hub: Any, error: Exception) -> str:
    offline = (hub.errors.LocalEntryNotFoundError, hub.errors.OfflineModeIsEnabled)
    if isinstance(error, offline):
        return "it cannot be reached from here"
    first_line = (str(error).strip().splitlines() or [""])[0]
    return first_line.rstrip(".") or type(error).__name__


def _tell(sentence: str) -> None:
    print(f"kinedepth: {sentence}", file=sys.stderr, flush=True)
