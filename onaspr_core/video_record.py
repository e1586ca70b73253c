"""The record of a generated video: everything that it was made from, as JSON values.

Who reads it later is `onaspr_core.provenance`; what makes the video is `onaspr_core.generation`.
"""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from onaspr_core.settings import Experiment
from onaspr_core.variants import VARIANTS
from onaspr_core.versions import library_versions
from onaspr_core.workspace import Workspace

if TYPE_CHECKING:
    from onaspr_core.backbones.protocol import Backbone
    from onaspr_core.generation import VideoItem


def video_record(
    workspace: Workspace, e: Experiment, variant: str, backbone: Backbone, item: VideoItem
) -> dict[str, Any]:
    """Return everything the video was made from, as JSON values; one of a single frame has no `fps`.

    What the key leaves out (experiment, variant, trial, pool, neighbour's caption, gamma) is that of whoever
    asked first. Names of models are as the settings have them, because those may say otherwise later.
    """
    frames, height, width = backbone.video_shape
    model = workspace.settings.backbones[e.backbone]
    return {
        "experiment": e.name,
        "variant": variant,
        "prompt_id": item.prompt.id,
        "prompt": item.prompt.text,
        "rewritten_prompt": item.rewritten_text,
        "rewritten_steps": item.rewritten_steps,
        "rewrite_key": item.rewrite_key,
        "fallback_reason": item.fallback_reason,
        "gamma": e.gamma if item.rewritten_steps else 0.0,
        "eta": "inf" if math.isinf(item.eta) else item.eta,
        **_borrowed(workspace, e, variant, item),
        "seed": e.seed,
        "sample_index": item.sample_index,
        "backbone": e.backbone,
        "backbone_model": model.path,
        "backbone_family": model.family,
        "backbone_dtype": model.dtype,
        "backbone_fingerprint": backbone.fingerprint,
        "device": backbone.device,
        "steps": e.sampling.steps,
        "guidance_scale": e.sampling.guidance_scale,
        "frames": frames,
        "height": height,
        "width": width,
        **({} if model.makes_images else {"fps": model.fps}),
        "libraries": library_versions(
            "torch", "diffusers", "transformers", "pillow" if model.makes_images else "av"
        ),
    }


def _borrowed(workspace: Workspace, e: Experiment, variant: str, item: VideoItem) -> dict[str, Any]:
    """Whose noise the video was made from, and the options that it was borrowed by where they are in use."""
    borrows = bool(item.neighbours)
    told: dict[str, Any] = {
        "neighbour": asdict(item.neighbours[0]) if borrows else None,
        "pool": e.pool if borrows else None,
        "embedding_model": workspace.settings.embedding.model if borrows else None,
        "inverted_key": item.inverted_keys[0] if borrows else None,
    }
    if len(item.neighbours) > 1:
        named = zip(item.neighbours[1:], item.inverted_keys[1:], strict=True)
        told["blended_with"] = [{**asdict(one), "inverted_key": key} for one, key in named]
    if VARIANTS[variant].inverted_noise and e.inversion.similarity_gate:
        told["similarity_gate"] = list(e.inversion.similarity_gate)
        told["eta_before_gate"] = "inf" if math.isinf(e.eta) else e.eta
    return told
