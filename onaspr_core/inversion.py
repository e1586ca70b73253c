"""Inverted noise: the neighbours' clips, walked back through the diffusion model and kept (Eq 2).

What does not belong here: which clip is a prompt's neighbour (`onaspr_core.retrieval`), the walk itself
(`onaspr_core.sampling`), and mixing (`onaspr_core.diffusion.noise`). Torch is imported when first needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from math import isfinite
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np

from onaspr_core import code_versions
from onaspr_core.artifacts import content_key
from onaspr_core.backbones.registry import TOO_LARGE, backbone_fingerprint, device_in_use, open_backbone
from onaspr_core.compute import Failure, Maker, Outcome, run_items
from onaspr_core.errors import PassingError, UserError
from onaspr_core.options import inversion_options, mixing_options
from onaspr_core.pool.clip_catalog import known_places
from onaspr_core.pool.clips import read_clip, read_clip_at
from onaspr_core.pool.manifest import pool_pairs
from onaspr_core.pool.shards import Place
from onaspr_core.previews.noise_preview import kept_preview
from onaspr_core.retrieval.neighbours import noise_neighbours_of
from onaspr_core.settings import Experiment
from onaspr_core.stored_kinds import INVERTED_LATENT
from onaspr_core.versions import library_versions
from onaspr_core.workspace import Workspace

if TYPE_CHECKING:
    from torch import Tensor

    from onaspr_core.backbones.protocol import Backbone
    from onaspr_core.media.video import Frames

TENSOR = "noise"
DESCRIBED = 256
"""Diagnostics are averaged over this many items at most: each is one record to read."""


@dataclass(frozen=True)
class ClipItem:
    """A pool clip to invert, known to people by the id of a pair that has it.

    `place` is where the clip lies; it is looked up for those that are to be inverted, and None where there is
    no such clip.
    """

    pair_id: str
    caption: str
    clip_key: str
    key: str
    place: Place | None = None


def clip_items(workspace: Workspace, e: Experiment) -> list[ClipItem]:
    """Return the clips that the experiment needs inverted: its neighbours, or all of the pool.

    Raises:
        UserError: when neighbours or pool have not been materialized, or the backbone's files are missing.
    """
    fingerprint = backbone_fingerprint(workspace.settings.backbones[e.backbone], workspace.settings.base)
    if e.inversion.scope == "pool":
        pairs = pool_pairs(workspace, e.pool)[: e.pool_size]
        found = [(pair.id, pair.caption, pair.clip_key) for pair in pairs if pair.clip_key is not None]
    else:
        borrowed = [one for own in noise_neighbours_of(workspace, e).values() for one in own]
        found = [(one.pair_id, one.caption, one.clip_key) for one in borrowed]
    items: dict[str, ClipItem] = {}
    for pair_id, caption, clip_key in found:
        key = _key(fingerprint, e, clip_key)
        items.setdefault(key, ClipItem(pair_id, caption, clip_key, key))
    return list(items.values())


def invert_clips(workspace: Workspace, e: Experiment) -> Outcome:
    """Invert the clips that the experiment needs and that have not been inverted yet.

    Each is stored as float16 with a record of what it was made from, of how far it is from white noise, and
    of the round-trip error: how far denoising it again, with the empty prompt, leads from the clip's latent.

    Raises:
        UserError: as `clip_items`, and when the backbone cannot be loaded.
    """
    items = clip_items(workspace, e)
    loaded = len(workspace.models.loaded)

    outcome = run_items(
        "inverted latents",
        items,
        key=lambda item: item.key,
        name=lambda item: item.pair_id,
        exists=lambda keys: workspace.store.existing(INVERTED_LATENT, keys),
        open_maker=partial(_open_maker, workspace, e),
        batch_size=e.inversion.batch_size,
        remedy=TOO_LARGE,
        look_up=partial(_with_places, workspace),
        engine=workspace.engine,
    )
    described = sorted(workspace.store.existing(INVERTED_LATENT, [item.key for item in items[:DESCRIBED]]))
    read = workspace.store.map(partial(workspace.store.record, INVERTED_LATENT), described)
    records = dict(zip(described, read, strict=True))
    return replace(
        outcome,
        models=workspace.models.loaded[loaded:],
        facts=_facts(workspace, e, list(records.values())),
        preview=kept_preview(
            workspace.store,
            [item for item in items if item.key in records],
            records,
            read_clip=partial(_inverted_frames, workspace, e),
            read_noise=partial(read_inverted, workspace),
        ),
    )


def inverted_latent_key(workspace: Workspace, e: Experiment, clip_key: str) -> str:
    """Return the content key of a clip's inverted noise.

    Whether the round trip is measured changes the record, not the noise, and does not count.
    """
    settings = workspace.settings
    return _key(backbone_fingerprint(settings.backbones[e.backbone], settings.base), e, clip_key)


def read_inverted(workspace: Workspace, key: str) -> Tensor:
    """Return inverted noise, float32 (C, T, h, w).

    Raises:
        UserError: when it has not been made or is damaged.
    """
    import torch

    return torch.from_numpy(workspace.store.read_tensors(INVERTED_LATENT, key)[TENSOR].astype(np.float32))


def _key(fingerprint: str, e: Experiment, clip_key: str) -> str:
    return content_key(
        INVERTED_LATENT,
        version=code_versions.INVERTED_LATENT,
        clip=clip_key,
        backbone=fingerprint,
        steps=e.sampling.steps,
        fixed_point_iterations=e.inversion.fixed_point_iterations,
        **inversion_options(e),
    )


def _with_places(workspace: Workspace, items: Sequence[ClipItem]) -> list[ClipItem]:
    places = known_places(workspace, [item.clip_key for item in items])
    return [replace(item, place=places.get(item.clip_key)) for item in items]


@contextmanager
def _open_maker(workspace: Workspace, e: Experiment) -> Iterator[Maker[ClipItem]]:
    yield partial(_invert_batch, workspace, e, open_backbone(workspace, e.backbone))


def _invert_batch(
    workspace: Workspace, e: Experiment, backbone: Backbone, batch: Sequence[ClipItem]
) -> Iterator[Failure]:
    """Invert what can be read of a batch, store it, and yield what could not."""
    import torch

    from onaspr_core.diffusion.noise import diagnostics
    from onaspr_core.diffusion.whitening import whiten
    from onaspr_core.media.frames import fit_frames, to_video

    readable: list[tuple[ClipItem, Frames, int]] = []
    for item in batch:
        try:
            clip = read_clip_at(workspace, item.clip_key, item.place)
            readable.append((item, *fit_frames(clip, *backbone.video_shape)))
        except UserError as problem:
            told = f"its clip cannot be read: {problem}"
            yield Failure(item.pair_id, told, passing=isinstance(problem, PassingError))
    if not readable:
        return
    latents = backbone.encode(to_video([frames for _, frames, _ in readable]))
    inverted = inverted_noise(e, backbone, latents, [item.clip_key for item, _, _ in readable])
    stored = torch.stack([whiten(noise, e.inversion.whitening) for noise in inverted]).half()
    errors = _round_trip_errors(e, backbone, latents, stored)
    for (item, _, repeated), before, noise, error in zip(readable, inverted, stored, errors, strict=True):
        if not bool(noise.isfinite().all()):
            yield Failure(
                item.pair_id, "inversion gave values that are not finite; use dtype float32 or bfloat16"
            )
            continue
        record = _record(e, backbone, item) | {
            "repeated_frames": repeated,
            "round_trip_error": error,
            "diagnostics": diagnostics(noise),
        }
        if e.inversion.whitening != "none":
            record["diagnostics_before_whitening"] = diagnostics(before)
        workspace.store.write_tensors(INVERTED_LATENT, item.key, {TENSOR: noise.numpy()}, record)


def inverted_noise(e: Experiment, backbone: Backbone, latents: Tensor, clip_keys: Sequence[str]) -> Tensor:
    """Invert clean latents (B, C, T, h, w) of these clips as an experiment asks for it, unwhitened.

    What is diffused forward first draws its noise by the clip's key alone.
    """
    import torch

    from onaspr_core.diffusion.noise import random_noise
    from onaspr_core.sampling import invert_latents

    forward = None
    if level := e.inversion.forward_diffusion_steps:
        drawn = [random_noise(latents.shape[1:], seed=0, prompt_id=k, sample_index=0) for k in clip_keys]
        forward = (level, torch.stack(drawn))
    iterations = e.inversion.fixed_point_iterations
    return invert_latents(
        backbone, latents, steps=e.sampling.steps, fixed_point_iterations=iterations, forward=forward
    ).cpu()


def _round_trip_errors(
    e: Experiment, backbone: Backbone, latents: Tensor, stored: Tensor
) -> list[float | None]:
    """Denoise what is stored with the empty prompt; return each latent's relative L2 error, or None."""
    from onaspr_core.sampling import sample_latents

    if not e.inversion.measure_round_trip:
        return [None] * len(latents)
    empty = [""] * len(latents)
    back = sample_latents(backbone, stored.float(), empty, steps=e.sampling.steps, guidance=None)
    clean = latents.to(back.device).flatten(1)
    errors = (back.flatten(1) - clean).norm(dim=1) / clean.norm(dim=1)
    return [error if isfinite(error) else None for error in errors.tolist()]


def _record(e: Experiment, backbone: Backbone, item: ClipItem) -> dict[str, Any]:
    return {
        "clip_key": item.clip_key,
        "pair_id": item.pair_id,
        "caption": item.caption,
        "pool": e.pool,
        "backbone": e.backbone,
        "backbone_fingerprint": backbone.fingerprint,
        "steps": e.sampling.steps,
        "fixed_point_iterations": e.inversion.fixed_point_iterations,
        **inversion_options(e),
        "shape": list(backbone.latent_shape),
        "libraries": library_versions("torch", "diffusers", "transformers"),
    }


def _facts(workspace: Workspace, e: Experiment, records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the settings that apply, and the records' mean round-trip error and diagnostics."""
    columns = {"round_trip_error": [record["round_trip_error"] for record in records]}
    for name in ("mean", "variance", "kurtosis", "spatial_autocorrelation", "temporal_autocorrelation"):
        columns[f"noise_{name}"] = [record["diagnostics"][name] for record in records]
    known = {name: [value for value in column if value is not None] for name, column in columns.items()}
    return {
        "backbone": e.backbone,
        "device": device_in_use(workspace, e.backbone),
        "steps": e.sampling.steps,
        "fixed_point_iterations": e.inversion.fixed_point_iterations,
        "scope": e.inversion.scope,
        **inversion_options(e),
        **mixing_options(e),
        **{f"{name}_mean": fmean(values) for name, values in known.items() if values},
    }


def _inverted_frames(workspace: Workspace, e: Experiment, clip_key: str) -> Frames:
    """Read what was inverted of a clip: of several frames a model of images takes the first."""
    frames = read_clip(workspace, clip_key)
    return frames[:1] if workspace.settings.backbones[e.backbone].makes_images else frames
