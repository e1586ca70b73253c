"""Good items beside bad ones, and what must hold of a pool of both."""

from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from onaspr_core.errors import UserError
from onaspr_core.media.video import encode_mp4
from onaspr_core.pool.clips import make_clips
from onaspr_core.pool.manifest import build_manifest, listed_pairs, pool_pairs, unusable_pairs
from onaspr_core.pool.settings import ClipSettings, PoolSettings
from onaspr_core.settings import Settings
from onaspr_core.workspace import Workspace
from tests.faults.fuzz.sandbox import STORE, taking_in

CLIP = ClipSettings(resolution=16, frame_stride=2, max_frames=3)


@cache
def good_video(seed: int = 0) -> bytes:
    """A video of five frames of 32 × 24."""
    small = np.random.default_rng(seed).integers(0, 256, (5, 3, 4, 3), np.uint8)
    return encode_mp4(small.repeat(8, 1).repeat(8, 2), 8.0)


def workspace_of(folder: Path, **told: Any) -> Workspace:
    """A workspace with one pool, `p`, in a folder."""
    pool = PoolSettings.model_validate({"size": None, "clip": CLIP, **told})
    settings = Settings(base=folder, pools={"p": pool}, backbones={}, experiments={})
    return Workspace(settings.model_copy(update={"store": settings.store.model_copy(update={"root": STORE})}))


def assert_taken_in(
    folder: Path, good: Iterable[str], *, cut: bool = False, refusable: bool = False, **told: Any
) -> Mapping[str, str]:
    """Take a pool in: good ids are usable, and every other row has a reason. Return the reasons by id.

    `cut` says that clips are made; `refusable` that the source may be refused as a whole, by a `UserError`.
    """
    workspace = workspace_of(folder, **told)
    with taking_in(folder):
        try:
            outcome = build_manifest(workspace)
        except UserError as problem:
            assert refusable, f"the whole source was refused: {problem}"
            assert_told(str(problem))
            return {}
        reasons = {one.item.removeprefix("p/"): one.reason for one in outcome.failures}
        listed = {pair.id: pair.clip_key for pair in listed_pairs(workspace, "p")}
        usable = {id_ for id_, key in listed.items() if key}
        if cut:
            told_of = {one.item.removeprefix("p/"): one.reason for one in make_clips(workspace).failures}
            usable = {pair.id for pair in pool_pairs(workspace, "p")}
            # Pairs with one clip share its reason.
            by_key = {listed[id_]: reason for id_, reason in told_of.items()}
            reasons |= {id_: by_key[key] for id_, key in listed.items() if key in by_key}
            assert {id_ for id_, _ in unusable_pairs(workspace, "p")} == listed.keys() - usable
    assert set(good) <= usable, {id_: reasons.get(id_, "gone") for id_ in set(good) - usable}
    assert reasons.keys() == listed.keys() - usable
    for reason in reasons.values():
        assert_told(reason)
    return reasons


def assert_told(reason: str) -> None:
    """A reason can be shown: it is there, and not the input itself."""
    assert reason.strip()
    assert len(reason) < 20_000, f"a reason of {len(reason)} characters: {reason[:200]}"
