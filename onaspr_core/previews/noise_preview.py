"""The preview of inverted noise, drawn once for what it shows and kept in the artifact store.

What does not belong here: drawing it (`noise_figure`, imported when there is something to draw).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from onaspr_core import code_versions
from onaspr_core.artifacts import ArtifactStore, content_key
from onaspr_core.compute import Preview
from onaspr_core.errors import UserError
from onaspr_core.stored_kinds import NOISE_PREVIEW
from onaspr_core.versions import library_versions

if TYPE_CHECKING:
    from torch import Tensor

    from onaspr_core.inversion import ClipItem
    from onaspr_core.media.video import Frames

Read = TypeVar("Read")

SHOWN = 8


def kept_preview(
    store: ArtifactStore,
    items: Sequence[ClipItem],
    records: Mapping[str, Mapping[str, Any]],
    *,
    read_clip: Callable[[str], Frames],
    read_noise: Callable[[str], Tensor],
) -> Preview | None:
    """Show the first clips, and what all noise is like; None where there is no noise.

    What cannot be read is left out. Such a preview is not kept, as what is missing may be there again under
    the same keys.

    Args:
        store: Where it is kept: the picture, and the table in its record.
        items: All that have a record.
        records: By the items' keys.
        read_clip: A clip's frames by its key.
        read_noise: Inverted noise (C, T, h, w) by its key.
    """
    labels = [_label(item, records[item.key]["round_trip_error"]) for item in items[:SHOWN]]
    key = content_key(
        NOISE_PREVIEW,
        version=code_versions.NOISE_PREVIEW,
        libraries=library_versions("matplotlib", "pillow"),
        labels=labels,
        latents=[
            [item.key, item.pair_id, *(records[item.key][name] for name in ("sha256", "round_trip_error"))]
            for item in items
        ],
    )
    with suppress(UserError):
        return Preview(store.record(NOISE_PREVIEW, key)["markdown"], store.read(NOISE_PREVIEW, key))
    from onaspr_core.previews.noise_figure import noise_preview

    lost: list[str] = []
    label_of = dict(zip((item.clip_key for item in items[:SHOWN]), labels, strict=True))
    clips = dict(_readable(read_clip, label_of, lost))
    drawn = noise_preview(
        (noise for _, noise in _readable(read_noise, [item.key for item in items], lost)),
        [(item.pair_id, records[item.key]) for item in items],
        list(clips.values()),
        [label_of[clip_key] for clip_key in clips],
    )
    if drawn is not None and not lost:
        clip_keys = [item.clip_key for item in items]
        store.write(
            NOISE_PREVIEW, key, ".png", drawn.png, {"markdown": drawn.markdown, "clip_keys": clip_keys}
        )
    return drawn


def _label(item: ClipItem, error: float | None) -> str:
    return item.caption if error is None else f"{error:.3f} round trip: {item.caption}"


def _readable(
    read: Callable[[str], Read], keys: Iterable[str], lost: list[str]
) -> Iterator[tuple[str, Read]]:
    """Read items one after another; what is damaged or gone is noted in `lost`: a check tells of that."""
    for key in keys:
        try:
            found = read(key)
        except UserError:
            lost.append(key)
        else:
            yield key, found
