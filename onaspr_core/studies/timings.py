"""How long each stage takes for one prompt, on the machine at hand: the paper's Table 4.

Cold is a stage's first call, with loading its model; warm is the median of calls after it. What was measured
for this machine, these models and settings is kept and found again. Nothing that a stage makes here is kept.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from importlib import import_module
from statistics import median
from typing import Any

from onaspr_core import code_versions
from onaspr_core.artifacts import content_key
from onaspr_core.backbones.registry import backbone_fingerprint, open_backbone
from onaspr_core.backbones.settings import WITHOUT_EFFECT
from onaspr_core.devices import chosen_device
from onaspr_core.diffusion.semantics import rewritten_step_count
from onaspr_core.errors import UserError
from onaspr_core.inversion import clip_items, inverted_noise, read_inverted
from onaspr_core.options import inversion_options
from onaspr_core.pool.clips import read_clip
from onaspr_core.pool.manifest import pool_captions
from onaspr_core.prompts import load_prompts
from onaspr_core.retrieval.embedder import embedder
from onaspr_core.retrieval.neighbours import neighbours_of, prompt_vectors
from onaspr_core.retrieval.versions import caption_state
from onaspr_core.rewriting.stage import rewriter_fingerprint
from onaspr_core.settings import Experiment
from onaspr_core.stored_kinds import INVERTED_LATENT, STAGE_TIME
from onaspr_core.versions import library_versions
from onaspr_core.workspace import Workspace

CALLS = 6
"""Calls of a stage: the first is cold. Each is of another prompt or clip, as far as there are so many."""
CAPTIONS = 1000
"""So many captions of the pool are embedded, at most."""

STAGES = {
    "feature_extraction": "Feature extraction",
    "video_retrieval": "Video retrieval",
    "inversion": "Inversion",
    "text_retrieval": "Text retrieval",
    "rewriting": "Rewriting",
    "denoising": "Denoising",
    "latent_read": "Inverted noise, read from the store",
}
"""The stages of Table 4, and what takes the place of inversion where it was done before."""


@dataclass(frozen=True)
class StageTime:
    """Milliseconds of one stage: the first call, and those after it. `of` says what one call does."""

    stage: str
    of: str
    cold: float
    warm: tuple[float, ...]

    @property
    def median(self) -> float:
        """The median of the warm calls."""
        return median(self.warm)


MODULES = ("diffusers", "lancedb", "openai", "sentence_transformers", "torch", "transformers")
"""What is imported before anything is timed."""

Call = Callable[[int], Any]
"""One call of a stage, of the prompt or clip of this number."""


def machine() -> str:
    """The processor, how many of its cores may be used, and the GPU if there is one, for people."""
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = torch.get_num_threads()
    told = f"{_processor()}, {_counted(cores, 'core')}, {_counted(threads, 'thread')}"
    return f"{torch.cuda.get_device_name()}, {told}" if chosen_device() == "cuda" else told


def stage_key(workspace: Workspace, e: Experiment, stage: str) -> str:
    """Content key of a stage's time: everything that may change it and is known before it is measured."""
    settings = workspace.settings
    encoder = embedder(workspace)
    return content_key(
        STAGE_TIME,
        version=code_versions.STAGE_TIMES,
        stage=stage,
        machine=machine(),
        libraries=library_versions("torch", "diffusers", "transformers", "sentence-transformers", "lancedb"),
        backbone=backbone_fingerprint(settings.backbones[e.backbone], settings.base),
        computed=settings.backbones[e.backbone].model_dump(include=set(WITHOUT_EFFECT)),
        steps=e.sampling.steps,
        guidance=e.sampling.guidance_scale,
        iterations=e.inversion.fixed_point_iterations,
        options=inversion_options(e),
        gamma=e.gamma,
        clips=settings.pools[e.pool].clip.model_dump(),
        pool=caption_state(workspace, e.pool, encoder.fingerprint).pairs,
        size=e.pool_size,
        embedder=encoder.fingerprint,
        rewriter=rewriter_fingerprint(e.rewriter, encoder.fingerprint),
        k=e.references.k,
    )


def measure(workspace: Workspace, e: Experiment, stage: str) -> StageTime:
    """Time one stage, with no model loaded before.

    Raises:
        UserError: when what the stage reads has not been materialized, or a model cannot be loaded.
    """
    for module in MODULES:
        import_module(module)
    with ExitStack() as stack:
        started = time.perf_counter()
        call, of = _OPEN[stage](Workspace(workspace.settings), e, stack)
        call(0)
        cold = time.perf_counter() - started
        warm = []
        for number in range(1, CALLS):
            started = time.perf_counter()
            call(number)
            warm.append(1000 * (time.perf_counter() - started))
    return StageTime(stage, of, 1000 * cold, tuple(warm))


def kept_time(workspace: Workspace, e: Experiment, stage: str) -> StageTime | None:
    """Return what was measured for a stage, None where nothing was."""
    key = stage_key(workspace, e, stage)
    if not workspace.store.existing(STAGE_TIME, [key]):
        return None
    told = workspace.store.read_json(STAGE_TIME, key)
    return StageTime(told["stage"], told["of"], told["cold"], tuple(told["warm"]))


def keep_time(workspace: Workspace, e: Experiment, measured: StageTime) -> None:
    """Keep what was measured, with the machine that it was measured on."""
    record = {"experiment": e.name, "machine": machine()}
    workspace.store.write_json(STAGE_TIME, stage_key(workspace, e, measured.stage), asdict(measured), record)


def _feature_extraction(workspace: Workspace, e: Experiment, stack: ExitStack) -> tuple[Call, str]:
    captions = pool_captions(workspace, e.pool)["caption"].to_pylist()[:CAPTIONS]
    encoder = embedder(workspace)
    return lambda number: encoder.encode(captions), f"embeddings of {len(captions):,} captions"


def _retrieval(k: int, what: str) -> Callable[[Workspace, Experiment, ExitStack], tuple[Call, str]]:
    def opened(workspace: Workspace, e: Experiment, stack: ExitStack) -> tuple[Call, str]:
        from onaspr_core.retrieval.lookup import CaptionSearch

        texts = [prompt.text for prompt in load_prompts(workspace, e)]
        vectors = prompt_vectors(workspace, embedder(workspace), texts)
        search = CaptionSearch(workspace, e.pool)
        wanted = k or max(e.references.k, 1)
        pairs = caption_state(workspace, e.pool, embedder(workspace).fingerprint).pairs

        def call(number: int) -> Any:
            return search.nearest(vectors[number % len(vectors)], wanted, e.pool_size)

        searched = min(e.pool_size or pairs, pairs)
        return call, f"{what.format(k=wanted)} among {searched:,}, the prompt's vector given"

    return opened


def _inversion(workspace: Workspace, e: Experiment, stack: ExitStack) -> tuple[Call, str]:
    from onaspr_core.media.frames import fit_frames, to_video

    items = clip_items(workspace, e)
    backbone = open_backbone(workspace, e.backbone)

    def call(number: int) -> Any:
        key = items[number % len(items)].clip_key
        frames, _ = fit_frames(read_clip(workspace, key), *backbone.video_shape)
        return inverted_noise(e, backbone, backbone.encode(to_video([frames])), [key])

    return call, f"one clip, {e.sampling.steps} steps"


def _rewriting(workspace: Workspace, e: Experiment, stack: ExitStack) -> tuple[Call, str]:
    from onaspr_core.rewriting.client import open_language_model
    from onaspr_core.rewriting.stage import rewrite_one

    found = neighbours_of(workspace, e)
    prompts = load_prompts(workspace, e)
    encoder = embedder(workspace)
    model = stack.enter_context(open_language_model(e.rewriter))

    def call(number: int) -> Any:
        prompt = prompts[number % len(prompts)]
        captions = [one.caption for one in found[prompt.id][: e.references.k]]
        return rewrite_one(model, e.rewriter, encoder.encode, prompt.text, captions)

    return call, f"one prompt, {e.rewriter.model}, with the guard"


def _denoising(workspace: Workspace, e: Experiment, stack: ExitStack) -> tuple[Call, str]:
    from onaspr_core.diffusion.noise import random_noise
    from onaspr_core.sampling import sample_latents

    prompts = load_prompts(workspace, e)
    backbone = open_backbone(workspace, e.backbone)
    steps = e.sampling.steps

    def call(number: int) -> Any:
        prompt = prompts[number % len(prompts)]
        noise = random_noise(backbone.latent_shape, seed=e.seed, prompt_id=prompt.id, sample_index=0)
        latents = sample_latents(
            backbone,
            noise[None],
            [prompt.text],
            steps=steps,
            guidance=e.sampling.guidance_scale,
            rewritten=[prompt.text],
            rewritten_steps=rewritten_step_count(steps, e.gamma),
        )
        return backbone.decode(latents).cpu()

    settings = workspace.settings.backbones[e.backbone]
    return call, f"one {settings.noun}, {steps} steps, guidance {e.sampling.guidance_scale:g}"


def _latent_read(workspace: Workspace, e: Experiment, stack: ExitStack) -> tuple[Call, str]:
    keys = [item.key for item in clip_items(workspace, e)]
    keys = [key for key in keys if key in workspace.store.existing(INVERTED_LATENT, keys)]
    if not keys:
        raise UserError(f"experiment {e.name} has no inverted noise yet; materialize inverted_latents")
    return lambda number: read_inverted(workspace, keys[number % len(keys)]), "one clip's noise"


_OPEN: dict[str, Callable[[Workspace, Experiment, ExitStack], tuple[Call, str]]] = {
    "feature_extraction": _feature_extraction,
    "video_retrieval": _retrieval(1, "the nearest caption"),
    "inversion": _inversion,
    "text_retrieval": _retrieval(0, "the {k} nearest captions"),
    "rewriting": _rewriting,
    "denoising": _denoising,
    "latent_read": _latent_read,
}


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _processor() -> str:
    """The processor's name, from Linux where it is told."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as told:
            names = [line.partition(":")[2].strip() for line in told if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()
