"""Compaction of shards: many small ones become few, and clips that no pool needs go when that pays.

Clips of settings that were left are kept for a way back, as long as they take less room than what is needed.
A clip that was withdrawn goes at once. New shards are written and entered before old ones are deleted, so a
run that is killed loses nothing, and what it did not live to delete is deleted by the next. What does not
belong here: the form of shards (`shards`) and the tables (`clip_catalog`).
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from onaspr_core.errors import UserError
from onaspr_core.pool.clip_catalog import (
    ShardUse,
    clips_in,
    drop_clips,
    dropped_shards,
    forget_shards,
    move_clips,
    shard_uses,
)
from onaspr_core.pool.shards import Clip, delete_shard, list_shards, read_shard, write_shard
from onaspr_core.progress import logger, track
from onaspr_core.workspace import Workspace

SHARD_BYTES = 64 * 2**20
"""A shard is closed when it holds this much."""

SMALL_BYTES = 8 * 2**20
SMALL_SHARDS = 16
"""So many shards of less than `SMALL_BYTES` are merged."""

DEAD_BYTES = 256 * 2**20
DEAD_PER_LIVE = 1.0
"""Clips that no pool needs go when they take so many bytes, and so many times those of the others."""

DEAD_SHARE = 0.25
"""Shards of which less is dead are then left as they are."""


@dataclass(frozen=True)
class Compacted:
    """How many clips were dropped, and how many shards were deleted."""

    clips_dropped: int
    shards_deleted: int


def compact(workspace: Workspace, wanted: Collection[str], withdrawn: Collection[str] = ()) -> Compacted:
    """Rewrite and delete the shards for which that pays.

    Args:
        workspace: Its clips must have been entered.
        wanted: Keys of the clips that some pool needs.
        withdrawn: Keys of clips that must not be kept, whether or not it pays.
    """
    deleted = _delete_dropped(workspace)
    present = list_shards(workspace.shards_path)
    uses = [use for use in shard_uses(workspace, wanted, withdrawn) if use.name in present]
    sparse, small = _dead_share_pays(uses), _too_small(uses)
    chosen = sorted({use.name for use in [*sparse, *small]} | {use.name for use in uses if use.withdrawn})
    if not chosen:
        return Compacted(0, deleted)
    stored = clips_in(workspace, chosen)
    needed, banned = frozenset(wanted), frozenset(withdrawn)
    dropped = {key for key in stored if key not in needed and (sparse or key in banned)}
    _rewrite(workspace, {key: shard for key, shard in stored.items() if key not in dropped}, chosen)
    drop_clips(workspace, dropped, chosen)
    deleted += _delete_dropped(workspace)
    logger.info("compacted %d shards, dropped %d clips", len(chosen), len(dropped))
    return Compacted(len(dropped), deleted)


def _dead_share_pays(uses: Sequence[ShardUse]) -> list[ShardUse]:
    """The shards to rewrite for the clips in them that no pool needs; none while those take little room."""
    dead, live = sum(use.dead_bytes for use in uses), sum(use.live_bytes for use in uses)
    if dead < max(DEAD_BYTES, DEAD_PER_LIVE * live):
        return []
    return [use for use in uses if use.dead_bytes > DEAD_SHARE * (use.dead_bytes + use.live_bytes)]


def _too_small(uses: Sequence[ShardUse]) -> list[ShardUse]:
    small = [use for use in uses if use.live_bytes + use.dead_bytes < SMALL_BYTES]
    return small if len(small) >= SMALL_SHARDS else []


def _rewrite(workspace: Workspace, kept: Mapping[str, str], shards: Sequence[str]) -> None:
    """Copy the clips of `kept`, shard by key, into new shards; each is in use as soon as it is written."""
    pending: list[Clip] = []
    size = 0
    for clip in _kept_clips(workspace, kept, shards):
        pending.append(clip)
        size += len(clip.mp4)
        if size >= SHARD_BYTES:
            move_clips(workspace, write_shard(workspace.shards_path, pending), shards)
            pending, size = [], 0
    if pending:
        move_clips(workspace, write_shard(workspace.shards_path, pending), shards)


def _kept_clips(workspace: Workspace, kept: Mapping[str, str], shards: Sequence[str]) -> Iterator[Clip]:
    """The clips of `kept` from their shards; what cannot be read stays where it is."""
    used = set(kept.values())
    with track("compacted shards", len(shards)) as advance:
        for shard in shards:
            if shard in used:
                try:
                    found = read_shard(workspace.shards_path, shard)
                    yield from (clip for clip in found if kept.get(clip.key) == shard)
                except UserError as problem:
                    logger.warning("%s; it is left alone", problem)
            advance(1)


def _delete_dropped(workspace: Workspace) -> int:
    """Delete the files of shards that nothing points at."""
    shards = dropped_shards(workspace)
    for shard in shards:
        delete_shard(workspace.shards_path, shard)
    if shards:
        forget_shards(workspace, shards)
    return len(shards)
