"""Clips: what the pool's videos become, cut once per content and kept in shards.

The catalog knows for every clip key whether it is ready and where it lies, or why its file cannot be read.
Such a file is not tried again while its bytes and the clip settings stay the same, unless asked for. What
does not belong here: cutting (`cut`), the form of shards (`shards`), which videos there are (`manifest`).
"""

import io
import json
import os
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa

from onaspr_core.compute import Failure, Outcome, Preview, version_of
from onaspr_core.errors import UserError
from onaspr_core.pool.cut import CutClip, CutJob, cut_all
from onaspr_core.pool.manifest import Pair, listed_pairs
from onaspr_core.pool.shards import (
    Clip,
    Place,
    index_shard,
    list_shards,
    read_clip_bytes,
    sweep_partials,
    write_shard,
)
from onaspr_core.pool.video import Frames, read_frames
from onaspr_core.progress import logger, track
from onaspr_core.reports.contact_sheet import contact_sheet
from onaspr_core.settings import ClipSettings
from onaspr_core.workspace import Workspace

CLIPS_PER_FLUSH = 256
BYTES_PER_FLUSH = 64 * 2**20
SECONDS_PER_FLUSH = 10.0
CLIPS_SHOWN = 8

_SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("key", "status", "reason", "shard")]
    + [("start", pa.int64()), ("length", pa.int64()), ("made_from", pa.string())]
)
_TABLE = """create table if not exists clips (
    key text primary key, status text, reason text, shard text,
    start bigint, length bigint, made_from text)"""


@dataclass(frozen=True)
class _Wanted:
    """A clip that some pool needs, with the first pair that needs it."""

    pair: Pair
    key: str
    settings: ClipSettings

    @property
    def name(self) -> str:
        return f"{self.pair.pool}/{self.pair.id}"


def make_clips(workspace: Workspace, *, retry_failed: bool = False) -> Outcome:
    """Cut the clips that the pools need and that are missing; equal clips of several pools are cut once.

    Clips are stored as they are finished, at most ten seconds apart, so a run that is killed loses little.

    Args:
        workspace: Its manifest must have been materialized.
        retry_failed: Try files again that could not be read before.

    Raises:
        UserError: when there is no manifest.
    """
    wanted = _wanted(workspace)
    _adopt_shards(workspace)
    states = _states(workspace)
    keep = {"ready"} if retry_failed else {"ready", "failed"}
    missing = [one for one in wanted.values() if states.get(one.key, ("missing", ""))[0] not in keep]
    started = time.monotonic()
    passing = _make(workspace, missing) if missing else {}
    seconds = time.monotonic() - started if missing else 0.0
    states = _states(workspace)
    ready = [key for key in wanted if states.get(key, ("missing", ""))[0] == "ready"]
    usable = set(ready)
    made = sum(one.key in usable for one in missing)
    failures = tuple(
        Failure(one.name, passing.get(one.key) or states[one.key][1])
        for one in wanted.values()
        if one.key not in usable
    )
    return Outcome(
        version=version_of([*ready, *(f"failed {failure.item}" for failure in failures)]),
        total=len(wanted),
        computed=made,
        reused=len(ready) - made,
        failures=failures,
        seconds=seconds,
        facts={
            "failed_share_by_pool": _failed_shares(workspace, usable),
            "failures_by_reason": dict(Counter(failure.reason for failure in failures)),
            "shards": len(list_shards(workspace.shards_path)),
        },
        preview=_preview(workspace, [wanted[key] for key in ready[:CLIPS_SHOWN]]),
    )


def clip_bytes(workspace: Workspace, clip_key: str) -> bytes:
    """Return a clip's MP4.

    Raises:
        UserError: when there is no such clip, or its shard is gone.
    """
    return read_clip_bytes(workspace.shards_path, _place(workspace, clip_key))


def read_clip(workspace: Workspace, clip_key: str) -> Frames:
    """Return a clip's frames, uint8 (F, H, W, 3).

    Raises:
        UserError: when there is no such clip, or its shard is gone.
    """
    return read_frames(io.BytesIO(clip_bytes(workspace, clip_key)))


def _wanted(workspace: Workspace) -> dict[str, _Wanted]:
    wanted: dict[str, _Wanted] = {}
    for name, settings in workspace.settings.pools.items():
        for pair in listed_pairs(workspace, name):
            if pair.clip_key:
                wanted.setdefault(pair.clip_key, _Wanted(pair, pair.clip_key, settings.clip))
    return wanted


def _states(workspace: Workspace) -> dict[str, tuple[str, str]]:
    """Status and reason by clip key; a clip whose shard was deleted is missing."""
    present = list_shards(workspace.shards_path)
    with workspace.catalog.read() as connection:
        try:
            rows = connection.execute("select key, status, reason, shard from clips").fetchall()
        except duckdb.CatalogException:
            return {}
    return {key: (status, reason) for key, status, reason, shard in rows if not shard or shard in present}


def _adopt_shards(workspace: Workspace) -> None:
    """Enter shards that a killed run finished but did not live to write into the catalog."""
    sweep_partials(workspace.shards_path)
    with workspace.catalog.write() as connection:
        connection.execute(_TABLE)
        known = {shard for (shard,) in connection.execute("select distinct shard from clips").fetchall()}
    for shard in sorted(list_shards(workspace.shards_path) - known):
        try:
            places = index_shard(workspace.shards_path, shard)
        except UserError as problem:
            logger.warning("%s; it is left alone", problem)
            continue
        logger.info("found %d finished clips in %s", len(places), shard)
        _enter(workspace, places, [])


def _make(workspace: Workspace, missing: Sequence[_Wanted]) -> dict[str, str]:
    """Cut and store; return the reasons that do not last, by key."""
    by_key = {one.key: one for one in missing}
    jobs = _jobs(workspace, missing)
    passing: dict[str, str] = {}
    pending: list[CutClip] = []
    flushed = time.monotonic()
    try:
        with track("pool clips", len(jobs)) as advance:
            for clip in cut_all(jobs, os.cpu_count() or 1):
                pending.append(clip)
                advance(1)
                if clip.reason and not clip.lasting:
                    passing[clip.key] = clip.reason
                full = sum(len(one.mp4) for one in pending) >= BYTES_PER_FLUSH
                late = time.monotonic() - flushed > SECONDS_PER_FLUSH
                if full or late or len(pending) == CLIPS_PER_FLUSH:
                    _keep(workspace, by_key, pending)
                    pending, flushed = [], time.monotonic()
    finally:
        _keep(workspace, by_key, pending)
    return passing


def _jobs(workspace: Workspace, missing: Sequence[_Wanted]) -> list[CutJob]:
    with workspace.catalog.read() as connection:
        rows = connection.execute("select path, bytes, mtime_ns from source_files").fetchall()
    stats = {path: (size, mtime) for path, size, mtime in rows}
    return [
        CutJob(
            one.key,
            one.pair.source,
            *stats[one.pair.source],
            **one.settings.model_dump(include={"resolution", "frame_stride", "max_frames", "fps", "crf"}),
        )
        for one in missing
    ]


def _keep(workspace: Workspace, by_key: dict[str, _Wanted], finished: Sequence[CutClip]) -> None:
    """Write a shard of the finished clips, and only then their rows."""
    clips = []
    for one in finished:
        if one.mp4:
            wanted = by_key[one.key]
            record = {
                "source": wanted.pair.source,
                "pair": wanted.name,
                "frames": one.frames,
                "clip": wanted.settings.model_dump(),
            }
            clips.append(Clip(one.key, one.mp4, wanted.pair.caption, record))
    places = write_shard(workspace.shards_path, clips) if clips else []
    _enter(workspace, places, [one for one in finished if one.lasting])


def _enter(workspace: Workspace, places: Iterable[Place], failed: Iterable[CutClip]) -> None:
    rows: list[dict[str, Any]] = [
        {
            "key": place.key,
            "status": "ready",
            "reason": "",
            "shard": place.shard,
            "start": place.offset,
            "length": place.length,
            "made_from": json.dumps(place.record, ensure_ascii=False),
        }
        for place in places
    ]
    rows += [{"key": clip.key, "status": "failed", "reason": clip.reason} for clip in failed]
    if rows:
        with workspace.catalog.write() as connection:
            connection.register("fresh", pa.Table.from_pylist(rows, _SCHEMA))
            connection.execute("insert or replace into clips select * from fresh")


def _place(workspace: Workspace, clip_key: str) -> Place:
    with workspace.catalog.read() as connection:
        try:
            row = connection.execute(
                "select key, shard, start, length, made_from from clips where key = ? and status = 'ready'",
                [clip_key],
            ).fetchone()
        except duckdb.CatalogException:
            row = None
    if row is None:
        raise UserError(f"there is no clip {clip_key}; materialize pool_clips")
    return Place(row[0], row[1], row[2], row[3], json.loads(row[4]))


def _failed_shares(workspace: Workspace, ready: set[str]) -> dict[str, float]:
    """Share of each pool's pairs, 0 … 1, that cannot be used: refused, missing, or unreadable."""
    shares = {}
    for name in workspace.settings.pools:
        pairs = listed_pairs(workspace, name)
        shares[name] = sum(pair.clip_key not in ready for pair in pairs) / max(len(pairs), 1)
    return shares


def _preview(workspace: Workspace, shown: Sequence[_Wanted]) -> Preview | None:
    if not shown:
        return None
    frames = [read_clip(workspace, one.key) for one in shown]
    return Preview(png=contact_sheet(frames, [one.pair.caption for one in shown]))
