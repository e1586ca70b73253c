"""Clips: what the pool's videos become, cut once per content and kept in shards.

A file that cannot be decoded is not tried again while its bytes and the clip settings stay the same. What
does not belong here: cutting (`cut`), the form of shards (`shards`), what the catalog remembers
(`clip_catalog`), and which videos there are (`manifest`).
"""

import hashlib
import io
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from onaspr_core.compute import Failure, Outcome, Preview, version_of
from onaspr_core.errors import PassingError, UserError
from onaspr_core.media.contact_sheet import contact_sheet
from onaspr_core.media.video import Frames, read_frames
from onaspr_core.pool.clip_catalog import (
    clip_places,
    clip_states,
    enter_clips,
    enter_suspects,
    forget_clip,
    known_places,
    lost_clips,
    no_clip,
)
from onaspr_core.pool.compaction import compact
from onaspr_core.pool.cut import CutClip, CutJob, cut_all
from onaspr_core.pool.manifest import Pair, clip_key, listed_pairs, unusable_share
from onaspr_core.pool.media import reading_order
from onaspr_core.pool.shards import Clip, DamagedClipError, Place, list_shards, read_clip_bytes, write_shard
from onaspr_core.pool.source_files import known_media
from onaspr_core.pool.withdrawal import remove_withdrawn, withdrawn_clip_keys
from onaspr_core.progress import track
from onaspr_core.settings import ClipSettings
from onaspr_core.workspace import Workspace

CLIPS_PER_FLUSH = 256
BYTES_PER_FLUSH = 64 * 2**20
SECONDS_PER_FLUSH = 10.0
JOBS_AT_ONCE = 64
"""How many clips a worker of a cluster cuts before it sends them home."""

CLIPS_SHOWN = 8
KINDS_SHOWN = 20


@dataclass(frozen=True)
class _Wanted:
    """A clip that some pool needs, with the first pair that needs it."""

    pair: Pair
    key: str
    settings: ClipSettings

    @property
    def name(self) -> str:
        return f"{self.pair.pool}/{self.pair.id}"


def make_clips(workspace: Workspace) -> Outcome:
    """Cut the clips that the pools need and that are missing; equal clips of several pools are cut once.

    Clips are stored within ten seconds of being finished, or little more, so a run that is killed loses
    little.
    Clips of withdrawn pairs are deleted, and so is what was inverted and generated from them.

    Args:
        workspace: Its manifest must have been materialized.

    Raises:
        UserError: when there is no manifest.
    """
    pairs = {name: listed_pairs(workspace, name) for name in workspace.settings.pools}
    wanted = _wanted(workspace, pairs)
    states = clip_states(workspace)
    missing = [one for key, one in wanted.items() if key not in states]
    lost = lost_clips(workspace)
    started = time.monotonic()
    passing: dict[str, str] = {}
    if missing:
        passing = _make(workspace, missing)
        states = clip_states(workspace)
    seconds = time.monotonic() - started if missing else 0.0
    compacted = compact(workspace, wanted, withdrawn_clip_keys(workspace))
    removed = remove_withdrawn(workspace)
    ready = {key for key in wanted if key in states and states[key].status == "ready"}
    made = sum(one.key in ready for one in missing)
    failures = tuple(
        Failure(one.name, states[key].reason)
        if key in states
        else Failure(one.name, passing.get(key, "its shard went away meanwhile"), passing=True)
        for key, one in wanted.items()
        if key not in ready
    )
    return Outcome(
        version=version_of([*ready, *(f"failed {failure.item}" for failure in failures)]),
        total=len(wanted),
        computed=made,
        reused=len(ready) - made,
        failures=failures,
        seconds=seconds,
        repaired=len(lost & {one.key for one in missing} & ready),
        facts={
            "failed_share_by_pool": {name: unusable_share(workspace, name) for name in pairs},
            "failures_by_reason": _by_kind(failure.reason for failure in failures),
            "shards": len(list_shards(workspace.shards_path)),
            "shards_deleted": compacted.shards_deleted,
            "clips_dropped": compacted.clips_dropped,
            "withdrawn_latents_deleted": removed.inverted_latents,
            "withdrawn_videos_deleted": removed.videos,
        },
        preview=_preview(workspace, [one for key, one in wanted.items() if key in ready][:CLIPS_SHOWN]),
    )


def clip_bytes(workspace: Workspace, key: str) -> bytes:
    """Return a clip's MP4.

    Raises:
        UserError: when there is no such clip, or its shard is gone.
    """
    return _bytes_at(workspace, clip_places(workspace, [key])[key])


def read_clip(workspace: Workspace, key: str) -> Frames:
    """Return a clip's frames, uint8 (F, H, W, 3).

    Raises:
        UserError: when there is no such clip, or its shard is gone.
    """
    return read_frames(io.BytesIO(clip_bytes(workspace, key)))


def read_clip_at(workspace: Workspace, key: str, place: Place | None) -> Frames:
    """Return the frames of a clip whose place has been looked up.

    Raises:
        UserError: when there is no such clip (a place of None), or its shard is gone.
        PassingError: on a worker, which looks up no other place, when it does not lie there whole.
    """
    if place is None:
        raise no_clip(key)
    return read_frames(io.BytesIO(_bytes_at(workspace, place)))


def read_clips(workspace: Workspace, clip_keys: Sequence[str]) -> Iterator[Frames]:
    """Yield the frames of clips in the order of their keys, with one look into the catalog for all.

    Raises:
        UserError: when one of the clips does not exist, or its shard is gone.
    """
    for found in readable_clips(workspace, clip_keys):
        if isinstance(found, UserError):
            raise found
        yield found


def readable_clips(workspace: Workspace, clip_keys: Sequence[str]) -> Iterator[Frames | UserError]:
    """Yield the frames of clips as `read_clips` does, and for one that cannot be read the error."""
    places = known_places(workspace, clip_keys)
    for key in clip_keys:
        try:
            if key not in places:
                raise no_clip(key)
            yield read_frames(io.BytesIO(_bytes_at(workspace, places[key])))
        except UserError as problem:
            yield problem


def _bytes_at(workspace: Workspace, place: Place) -> bytes:
    try:
        return read_clip_bytes(workspace.shards_path, place)
    except UserError as problem:
        if workspace.errands is not None:
            if isinstance(problem, DamagedClipError):
                workspace.errands.append((forget_clip, (place,)))
            raise PassingError(str(problem)) from problem
        # Another process may have compacted the shard since the place was looked up.
        now = clip_places(workspace, [place.key])[place.key]
        try:
            return read_clip_bytes(workspace.shards_path, now)
        except DamagedClipError:
            forget_clip(workspace, now)
            raise


def _wanted(workspace: Workspace, pairs: Mapping[str, Sequence[Pair]]) -> dict[str, _Wanted]:
    wanted: dict[str, _Wanted] = {}
    for name, own in pairs.items():
        for pair in own:
            if pair.clip_key:
                settings = workspace.settings.pools[name].clip
                wanted.setdefault(pair.clip_key, _Wanted(pair, pair.clip_key, settings))
    return wanted


def _make(workspace: Workspace, missing: Sequence[_Wanted]) -> dict[str, str]:
    """Cut and store; return the reasons that do not last, by key."""
    by_key = {one.key: one for one in missing}
    passing: dict[str, str] = {}
    pending: list[CutClip] = []
    flushed = time.monotonic()
    try:
        with track("pool clips", len(missing)) as advance:
            cut = partial(_cut, workspace, len(missing))
            for clip in workspace.engine.spread(cut, _jobs(workspace, missing), JOBS_AT_ONCE):
                if clip is not None:
                    pending.append(clip)
                    advance(1)
                    if clip.reason and not clip.lasting:
                        passing[clip.key] = clip.reason
                full = sum(len(one.mp4) for one in pending) >= BYTES_PER_FLUSH
                late = time.monotonic() - flushed > SECONDS_PER_FLUSH
                if pending and (full or late or len(pending) == CLIPS_PER_FLUSH):
                    _keep(workspace, by_key, pending)
                    pending, flushed = [], time.monotonic()
    finally:
        _keep(workspace, by_key, pending)
    return passing


def _cut(workspace: Workspace, most: int, jobs: Iterable[CutJob]) -> Iterator[CutClip | None]:
    """Cut clips on the processors that there are here."""
    return cut_all(jobs, min(workspace.processors, most))


def _jobs(workspace: Workspace, missing: Sequence[_Wanted]) -> Iterator[CutJob]:
    """The jobs, in an order that reads each file once."""
    known = known_media(workspace, [one.pair.source for one in missing])
    for one in sorted(missing, key=lambda one: reading_order(one.pair.source)):
        found = known.get((one.pair.source.path, one.pair.source.member))
        same = found is not None and clip_key(found.sha256, one.settings, one.pair.source) == one.key
        # Without a stamp the file is like none, and is not cut under a key that other bytes had.
        stamp = found.stamp if found is not None and same else ""
        how = one.settings.model_dump(include={"resolution", "frame_stride", "max_frames", "fps", "crf"})
        yield CutJob(one.key, one.pair.source, stamp, **how)


def _keep(workspace: Workspace, by_key: dict[str, _Wanted], finished: Sequence[CutClip]) -> None:
    """Write a shard of the finished clips, and only then their rows."""
    clips = []
    for one in finished:
        if one.mp4:
            wanted = by_key[one.key]
            record = {
                "source": str(wanted.pair.source),
                "pair": wanted.name,
                "frames": one.frames,
                "clip": wanted.settings.model_dump(),
                "sha256": hashlib.sha256(one.mp4).hexdigest(),
            }
            clips.append(Clip(one.key, one.mp4, wanted.pair.caption, record))
    places = write_shard(workspace.shards_path, clips) if clips else []
    if finished:
        enter_clips(workspace, places, {one.key: one.reason for one in finished if one.lasting})
        enter_suspects(workspace, {one.key: one.reason for one in finished if one.suspect})


def _by_kind(reasons: Iterable[str]) -> dict[str, int]:
    """Count reasons by what they say before the details, the most frequent first."""
    kinds = Counter(reason.partition(": ")[0] for reason in reasons).most_common()
    shown, others = kinds[:KINDS_SHOWN], kinds[KINDS_SHOWN:]
    return {**dict(shown), **({"other reasons": sum(count for _, count in others)} if others else {})}


def _preview(workspace: Workspace, shown: Sequence[_Wanted]) -> Preview | None:
    if not shown:
        return None
    frames = list(read_clips(workspace, [one.key for one in shown]))
    return Preview(png=contact_sheet(frames, [one.pair.caption for one in shown]))
