"""Rewrites as stored items: what one holds, and how one is found again by its key or by what it says.

What does not belong here: which rewrite a prompt has now, and how rewrites are made (`stage`).
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from onaspr_core.stored_kinds import REWRITE, UNANSWERED_REWRITE
from onaspr_core.workspace import Workspace


@dataclass(frozen=True)
class Attempt:
    """One raw answer of the model, cut at 2,000 characters, and why it was refused, if it was."""

    answer: str
    reason: str | None


@dataclass(frozen=True)
class Rewrite:
    """What a prompt became; `text` is the original where `fallback_reason` says why there is no other.

    `attempts` are all answers that were drawn, in order; the last one's reason is the fallback's. `key` is
    that of the stored item, empty before it is stored.
    """

    text: str
    original: str
    references: tuple[str, ...]
    fallback_reason: str | None
    attempts: tuple[Attempt, ...]
    model: str
    key: str = ""


def store_rewrite(
    workspace: Workspace, kind: str, key: str, rewrite: Rewrite, asked_with: Mapping[str, Any]
) -> None:
    """Store a rewrite with a record of what it was made from.

    Args:
        workspace: Where.
        kind: `REWRITE`, or `UNANSWERED_REWRITE` for an original that stands in.
        key: Its content key.
        rewrite: What the prompt became.
        asked_with: Settings of the language model and of the guard, JSON values.
    """
    value = asdict(rewrite)
    del value["key"]
    record = {
        "prompt": rewrite.original,
        "references": list(rewrite.references),
        "model": rewrite.model,
        "fallback_reason": rewrite.fallback_reason,
        "asked_with": asked_with,
    }
    workspace.store.write_json(kind, key, value, record)


def stored_rewrites(workspace: Workspace, key: str) -> Iterator[tuple[str, Rewrite]]:
    """Yield what is stored under a key, with its kind: the rewrite, then the original that stood in for it.

    Raises:
        UserError: when an item is damaged.
    """
    for kind in (REWRITE, UNANSWERED_REWRITE):
        if workspace.store.has(kind, key):
            yield kind, _read(workspace, kind, key)


def rewrites_that_say(
    workspace: Workspace, prompt: str, text: str, fallback_reason: str | None
) -> list[tuple[str, Rewrite]]:
    """Return all rewrites, with their kinds, of a prompt into a text, or that fell back for this reason.

    Reads the record of every rewrite there is: for items whose record names no key.

    Raises:
        UserError: when an item is damaged.
    """
    store = workspace.store
    alike = []
    for kind in (REWRITE, UNANSWERED_REWRITE):
        keys = store.keys(kind)
        for key, record in zip(keys, store.map(partial(store.record, kind), keys), strict=True):
            if (record["prompt"], record["fallback_reason"]) == (prompt, fallback_reason):
                alike.append((kind, key))
    found = [(kind, _read(workspace, kind, key)) for kind, key in alike]
    return [(kind, rewrite) for kind, rewrite in found if rewrite.text == text]


def _read(workspace: Workspace, kind: str, key: str) -> Rewrite:
    value = workspace.store.read_json(kind, key)
    attempts = tuple(Attempt(**attempt) for attempt in value.pop("attempts"))
    return Rewrite(**{**value, "references": tuple(value["references"]), "attempts": attempts, "key": key})
