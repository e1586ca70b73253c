"""Generation: prompts to videos, for all four variants by one path.

The variants differ in what an item says about its noise and prompts, and in nothing else. What does not
belong here: finding neighbours, inverting and rewriting, which are done before, and the denoising itself
(`onaspr_core.sampling`). Torch is imported when first needed.
"""

from __future__ import annotations

import io
import math
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from onaspr_core import code_versions
from onaspr_core.artifacts import content_key
from onaspr_core.backbones.registry import TOO_LARGE, backbone_fingerprint, device_in_use, open_backbone
from onaspr_core.compute import Failure, Maker, Outcome, Preview, run_items
from onaspr_core.diffusion.gate import gated_eta
from onaspr_core.diffusion.semantics import rewritten_step_count
from onaspr_core.errors import UserError
from onaspr_core.inversion import inverted_latent_key, read_inverted
from onaspr_core.media.contact_sheet import contact_sheet
from onaspr_core.media.images import encode_png
from onaspr_core.media.video import Frames, encode_mp4, read_frames
from onaspr_core.options import mixing_options
from onaspr_core.prompts import Prompt, load_prompts
from onaspr_core.retrieval.neighbours import Neighbour, noise_neighbours_of
from onaspr_core.rewriting.stage import rewrites_of
from onaspr_core.rewriting.stored import Rewrite
from onaspr_core.settings import BackboneSettings, Experiment
from onaspr_core.stored_kinds import INVERTED_LATENT, VIDEO
from onaspr_core.variants import VARIANTS
from onaspr_core.video_record import video_record
from onaspr_core.workspace import Workspace

if TYPE_CHECKING:
    from torch import Tensor

    from onaspr_core.backbones.protocol import Backbone

CRF = 12
SHOWN = 8


@dataclass(frozen=True)
class VideoItem:
    """One video to make: a prompt and everything that enters its generation.

    `eta` is what the similarity gate leaves of the experiment's. `neighbours` are the clips whose noise is
    borrowed, best first, and `inverted_keys` name their noises; both are empty where eta is 0. `shut` is the
    cosine of the best neighbour where the gate is why eta is 0, otherwise None. `rewritten_text` is None, and
    `rewritten_steps` 0, where no step uses a rewritten prompt; `fallback_reason` says so where the rewriter's
    guard is why. `rewrite_key` names the stored rewrite of a variant that asks for one, used or not.
    """

    prompt: Prompt
    key: str
    eta: float
    neighbours: tuple[Neighbour, ...]
    inverted_keys: tuple[str, ...]
    shut: float | None
    rewritten_text: str | None
    rewritten_steps: int
    fallback_reason: str | None
    rewrite_key: str | None
    sample_index: int = 0


def video_items(
    workspace: Workspace, e: Experiment, variant: str, prompt_ids: Collection[str] | None = None
) -> list[VideoItem]:
    """Return a variant's videos, of all prompts or of these, in the order of the prompts. Loads no model.

    Raises:
        UserError: for an unknown variant, and when prompts, neighbours or rewrites that the variant needs
            have not been materialized.
    """
    if variant not in VARIANTS:
        raise UserError(f"unknown variant {variant!r}; known: {', '.join(VARIANTS)}")
    eta = e.eta if VARIANTS[variant].inverted_noise else 0.0
    m = rewritten_step_count(e.sampling.steps, e.gamma) if VARIANTS[variant].rewritten_prompt else 0
    prompts = [p for p in load_prompts(workspace, e) if prompt_ids is None or p.id in prompt_ids]
    neighbours = noise_neighbours_of(workspace, e) if eta > 0 else {}
    rewrites = rewrites_of(workspace, e, prompt_ids) if m > 0 else {}
    settings = workspace.settings
    fingerprint = backbone_fingerprint(settings.backbones[e.backbone], settings.base)
    inverted_keys = {
        one.clip_key: inverted_latent_key(workspace, e, one.clip_key)
        for prompt in prompts
        for one in neighbours.get(prompt.id, ())
    }
    items = []
    for prompt in prompts:
        found = neighbours[prompt.id] if neighbours else ()
        left = gated_eta(eta, e.inversion.similarity_gate, found[0].similarity) if found else eta
        borrowed = found if left > 0 else ()
        item = VideoItem(
            prompt,
            key="",
            eta=left,
            neighbours=borrowed,
            inverted_keys=tuple(inverted_keys[one.clip_key] for one in borrowed),
            shut=found[0].similarity if found and not borrowed else None,
            **_semantics(prompt, rewrites.get(prompt.id), m),
        )
        items.append(replace(item, key=_key(item, e, fingerprint, settings.backbones[e.backbone])))
    return items


def generate_videos(workspace: Workspace, e: Experiment, variant: str, *, trial: str = "") -> Outcome:
    """Make the videos of a variant that do not exist yet, each with a record of what it was made from.

    A video is an MP4; one of a single frame is a PNG. A prompt whose neighbour has not been
    inverted is a failure; the others are made.

    Args:
        workspace: Where.
        e: The experiment, or what a trial makes of it.
        variant: A name of `onaspr_core.variants`.
        trial: What a trial replaced, for the records of videos that it makes.

    Raises:
        UserError: as `video_items`, and when the backbone cannot be loaded.
    """
    items = video_items(workspace, e, variant)
    loaded = len(workspace.models.loaded)

    outcome = run_items(
        f"{variant} videos",
        items,
        key=lambda item: item.key,
        name=lambda item: item.prompt.id,
        exists=lambda keys: workspace.store.existing(VIDEO, keys),
        open_maker=partial(_open_maker, workspace, e, variant, trial),
        batch_size=e.sampling.batch_size,
        remedy=TOO_LARGE,
        engine=workspace.engine,
    )
    return replace(
        outcome,
        models=workspace.models.loaded[loaded:],
        facts=_facts(workspace, e, variant, items),
        preview=_preview(workspace, items),
    )


def read_video(workspace: Workspace, key: str) -> Frames:
    """Return a generated video's frames, uint8 (F, H, W, 3).

    Raises:
        UserError: when it has not been made or is damaged.
    """
    return read_frames(io.BytesIO(workspace.store.read(VIDEO, key)))


def _semantics(prompt: Prompt, rewrite: Rewrite | None, m: int) -> dict[str, Any]:
    """Return what an item says about its prompts; a rewrite equal to the prompt counts as none."""
    used = rewrite is not None and rewrite.text != prompt.text
    return {
        "rewritten_text": rewrite.text if rewrite is not None and used else None,
        "rewritten_steps": m if used else 0,
        "fallback_reason": rewrite.fallback_reason if rewrite is not None else None,
        "rewrite_key": rewrite.key if rewrite is not None else None,
    }


def _key(item: VideoItem, e: Experiment, fingerprint: str, backbone: BackboneSettings) -> str:
    """Return the content key: what cannot influence the video is left out, so that equal videos share it.

    Blended noises weigh the same, so their order makes no other video.
    """
    blended = {"blend": code_versions.BLEND} if len(item.inverted_keys) > 1 else {}
    return content_key(
        VIDEO,
        version=code_versions.VIDEO,
        prompt=item.prompt.text,
        rewritten=[item.rewritten_text, item.rewritten_steps] if item.rewritten_steps else None,
        inverted=[item.eta, *sorted(item.inverted_keys)] if item.eta > 0 else None,
        random=None if math.isinf(item.eta) else [e.seed, item.prompt.id, item.sample_index],
        backbone=fingerprint,
        steps=e.sampling.steps,
        guidance=e.sampling.guidance_scale,
        encoding=["png"] if backbone.makes_images else [backbone.fps, CRF],
        **blended,
    )


@contextmanager
def _open_maker(workspace: Workspace, e: Experiment, variant: str, trial: str) -> Iterator[Maker[VideoItem]]:
    yield partial(_make_batch, workspace, e, variant, trial, open_backbone(workspace, e.backbone))


def _make_batch(
    workspace: Workspace,
    e: Experiment,
    variant: str,
    trial: str,
    backbone: Backbone,
    batch: Sequence[VideoItem],
) -> Iterator[Failure]:
    """Make and store what can be made of a batch, and yield what could not.

    Items without a rewrite take the original prompt for the first steps too, so they mix with the others.
    """
    import torch

    from onaspr_core.media.frames import to_frames
    from onaspr_core.sampling import sample_latents

    ready: list[tuple[VideoItem, Tensor]] = []
    for item in batch:
        try:
            ready.append((item, _initial_noise(workspace, e, backbone, item)))
        except UserError as problem:
            yield Failure(item.prompt.id, str(problem))
    if not ready:
        return
    items = [item for item, _ in ready]
    latents = sample_latents(
        backbone,
        torch.stack([noise for _, noise in ready]),
        [item.prompt.text for item in items],
        steps=e.sampling.steps,
        guidance=e.sampling.guidance_scale,
        rewritten=[item.rewritten_text or item.prompt.text for item in items],
        rewritten_steps=max(item.rewritten_steps for item in items),
    )
    settings = workspace.settings.backbones[e.backbone]
    decoded = backbone.decode(latents)
    finite = latents.isfinite().flatten(1).all(1) & decoded.isfinite().flatten(1).all(1).to(latents.device)
    for item, usable, frames in zip(items, finite.tolist(), to_frames(decoded), strict=True):
        if not usable:
            yield Failure(
                item.prompt.id, "the model gave values that are not finite; use dtype float32 or bfloat16"
            )
            continue
        record = {**video_record(workspace, e, variant, backbone, item), "trial": trial or None}
        workspace.store.write(VIDEO, item.key, settings.suffix, _encoded(frames, settings), record)


def _encoded(frames: Frames, backbone: BackboneSettings) -> bytes:
    return encode_png(frames[0]) if backbone.makes_images else encode_mp4(frames, backbone.fps, CRF)


def _initial_noise(workspace: Workspace, e: Experiment, backbone: Backbone, item: VideoItem) -> Tensor:
    """Return the item's random noise, mixed with its neighbours' inverted noise where eta asks for it."""
    from onaspr_core.diffusion.noise import blend_noises, mix_noise, random_noise

    random = random_noise(
        backbone.latent_shape, seed=e.seed, prompt_id=item.prompt.id, sample_index=item.sample_index
    )
    if not item.neighbours:
        return random
    for neighbour, key in zip(item.neighbours, item.inverted_keys, strict=True):
        if not workspace.store.has(INVERTED_LATENT, key):
            raise UserError(
                f"the inverted noise of its neighbour {neighbour.pair_id} (clip {neighbour.clip_key}) "
                "is missing; materialize inverted_latents"
            )
    inverted = blend_noises([read_inverted(workspace, key) for key in sorted(item.inverted_keys)])
    return mix_noise(random, inverted, item.eta)


def _facts(workspace: Workspace, e: Experiment, variant: str, items: Sequence[VideoItem]) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "variant": variant,
        "backbone": e.backbone,
        "device": device_in_use(workspace, e.backbone),
        "steps": e.sampling.steps,
        "guidance_scale": e.sampling.guidance_scale,
    }
    if VARIANTS[variant].inverted_noise:
        facts |= {"eta": e.eta, **mixing_options(e)}
        if e.inversion.similarity_gate:
            facts["videos_with_less_eta"] = sum(item.eta < e.eta for item in items)
            facts["videos_without_inverted_noise"] = sum(item.eta == 0 for item in items)
    if VARIANTS[variant].rewritten_prompt:
        facts["gamma"] = e.gamma
        facts["rewritten_steps"] = rewritten_step_count(e.sampling.steps, e.gamma)
        facts["prompts_without_rewrite"] = sum(item.rewritten_steps == 0 for item in items)
    return facts


def _preview(workspace: Workspace, items: Sequence[VideoItem]) -> Preview | None:
    """Show the first videos under their prompts."""
    present = workspace.store.existing(VIDEO, [item.key for item in items[:SHOWN]])
    shown = [item for item in items[:SHOWN] if item.key in present]
    if not shown:
        return None
    return Preview(
        png=contact_sheet([read_video(workspace, item.key) for item in shown], [i.prompt.text for i in shown])
    )
