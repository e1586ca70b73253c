"""What a video was made from, gathered from each place that knows a part of it.

The video's own record is of the time it was made. Inverted noise, rewrite and clip are items with records of
their own, under keys that it names. The manifest tells of today: it adds where a clip came from, and what has
changed since. A part that can no longer be found is None, and a note says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from onaspr_core.artifacts import ADDED
from onaspr_core.errors import UserError
from onaspr_core.pool.clip_catalog import clip_places
from onaspr_core.pool.manifest import pairs_named
from onaspr_core.provenance.naming import Found, find_video, names_of, noun_in
from onaspr_core.rewriting.stored import Rewrite, rewrites_that_say, stored_rewrites
from onaspr_core.stored_kinds import INVERTED_LATENT, VIDEO
from onaspr_core.variants import VARIANTS
from onaspr_core.workspace import Workspace

Facts = Mapping[str, Any]
"""JSON values by name; what is not known is None."""

_OF_THE_CLIP = ("clip_key", "pair_id", "caption", "pool")
_GATE = ("eta_before_gate", "similarity_gate")
_SAMPLING = ("steps", "guidance_scale", "frames", "height", "width", "fps")
_BACKBONE = ("model", "family", "dtype", "fingerprint")


@dataclass(frozen=True)
class Provenance:
    """What a video was made from.

    `video` has its key and file (a PNG where it is an image), the variant that it amounts to, the name it was
    first `made_as`, and all names that it `serves` now. Equal videos are one item: what the key leaves out
    (gamma within a step, the neighbour's caption, the device) is that of the first. `noise` has the neighbour
    and the inverted noise, both None where eta is 0; those that were blended with them as `neighbour_2` and
    so on; and the similarity gate where there was one. `rewriting` is None where no rewrite was asked for.
    `notes` are sentences: what is different now, and what could not be found.
    """

    video: Facts
    prompt: Facts
    noise: Facts
    rewriting: Facts | None
    sampling: Facts
    software: Facts
    notes: tuple[str, ...]

    @property
    def noun(self) -> str:
        """What people call it: "image" or "video"."""
        return noun_in(self.video["file"])


def provenance_of(workspace: Workspace, what: str) -> Provenance:
    """Return what a video was made from. Loads no model and writes nothing.

    Args:
        workspace: Where it was made; its settings may have changed since.
        what: A key, a file or a name, as `naming.find_video` takes it.

    Raises:
        UserError: when there is no such video, or several, or its record is damaged.
    """
    found = find_video(workspace, what)
    record = workspace.store.record(VIDEO, found.key)
    notes = [found.note] if found.note else []
    video = _video(workspace, what, found, record, notes)
    pool = record.get("pool")
    borrowed: dict[str, Any] = {"neighbour": None, "inverted": None}
    for place, (told, inverted_key) in enumerate(_lenders(record), 1):
        # Records from before they named the pool: the first that had the clip inverted is the best known.
        inverted, of_the_noise = _inverted(workspace, inverted_key, notes)
        pool = pool or of_the_noise
        which = f"_{place}" if place > 1 else ""
        borrowed[f"neighbour{which}"] = _neighbour(workspace, record, told, pool, notes)
        borrowed[f"inverted{which}"] = inverted
    return Provenance(
        video=video,
        prompt={"id": record["prompt_id"], "text": record["prompt"]},
        noise={
            "eta": record["eta"],
            "random": None if record["eta"] == "inf" else {k: record[k] for k in ("seed", "sample_index")},
            **borrowed,
            **{name: record[name] for name in _GATE if name in record},
        },
        rewriting=_rewriting(workspace, found, record, notes),
        sampling={name: record[name] for name in _SAMPLING if name in record},
        software={
            "backbone": record["backbone"],
            **{name: record.get(f"backbone_{name}") for name in _BACKBONE},
            "device": record["device"],
            "libraries": record["libraries"],
        },
        notes=tuple(notes),
    )


def _video(workspace: Workspace, what: str, found: Found, record: Facts, notes: list[str]) -> Facts:
    key = found.key
    try:
        workspace.store.read(VIDEO, key)
    except UserError as problem:
        notes.append(f"Its {record['suffix'][1:].upper()} cannot be read: {problem}.")
    names, untold = names_of(workspace, key, record)
    notes += untold
    notes += [
        f"{name} uses it because its rewrite fell back ({name.fallback_reason})."
        for name in names
        if name.fallback_reason
    ]
    notes += [
        f"{name} uses it because the gate shuts at its neighbour's similarity of {name.shut:.3f}."
        for name in names
        if name.shut is not None
    ]
    used = (record["inverted_key"] is not None, record["rewritten_steps"] > 0)
    first = [record.get(part) for part in ("experiment", "variant", "prompt_id")]
    made_as = "/".join(map(str, first)) if None not in first else None
    if made_as and record.get("trial"):
        made_as += f", a trial with {record['trial']}"
    if found.item is not None and made_as not in (None, what):
        notes.append(f"It was first made as {made_as}, and its record is of that.")
    return {
        "key": key,
        "file": workspace.store.url(VIDEO, key),
        "variant": next(
            name for name, one in VARIANTS.items() if (one.inverted_noise, one.rewritten_prompt) == used
        ),
        "made_as": made_as,
        "serves": [str(name) for name in names],
    }


def _lenders(record: Facts) -> list[tuple[Facts, str]]:
    """The references whose noise was mixed in, best first, each with the key of its noise."""
    if record["inverted_key"] is None:
        return []
    others = [(told, told["inverted_key"]) for told in record.get("blended_with", ())]
    return [(record["neighbour"], record["inverted_key"]), *others]


def _inverted(workspace: Workspace, key: str, notes: list[str]) -> tuple[Facts, str | None]:
    """What is told of inverted noise, and the pool that its clip was first inverted for."""
    try:
        told = workspace.store.record(INVERTED_LATENT, key)
    except UserError as problem:
        notes.append(f"Of its inverted noise nothing but the key is known: {problem}.")
        return {"key": key}, None
    left_out = {*_OF_THE_CLIP, *ADDED, "backbone", "backbone_fingerprint"}
    noise = {"key": key, **{name: value for name, value in told.items() if name not in left_out}}
    return noise, told.get("pool")


def _neighbour(workspace: Workspace, record: Facts, told: Facts, pool: str | None, notes: list[str]) -> Facts:
    """The clip as it was found, where it came from, and notes on what its pool says otherwise now."""
    pair_id, key = told["pair_id"], told["clip_key"]
    listed = [(pair, row) for pair, row in pairs_named(workspace, pair_id) if pool in (pair.pool, None)]
    if not listed:
        notes.append(f"{f'Pool {pool} does not list' if pool else 'No pool lists'} pair {pair_id} now.")
    for pair, _ in listed:
        if pair.caption != told["caption"]:
            notes.append(f"The caption of pair {pair_id} in pool {pair.pool} is now: {pair.caption}")
        if pair.clip_key != key:
            now = pair.clip_key or "none"
            notes.append(f"Pair {pair_id} of pool {pair.pool} has another clip now: {now}.")
    source, row = next(((pair.source, row) for pair, row in listed if pair.clip_key == key), (None, None))
    cut: Facts = {}
    try:
        cut = clip_places(workspace, [key])[key].record
    except UserError as problem:
        notes.append(f"How its neighbour's clip was cut is not known: {problem}.")
    return {
        "caption": told["caption"],
        "similarity": told["similarity"],
        "embedding_model": record.get("embedding_model"),
        "pool": pool,
        "pair_id": pair_id,
        "source": str(source) if source else cut.get("source"),
        "source_row": row,
        "clip_key": key,
        "clip_frames": cut.get("frames"),
        "cut": cut.get("clip"),
    }


def _rewriting(workspace: Workspace, found: Found, record: Facts, notes: list[str]) -> Facts | None:
    """The rewrite that was used, or that fell back; a name may know of one where the record is another's."""
    reason, key = record["fallback_reason"], record.get("rewrite_key")
    if key is None and found.item is not None:
        reason, key = found.item.fallback_reason, found.item.rewrite_key
    if record["rewritten_prompt"] is None and reason is None and key is None:
        return None
    told: dict[str, Any] = {
        "text": record["rewritten_prompt"],
        "steps": record["rewritten_steps"],
        "gamma": record["gamma"],
        "fallback_reason": reason,
        "key": key,
        **dict.fromkeys(("references", "model", "answers", "refused", "asked_with")),
    }
    try:
        kind, rewrite, as_used = _rewrite(workspace, record, key, reason, notes)
        asked_with = workspace.store.record(kind, rewrite.key).get("asked_with")
    except UserError as problem:
        notes.append(f"Of its rewrite nothing but the text is known: {problem}.")
        return told
    refused = Counter(attempt.reason for attempt in rewrite.attempts if attempt.reason)
    return {
        **told,
        "key": rewrite.key,
        "references": list(rewrite.references),
        "model": rewrite.model,
        "answers": len(rewrite.attempts) if as_used else None,
        "refused": dict(sorted(refused.items())) if as_used else None,
        "asked_with": asked_with,
    }


def _rewrite(
    workspace: Workspace, record: Facts, key: str | None, reason: str | None, notes: list[str]
) -> tuple[str, Rewrite, bool]:
    """Return a stored rewrite with its kind, and whether it says what the video used."""
    text = record["rewritten_prompt"] or record["prompt"]
    if key is not None:
        stored = list(stored_rewrites(workspace, key))
        for kind, rewrite in stored:
            if (rewrite.text, rewrite.fallback_reason) == (text, reason):
                return kind, rewrite, True
        if not stored:
            raise UserError(f"rewrite {key} is not in the store any more")
        notes.append(f"Rewrite {key} was made again since: its answers are not those that were used.")
        return *stored[0], False
    alike = rewrites_that_say(workspace, record["prompt"], text, reason)
    if len(alike) != 1:
        known = ", ".join(rewrite.key for _, rewrite in alike) or "none"
        raise UserError(f"its record names no rewrite, and those that say the same are: {known}")
    notes.append("Its record names no rewrite; the one shown is the only one that says the same.")
    return *alike[0], True
