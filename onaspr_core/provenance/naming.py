"""Which video is meant, by key, file or name; and which names a video has under the present settings.

A video of a single frame is an image here: a PNG, and called so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from onaspr_core.diffusion.semantics import rewritten_step_count
from onaspr_core.errors import UserError
from onaspr_core.generation import VideoItem, video_items
from onaspr_core.paths import file_sha256
from onaspr_core.pool.clip_catalog import clip_places
from onaspr_core.prompts import load_prompts
from onaspr_core.settings import Experiment
from onaspr_core.stored_kinds import VIDEO
from onaspr_core.variants import VARIANTS
from onaspr_core.video_names import key_in_name
from onaspr_core.workspace import Workspace

CANDIDATES_SHOWN = 8

_PREFIX = re.compile(r"[0-9a-f]{1,40}")


@dataclass(frozen=True)
class Found:
    """A video that exists: its key, its item where it was asked for by name, and what to say of the match."""

    key: str
    item: VideoItem | None = None
    note: str = ""


@dataclass(frozen=True)
class VideoName:
    """A use of a video.

    `fallback_reason` says why a variant with rewriting uses one without; `shut` is the similarity at which
    the gate of a variant with inverted noise made it use one without.
    """

    experiment: str
    variant: str
    prompt_id: str
    fallback_reason: str | None = None
    shut: float | None = None

    def __str__(self) -> str:
        """The name that the video can be asked for by."""
        return f"{self.experiment}/{self.variant}/{self.prompt_id}"


def find_video(workspace: Workspace, what: str) -> Found:
    """Find the video that a person means.

    Args:
        workspace: Where to look.
        what: A content key or its first digits; an MP4 or a PNG, which is known by its bytes whatever it is
            called; the name of one in the store or a report; or EXPERIMENT/VARIANT/PROMPT, as the settings
            are now.

    Raises:
        UserError: when there is no such video, or several.
    """
    if Path(what).is_file():
        return _by_file(workspace, Path(what))
    prefix = key_in_name(what) or what.lower()
    if _PREFIX.fullmatch(prefix):
        return _by_prefix(workspace, prefix)
    experiment, _, rest = what.partition("/")
    if experiment in workspace.settings.experiments:
        return _by_name(workspace, workspace.settings.experiments[experiment], rest)
    known = ", ".join(workspace.settings.experiments) or "none"
    raise UserError(
        f"{what!r} is no file, no key of a video or image and no EXPERIMENT/VARIANT/PROMPT of the settings, "
        f"whose experiments are: {known}"
    )


def noun_in(file: str) -> str:
    """Return what people call what lies in a file, by its suffix: "image" or "video"."""
    return "image" if file.endswith(".png") else "video"


def names_of(workspace: Workspace, key: str, record: Mapping[str, Any]) -> tuple[list[VideoName], list[str]]:
    """Return where the present settings use a video, and sentences on where that cannot be told.

    Args:
        workspace: Where to look.
        key: The video's content key.
        record: Its record; experiments whose sampling differs from it are passed over.
    """
    names: list[VideoName] = []
    untold: dict[str, list[VideoName]] = {}
    rows = workspace.catalog.rows("select experiment, id from prompts where text = ?", [record["prompt"]])
    for experiment, prompt_id in rows or ():
        e = workspace.settings.experiments.get(experiment)
        for variant in VARIANTS if e else ():
            if e is None or not _may_use(e, variant, record):
                continue
            name = VideoName(experiment, variant, prompt_id)
            try:
                [item] = video_items(workspace, e, variant, {prompt_id})
            except UserError as problem:
                untold.setdefault(str(problem), []).append(name)
                continue
            if item.key == key:
                names.append(replace(name, fallback_reason=item.fallback_reason, shut=item.shut))
    notes = [
        f"Whether it is {' or '.join(map(str, alike))} now cannot be told: {problem}."
        for problem, alike in untold.items()
    ]
    return names, notes


def _may_use(e: Experiment, variant: str, record: Mapping[str, Any]) -> bool:
    """Say whether a variant could come to this video, so that no model is hashed for one that could not."""
    eta = e.eta if VARIANTS[variant].inverted_noise else 0.0
    m = rewritten_step_count(e.sampling.steps, e.gamma) if VARIANTS[variant].rewritten_prompt else 0
    made_with = float(record["eta"])
    same = (e.sampling.steps, e.sampling.guidance_scale) == (record["steps"], record["guidance_scale"])
    could = made_with <= eta if e.inversion.similarity_gate else made_with == eta
    return same and could and record["rewritten_steps"] in (0, m)


def _by_file(workspace: Workspace, path: Path) -> Found:
    try:
        sha256 = file_sha256(path)
    except OSError as problem:
        raise UserError(f"{path} cannot be read: {problem.strerror or problem}") from problem
    key = key_in_name(path.as_posix()) or ""
    if (
        key
        and workspace.store.is_known(VIDEO, key)
        and workspace.store.record(VIDEO, key)["sha256"] == sha256
    ):
        return Found(key)
    keys = workspace.store.keys_of_content(VIDEO, sha256)
    if not keys:
        raise UserError(f"{path} is no video or image of this store: {_why_unknown(workspace, key)}")
    if key not in keys and len(keys) > 1:
        raise _several(workspace, f"{path} has the bytes of {len(keys)} items", keys)
    found = key if key in keys else keys[0]
    record = workspace.store.record(VIDEO, found)
    if record["sha256"] == sha256:
        return Found(found)
    noun = noun_in(record["suffix"])
    return Found(found, note=f"{path} is an earlier copy: the {noun} was made again since, with other bytes.")


def _why_unknown(workspace: Workspace, key: str) -> str:
    if key and workspace.store.is_known(VIDEO, key):
        noun = noun_in(workspace.store.url(VIDEO, key))
        return f"its name is that of {noun} {key}, its bytes are not; ask for {key}"
    try:
        clip = clip_places(workspace, [key])[key]
    except UserError:
        return "nothing that was made here has its bytes; files that were encoded again are not recognised"
    return f"it is a clip of the pool, cut from {clip.record['source']}"


def _by_prefix(workspace: Workspace, prefix: str) -> Found:
    keys = workspace.store.keys(VIDEO, prefix)
    if not keys:
        raise UserError(f"no video or image in the store has a key that begins with {prefix}")
    if len(keys) > 1:
        raise _several(workspace, f"{len(keys)} keys begin with {prefix}", keys)
    return Found(keys[0])


def _by_name(workspace: Workspace, e: Experiment, rest: str) -> Found:
    variant, _, prompt_id = rest.partition("/")
    if variant not in VARIANTS:
        variant, prompt_id = "", rest
    if prompt_id not in {prompt.id for prompt in load_prompts(workspace, e)}:
        raise UserError(
            f"experiment {e.name} has no prompt {prompt_id!r}; ask for EXPERIMENT/VARIANT/PROMPT, where the "
            f"variant is one of {', '.join(VARIANTS)}"
        )
    if not variant:
        lines = [f"  {e.name}/{name}/{prompt_id}" for name in VARIANTS]
        noun = workspace.settings.backbones[e.backbone].noun
        raise UserError("\n".join([f"prompt {prompt_id} has several {noun}s; say which:", *lines]))
    [item] = video_items(workspace, e, variant, {prompt_id})
    if not workspace.store.is_known(VIDEO, item.key):
        raise UserError(
            f"{e.name}/{variant}/{prompt_id} has not been made with the settings as they are now; "
            f"materialize {variant}_videos, or ask for an earlier one by its file or key"
        )
    return Found(item.key, item)


def _several(workspace: Workspace, found: str, keys: Iterable[str]) -> UserError:
    listed = list(keys)
    lines = [f"  {_described(workspace, key)}" for key in listed[:CANDIDATES_SHOWN]]
    if len(listed) > CANDIDATES_SHOWN:
        lines.append(f"  and {len(listed) - CANDIDATES_SHOWN} more")
    return UserError("\n".join([f"{found}; say which:", *lines]))


def _described(workspace: Workspace, key: str) -> str:
    try:
        record = workspace.store.record(VIDEO, key)
    except UserError:
        return f"{key}  (its record is damaged)"
    eta, m, prompt = record.get("eta"), record.get("rewritten_steps"), record.get("prompt")
    return f"{key}  eta {eta}, {m} rewritten steps, {record.get('prompt_id')}: {prompt}"
