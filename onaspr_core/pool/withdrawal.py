"""Withdrawn items: what a takedown list names, and the removal of what was made of nothing else.

The manifest leaves withdrawn items out by itself, so clips, captions and neighbours follow. What lies in the
artifact store under content keys is not asked for any more, but it is still there: this module deletes it.
What does not belong here: the bytes of clips in shards (`shards`).
"""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from onaspr_core.artifacts import ArtifactStore, content_key
from onaspr_core.compute import version_of
from onaspr_core.errors import UserError
from onaspr_core.folders import to_read
from onaspr_core.paths import resolve
from onaspr_core.pool.manifest_table import live_clip_keys, withdrawn_pairs
from onaspr_core.pool.settings import PoolSettings
from onaspr_core.progress import logger, track
from onaspr_core.stored_kinds import INVERTED_LATENT, NOISE_PREVIEW, VIDEO
from onaspr_core.workspace import Workspace

_MADE_OF_CLIPS = (INVERTED_LATENT, NOISE_PREVIEW, VIDEO)

SEARCHED = ("neighbours", "neighbour_searches")
"""Tables of what each prompt found, by experiment; `onaspr_core.retrieval.neighbours` writes them."""

_LOOKED_AT = "create table if not exists withdrawals_looked_at (state text)"


@dataclass(frozen=True)
class Removed:
    """How many items were deleted because they were made of withdrawn pairs only."""

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
        with to_read(path) as file:
            text = file.read().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as problem:
        raise UserError(f"{path}: the takedown list cannot be read: {problem}") from problem
    return sorted({line.strip() for line in text.splitlines()} - {""})


def pairs_named_by(rows: pa.Table, names: Sequence[str]) -> set[str]:
    """Return the ids of those of a pool's manifest rows that a takedown list names: by id, path or URL."""
    wanted, found = set(names), set()
    columns = (rows[name].to_pylist() for name in ("pair_id", "path", "extra"))
    for id_, path, extra in zip(*columns, strict=True):
        told = {id_, path}
        if "://" in extra:
            told |= {value for key, value in json.loads(extra).items() if key.lower().endswith("url")}
        if told & wanted:
            found.add(id_)
    return found


def withdrawn_clip_keys(workspace: Workspace) -> frozenset[str]:
    """Return the keys of clips that withdrawn pairs had and that no pair of any pool has now.

    A clip of a pair that left its pool before it was withdrawn is known by what was written beside it.
    """
    pairs = withdrawn_pairs(workspace)
    if not pairs:
        return frozenset()
    made = workspace.catalog.rows(
        "select key from clips where status = 'ready' "
        "and list_contains(?, json_extract_string(made_from, '$.pair'))",
        [[f"{pool}/{pair_id}" for pool, pair_id, _ in pairs]],
    )
    keys = {key for _, _, key in pairs if key} | {key for (key,) in made or ()}
    return frozenset(keys - live_clip_keys(workspace))


def remove_withdrawn(workspace: Workspace) -> Removed:
    """Delete inverted latents and videos that were made of withdrawn items only, and previews that show any.

    What prompts found among such clips is deleted too, of experiments and of rows of studies that no settings
    name any more as well.

    An inverted latent is one's when its record names the clip of a withdrawn pair, or the pair itself, and no
    pool has that clip now; a video when its record names such a clip among its neighbours. A preview of
    inverted noise is told by any such clip that it shows or counts. Records are read only where something was
    withdrawn, and something was withdrawn or made since the last time.
    """
    store = workspace.store
    pairs = {(pool, pair_id) for pool, pair_id, _ in withdrawn_pairs(workspace)}
    if not pairs or _looked_at(workspace) == _state(workspace, pairs):
        return Removed()
    keys, live = withdrawn_clip_keys(workspace), live_clip_keys(workspace)
    latents = {
        key: clip
        for key, record in _records(store, INVERTED_LATENT)
        if (clip := record.get("clip_key")) not in live
        and (clip in keys or (record.get("pool"), record.get("pair_id")) in pairs)
    }
    clips = keys.union(latents.values())
    videos = [key for key, record in _records(store, VIDEO) if not clips.isdisjoint(_neighbours(record))]
    previews = [
        key
        for key, record in _records(store, NOISE_PREVIEW)
        if not clips.isdisjoint(record.get("clip_keys", ()))
    ]
    for kind, found in zip(_MADE_OF_CLIPS, (latents, previews, videos), strict=True):
        for key in found:
            store.delete(kind, key)
    state = _state(workspace, pairs)
    searches = workspace.catalog.rows(
        "select distinct experiment, prompt_id from neighbours where list_contains(?, clip_key)",
        [sorted(filter(None, clips))],
    )
    with workspace.catalog.write() as connection:
        for table in SEARCHED if searches else ():
            connection.executemany(f"delete from {table} where experiment = ? and prompt_id = ?", searches)
        connection.execute(_LOOKED_AT)
        connection.execute("delete from withdrawals_looked_at")
        connection.execute("insert into withdrawals_looked_at values (?)", [state])
    return Removed(len(latents), len(videos))


def _state(workspace: Workspace, pairs: Collection[tuple[str, str]]) -> str:
    """What must be looked at: withdrawn pairs, clips in use, and all items that could be made of clips."""
    return content_key(
        "withdrawals",
        pairs=sorted(map(list, pairs)),
        clips=version_of(live_clip_keys(workspace)),
        items=[version_of(workspace.store.keys(kind)) for kind in _MADE_OF_CLIPS],
    )


def _looked_at(workspace: Workspace) -> str | None:
    rows = workspace.catalog.rows("select state from withdrawals_looked_at")
    return rows[0][0] if rows else None


def _records(store: ArtifactStore, kind: str) -> list[tuple[str, dict[str, Any]]]:
    def record(key: str) -> dict[str, Any] | None:
        try:
            return store.record(kind, key)
        except UserError as problem:
            logger.warning("%s", problem)
            return None

    keys: Sequence[str] = store.keys(kind)
    found = []
    with track(f"records of {kind} items looked at", len(keys)) as advance:
        for key, told in zip(keys, store.map(record, keys), strict=True):
            if told is not None:
                found.append((key, told))
            advance(1)
    return found


def _neighbours(record: dict[str, Any]) -> list[str]:
    """The clips whose noise a video was made from."""
    told = [record.get("neighbour"), *record.get("blended_with", ())]
    return [one["clip_key"] for one in told if isinstance(one, dict) and "clip_key" in one]
