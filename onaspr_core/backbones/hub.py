"""A model of a hub as a local folder that holds what is needed of it, and nothing else.

It is downloaded once, into the hub's own cache; the folder links into it, so that its files stay the same
whatever else comes into the cache. What does not belong here: what is in it (`model_files`), and loading it
(`weights`). Imports no torch.
"""

import shutil
import uuid
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath

import httpx2
from huggingface_hub import HfApi, constants, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from onaspr_core.artifacts import content_key
from onaspr_core.backbones.families import PICKLES
from onaspr_core.backbones.model_files import component, is_half
from onaspr_core.errors import PassingError, UserError
from onaspr_core.progress import logger

WEIGHTS = ".safetensors"
BESIDE = (".json", ".txt", ".model")
"""What else of a component's folder is needed: configurations, vocabularies."""


def snapshot(
    repository: str,
    revision: str,
    folders: Collection[str],
    models: Collection[str],
    *,
    half: bool,
    check: Callable[[Path], None],
) -> Path:
    """Return the folder of a hub's model, downloaded the first time it is asked for.

    What a branch names then stays, until a person deletes the folder; a commit says the same for ever.

    Args:
        repository: The hub id.
        revision: Which state of it.
        folders: Those of all components that are needed.
        models: Those with weights.
        half: Whether weights in half precision are preferred.
        check: Looks at the configurations, before weights are downloaded.

    Raises:
        UserError: what `check` raises, and when the hub does not have the model, does not give it, or has
            pickles only; `PassingError` when it cannot be reached.
    """
    # Another family may need other components of the same model.
    parts = content_key("components", names=sorted(folders))[:8]
    name = f"{repository.replace('/', '--')}/{revision.replace('/', '--')}"
    folder = Path(constants.HF_HOME, "onaspr", name, f"{'half' if half else 'full'}-{parts}")
    if _is_whole(folder):
        return folder
    where = f"model {repository!r}"
    try:
        found = HfApi().model_info(repository, revision=revision)
        commit, listed = str(found.sha), [one.rfilename for one in found.siblings or ()]
        aside = [one for one in listed if _folder(one) in folders and one.endswith(BESIDE)]
        check(_fetched(repository, commit, aside))
        chosen = [one for model in models for one in _weights(where, model, listed, half)]
        logger.info("downloading %s, revision %s", repository, revision)
        cached = _fetched(repository, commit, [*aside, *chosen])
    # Of what the hub refuses, all but an invalid name is an OSError too.
    except (OSError, HFValidationError, httpx2.HTTPError) as problem:
        raise _told(where, revision, problem) from problem
    _link(folder, cached, [*aside, *chosen])
    return folder


def _folder(name: str) -> str:
    return PurePosixPath(name).parent.as_posix()


def _fetched(repository: str, commit: str, names: Sequence[str]) -> Path:
    return Path(snapshot_download(repository, revision=commit, allow_patterns=list(names)))


def _weights(where: str, model: str, listed: Sequence[str], half: bool) -> list[str]:
    """Which weight files to download of a component: one set, in half precision where that is used.

    Raises:
        UserError: when it has none but pickles, or none at all.
    """
    own = [name for name in listed if _folder(name) == model]
    weights = [name for name in own if name.endswith(WEIGHTS) and "non_ema" not in name]
    halves = [name for name in weights if is_half(name)]
    full = [name for name in weights if name not in halves]
    if not weights:
        pickles = [name for name in own if name.endswith(PICKLES)]
        held = f"holds only pickles ({pickles[0]}), which are not read" if pickles else "has no weights"
        raise UserError(
            f"{component(where, model)} {held}; convert the model with diffusers' save_pretrained on a "
            "machine that you trust it on, and name that folder"
        )
    return (halves or full) if half else (full or halves)


def _link(folder: Path, cached: Path, names: Sequence[str]) -> None:
    """Make the folder of links, whole or not at all."""
    partial = folder.with_name(f"{folder.name}.{uuid.uuid4().hex}.partial")
    for name in names:
        (partial / name).parent.mkdir(parents=True, exist_ok=True)
        (partial / name).symlink_to((cached / name).resolve())
    if not _is_whole(folder):
        shutil.rmtree(folder, ignore_errors=True)
    # Another process may have been first; its links are these.
    with suppress(OSError):
        partial.replace(folder)
    shutil.rmtree(partial, ignore_errors=True)


def _is_whole(folder: Path) -> bool:
    """Whether the folder is there and the cache still holds what it links to."""
    return folder.is_dir() and all(path.exists() for path in folder.rglob("*"))


def _told(where: str, revision: str, problem: Exception) -> UserError:
    if isinstance(problem, GatedRepoError):
        return UserError(
            f"{where}: its owner asks for consent to a licence; give it on the model's page, and set HF_TOKEN"
        )
    if isinstance(problem, RevisionNotFoundError):
        return UserError(f"{where}: the hub has no revision {revision!r} of it; correct its revision")
    if isinstance(problem, RepositoryNotFoundError | HFValidationError):
        return UserError(
            f"{where}: the hub has no such model, or shows it to its members only; correct the id, or set "
            "HF_TOKEN"
        )
    away = isinstance(problem, HfHubHTTPError | LocalEntryNotFoundError | httpx2.HTTPError)
    told = "the hub cannot be reached" if away else "it cannot be downloaded"
    return PassingError(
        f"{where}: {told}, and the model is not on this machine: {problem}; try again, or download it "
        "elsewhere and name its folder"
    )
