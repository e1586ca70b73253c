"""A model of a hub as a local folder: what is needed of it is downloaded once, at a revision that stays.

What does not belong here: what is in it (`registry`), and loading it (`weights`). Imports no torch.
"""

from collections.abc import Collection, Iterable
from pathlib import Path

import httpx2 as httpx
from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from onaspr_core.errors import PassingError, UserError
from onaspr_core.progress import logger
from onaspr_core.settings import BackboneSettings

SUFFIX = ".safetensors"


def snapshot(settings: BackboneSettings, models: Collection[str], files: Iterable[str]) -> Path:
    """Return the folder of a hub's model, downloaded where it is not there yet.

    Args:
        settings: Its `path` is the hub id, `revision` which state of it.
        models: Folders of components with weights.
        files: What else is needed.

    Raises:
        UserError: when the hub does not have the model, does not give it, or has pickles only;
            `PassingError` when it cannot be reached.
    """
    needed = [*files, *(f"{model}/config.json" for model in models)]
    there = _local(settings, models, needed)
    if there is not None:
        return there
    try:
        names = HfApi().list_repo_files(settings.path, revision=settings.revision)
        chosen = _weights(settings, models, names)
        aside = [f"{Path(name).parent}/*.json" for name in needed]
        patterns = [*chosen, *needed, *aside, *(f"{Path(name).parent}/*.txt" for name in needed)]
        patterns += [f"{Path(name).parent}/*.model" for name in needed]
        logger.info("downloading %s, revision %s", settings.path, settings.revision)
        return Path(
            snapshot_download(settings.path, revision=settings.revision, allow_patterns=sorted(set(patterns)))
        )
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError, httpx.HTTPError) as problem:
        raise _told(settings, problem) from problem


def _local(settings: BackboneSettings, models: Collection[str], needed: Iterable[str]) -> Path | None:
    """The folder of an earlier download, if it is complete."""
    try:
        folder = Path(snapshot_download(settings.path, revision=settings.revision, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError, OSError):
        return None
    complete = all((folder / name).is_file() for name in needed)
    return folder if complete and all(any((folder / m).glob(f"*{SUFFIX}")) for m in models) else None


def _weights(settings: BackboneSettings, models: Iterable[str], names: Iterable[str]) -> list[str]:
    """Which weight files to download: one set for each component, in half precision where that is used.

    Raises:
        UserError: when a component has none but pickles, or none at all.
    """
    chosen = []
    listed = list(names)
    for model in models:
        own = [name for name in listed if Path(name).parent.as_posix() == model]
        weights = [name for name in own if name.endswith(SUFFIX) and "non_ema" not in name]
        half = [name for name in weights if ".fp16." in name]
        full = [name for name in weights if name not in half]
        if not weights:
            pickles = [name for name in own if name.endswith((".bin", ".ckpt", ".pt"))]
            told = f"holds only pickles ({pickles[0]}), which are not read" if pickles else "is not there"
            raise UserError(
                f"backbone {settings.path!r}: {model} {told}; convert the model with diffusers' "
                "save_pretrained on a machine that you trust it on, and name that folder"
            )
        chosen += (half or full) if settings.dtype == "float16" else (full or half)
    return chosen


def _told(settings: BackboneSettings, problem: Exception) -> UserError:
    where = f"backbone {settings.path!r}"
    if isinstance(problem, GatedRepoError):
        return UserError(
            f"{where}: its owner asks for consent to a licence; give it on the model's page, and set HF_TOKEN"
        )
    if isinstance(problem, RevisionNotFoundError):
        return UserError(f"{where}: the hub has no revision {settings.revision!r} of it; correct `revision`")
    if isinstance(problem, RepositoryNotFoundError | HFValidationError):
        return UserError(
            f"{where}: the hub has no such model, or shows it to its members only; correct `path`, or set "
            "HF_TOKEN"
        )
    return PassingError(
        f"{where}: the hub cannot be reached, and the model is not on this machine: {problem}; try again, or "
        "download it elsewhere and name its folder"
    )
