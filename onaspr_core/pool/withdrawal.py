"""Withdrawn items: what a takedown list names, and the removal of what was made of nothing else.

The manifest leaves withdrawn items out by itself, so clips, captions and neighbours follow. What lies in the
artifact store under content keys is not asked for any more, but it is still there: this module deletes it.
What does not belong here: the bytes of clips in shards (`shards`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec

from onaspr_core.artifacts import ArtifactStore, content_key
from onaspr_core.errors import UserError
from onaspr_core.paths import resolve
from onaspr_core.pool.manifest_table import live_clip_keys, withdrawn_pairs
from onaspr_core.pool.settings import PoolSettings
from onaspr_core.progress import logger, track
from onaspr_core.workspace import Workspace

INVERTED, VIDEO = "inverted-latent", "video"
"""Kinds of items that are made of clips; `onaspr_core.inversion` and `onaspr_core.generation` store them."""

_DONE = "create table if not exists withdrawals_done (version text)"


@dataclass(frozen=True)
class Removed:
    """What was deleted because it was made of withdrawn items only."""

    clip_keys: frozenset[str]
    inverted_latents: int = 0
    videos: int = 0


def takedown_names(settings: PoolSettings, base: Path) -> list[str]:
    """Return the ids and URLs that a pool's takedown list holds, one a line; none without a list.

    Raises:
        UserError: when the list cannot be read.
    """
    if settings.takedown is None:
        return []
    path = resolve(settings.takedown, base)
    try:
        with fsspec.open(path, "rb") as file:
            text = file.read().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as problem:
        raise UserError(f"{path}: the takedown list cannot be read: {problem}") from problem
    return sorted({line.strip() for line in text.splitlines()} - {""})


def withdrawn_clip_keys(workspace: Workspace) -> frozenset[str]:
    """Return the keys of clips that withdrawn pairs had and that no pair of any pool has now."""
    withdrawn = {key for _, _, key in withdrawn_pairs(workspace) if key}
    return frozenset(withdrawn - live_clip_keys(workspace))


def remove_withdrawn(workspace: Workspace) -> Removed:
    """Delete inverted latents and videos that were made of withdrawn items only.

    An inverted latent is one's when its record names the clip of a withdrawn pair, or a pair that a takedown
    list names, and no pool has that clip now; a video when its record names such a clip as its neighbour.
    Nothing is read where nothing was withdrawn since the last time.
    """
    keys = withdrawn_clip_keys(workspace)
    listed = _listed(workspace)
    version = content_key("withdrawals", clips=sorted(keys), pairs=sorted(map(list, listed)))
    if not (keys or listed) or _done(workspace) == version:
        return Removed(keys)
    live = live_clip_keys(workspace)
    latents = [
        key
        for key, record in _records(workspace.store, INVERTED)
        if (clip := record.get("clip_key")) not in live
        and (clip in keys or (record.get("pool"), record.get("pair_id")) in listed)
    ]
    clips = keys | {workspace.store.record(INVERTED, key)["clip_key"] for key in latents}
    videos = [key for key, record in _records(workspace.store, VIDEO) if _neighbour(record) in clips]
    for kind, found in ((INVERTED, latents), (VIDEO, videos)):
        for key in found:
            workspace.store.delete(kind, key)
    with workspace.catalog.write() as connection:
        connection.execute(_DONE)
        connection.execute("delete from withdrawals_done")
        connection.execute("insert into withdrawals_done values (?)", [version])
    return Removed(frozenset(clips), len(latents), len(videos))


def _listed(workspace: Workspace) -> set[tuple[str, str]]:
    """Pool and id of all that takedown lists name, whether or not the pool ever had it."""
    settings = workspace.settings
    return {
        (name, one) for name, pool in settings.pools.items() for one in takedown_names(pool, settings.base)
    }


def _records(store: ArtifactStore, kind: str) -> list[tuple[str, dict[str, Any]]]:
    keys: Sequence[str] = store.keys(kind)
    found = []
    with track(f"records of {kind} items looked at", len(keys)) as advance:
        for key in keys:
            try:
                found.append((key, store.record(kind, key)))
            except UserError as problem:
                logger.warning("%s", problem)
            advance(1)
    return found


def _neighbour(record: dict[str, Any]) -> str | None:
    neighbour = record.get("neighbour")
    return neighbour.get("clip_key") if isinstance(neighbour, dict) else None


def _done(workspace: Workspace) -> str | None:
    rows = workspace.catalog.rows("select version from withdrawals_done")
    return rows[0][0] if rows else None
