"""The gallery stage: gathers what an experiment's page shows and writes it with its videos into one folder.

The folder opens from disk and needs no network: `index.html`, its data in `gallery.js` and `provenance-*.js`,
`videos/` (or `images/`) and `clips/`. A second run writes nothing; videos that a changed setting has replaced
are removed. What the data holds is the concern of `gallery_data`, how the page looks that of `page`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from onaspr_core import code_versions, generation
from onaspr_core.artifacts import ADDED, content_key
from onaspr_core.compute import Outcome
from onaspr_core.diffusion.semantics import rewritten_step_count
from onaspr_core.evaluation.metrics import RIGHT
from onaspr_core.evaluation.score_table import prompt_scores_of, scores_of
from onaspr_core.options import inversion_options, mixing_options
from onaspr_core.pool.clips import clip_bytes
from onaspr_core.prompts import Prompt, load_prompts
from onaspr_core.reports.files import ReportFile, report_folder, write_files
from onaspr_core.reports.gallery_data import (
    GalleryView,
    PromptView,
    Values,
    VideoView,
    chunks_of,
    gallery_data,
    head_data,
    script_call,
)
from onaspr_core.reports.page import experiment_page, template_texts
from onaspr_core.retrieval.neighbours import Neighbour, neighbours_of
from onaspr_core.rewriting.stage import rewrites_of
from onaspr_core.rewriting.stored import Rewrite
from onaspr_core.settings import BackboneSettings, Experiment
from onaspr_core.stored_kinds import VIDEO
from onaspr_core.variants import BASELINE, VARIANTS
from onaspr_core.workspace import Workspace

LARGEST_PIXELATED = 128
"""Frames up to this many pixels high are enlarged without smoothing."""
HEAD = "head.json"
"""What stands above an experiment's cards, for the page of all experiments."""


@dataclass(frozen=True)
class _Gathered:
    """Everything the prompts' views are made of, read once."""

    keys: Mapping[str, Mapping[str, str]]
    existing: frozenset[str]
    scores: Mapping[str, Mapping[str, Mapping[str, float]]]
    neighbours: Mapping[str, Sequence[Neighbour]]
    rewrites: Mapping[str, Rewrite]
    gated: int


def write_gallery(workspace: Workspace, e: Experiment) -> Outcome:
    """Write the experiment's gallery; `facts["report"]` is the path of its `index.html`.

    Items are files. Raises UserError when prompts, neighbours or rewrites have not been materialized; a
    video that is missing is shown as missing, with the reason.
    """
    prompts, gathered = load_prompts(workspace, e), _gather(workspace, e)
    backbone = workspace.settings.backbones[e.backbone]
    view = GalleryView(
        experiment=e.name,
        summary=_summary(e, len(prompts)),
        settings=settings_of(workspace, e, gathered.gated),
        table=scores_of(workspace, e),
        prompts=[_prompt_view(prompt, gathered) for prompt in prompts],
        pixelated=backbone.height <= LARGEST_PIXELATED,
        noun=backbone.noun,
        suffix=backbone.suffix,
    )
    made = sorted({key for by_prompt in gathered.keys.values() for key in by_prompt.values()})
    clips = sorted({found[0].clip_key for found in gathered.neighbours.values() if found})
    files = [
        *(
            ReportFile(_made_path(key, backbone), key, partial(workspace.store.read, VIDEO, key))
            for key in made
            if key in gathered.existing
        ),
        *(ReportFile(f"clips/{key}.mp4", key, partial(clip_bytes, workspace, key)) for key in clips),
        *_page_files(workspace, view),
    ]
    folder = report_folder(workspace, e)
    outcome = write_files("gallery", folder, files, prune=True)
    facts = {
        "report": folder.path("index.html"),
        "prompts": len(prompts),
        f"{backbone.noun}s": len(made),
    }
    return replace(outcome, facts=facts)


def settings_of(workspace: Workspace, e: Experiment, gated: int = 0) -> list[tuple[str, Values]]:
    """The experiment's settings for people, in groups of (name, value).

    Only what the page's items were made with: gamma as the steps it comes to, the similarity gate as how many
    videos of a variant have less eta by it (`gated`), and no pool size, because none of them moves anything
    while the items stay. Options beyond the paper are told where they are in use.
    """
    options = {**inversion_options(e), **mixing_options(e)}
    options.pop("similarity_gate", None)
    told = [(name.replace("_", " "), str(value)) for name, value in options.items()]
    backbone = workspace.settings.backbones[e.backbone]
    m = rewritten_step_count(e.sampling.steps, e.gamma)
    rewriter = e.rewriter
    return [
        (
            "Method",
            [
                ("eta", f"{e.eta:g}"),
                ("rewritten steps (gamma)", f"{m} of {e.sampling.steps}"),
                ("references", str(e.references.k)),
                ("fixed-point iterations", str(e.inversion.fixed_point_iterations)),
                *told,
                *([("similarity gate", f"less eta for {gated} prompts")] if gated else []),
            ],
        ),
        (
            "Sampling",
            [
                ("DDIM steps", str(e.sampling.steps)),
                ("guidance scale", f"{e.sampling.guidance_scale:g}"),
                ("seed", str(e.seed)),
            ],
        ),
        (
            "Backbone",
            [
                ("name", e.backbone),
                ("weights", backbone.path),
                (backbone.noun, _size(backbone)),
                ("precision", backbone.dtype),
            ],
        ),
        (
            "Pool",
            [
                ("name", e.pool),
                ("embedding", workspace.settings.embedding.model),
            ],
        ),
        (
            "Rewriter",
            [
                ("model", rewriter.model),
                ("words", f"{rewriter.max_words} at most"),
                ("similarity", f"{rewriter.minimum_similarity:g} at least"),
                ("temperature", f"{rewriter.temperature:g}"),
            ],
        ),
        (
            "Evaluation",
            [
                ("features", e.evaluation.features.label),
                ("real side", e.evaluation.benchmark.path if e.evaluation.benchmark else "none"),
                ("resamples", str(e.evaluation.bootstrap_samples)),
            ],
        ),
    ]


def _size(backbone: BackboneSettings) -> str:
    size = f"{backbone.height} × {backbone.width}"
    return size if backbone.makes_images else f"{backbone.frames} × {size}, {backbone.fps:g} fps"


def _gather(workspace: Workspace, e: Experiment) -> _Gathered:
    items = {variant: generation.video_items(workspace, e, variant) for variant in VARIANTS}
    keys = {variant: {item.prompt.id: item.key for item in own} for variant, own in items.items()}
    wanted = [key for by_prompt in keys.values() for key in by_prompt.values()]
    return _Gathered(
        keys=keys,
        existing=frozenset(workspace.store.existing(VIDEO, wanted)),
        scores=prompt_scores_of(workspace, e),
        neighbours=neighbours_of(workspace, e),
        rewrites=rewrites_of(workspace, e),
        gated=sum(item.eta < e.eta for item in items["ona"]),
    )


def _prompt_view(prompt: Prompt, gathered: _Gathered) -> PromptView:
    neighbours = gathered.neighbours.get(prompt.id, ())
    rewrite = gathered.rewrites.get(prompt.id)
    return PromptView(
        id=prompt.id,
        text=prompt.text,
        videos=[_video_view(prompt, variant, gathered) for variant in gathered.keys],
        clip_key=neighbours[0].clip_key if neighbours else None,
        references=[(one.caption, one.similarity) for one in neighbours],
        rewrite=rewrite.text if rewrite else None,
        fallback_reason=rewrite.fallback_reason if rewrite else None,
    )


def _video_view(prompt: Prompt, variant: str, gathered: _Gathered) -> VideoView:
    key = gathered.keys[variant].get(prompt.id)
    own, base = gathered.scores.get(variant, {}), gathered.scores.get(BASELINE, {})
    value = own.get("clipsim", {}).get(prompt.id)
    before = base.get("clipsim", {}).get(prompt.id)
    compared = variant != BASELINE and value is not None and before is not None
    found = {name: own.get(f"{RIGHT}{name}", {}).get(prompt.id) for name in prompt.attributes}
    attributes = [
        (name, prompt.attributes[name], right > 0.5) for name, right in found.items() if right is not None
    ]
    there = key is not None and key in gathered.existing
    return VideoView(
        variant=variant,
        key=key if there else None,
        reason="" if there else f"materialize {variant}_videos",
        clipsim=value,
        gain=value - before if compared and value is not None and before is not None else None,
        attributes=attributes,
    )


def _page_files(workspace: Workspace, view: GalleryView) -> list[ReportFile]:
    """The page and its data; provenance, which the videos' keys stand for, is read only when written."""
    version = code_versions.GALLERY
    head, data = head_data(view), gallery_data(view)
    files = [
        ReportFile(
            "index.html",
            content_key("gallery-page", version=version, templates=template_texts(), head=head),
            lambda: experiment_page(head).encode(),
        ),
        ReportFile(HEAD, content_key("gallery-head", head=head), lambda: json.dumps(head).encode()),
        ReportFile(
            "gallery.js",
            content_key("gallery-data", version=version, data=data),
            lambda: script_call("onaspr.gallery", data),
        ),
    ]
    for number, prompts in enumerate(chunks_of(view.prompts)):
        keys = [[video.key for video in prompt.videos] for prompt in prompts]
        files.append(
            ReportFile(
                f"provenance-{number:04d}.js",
                content_key("gallery-provenance", version=version, experiment=view.experiment, keys=keys),
                partial(_provenance_script, workspace, view.experiment, number, keys),
            )
        )
    return files


def _provenance_script(
    workspace: Workspace, experiment: str, number: int, keys: Sequence[Sequence[str | None]]
) -> bytes:
    """What each video of a chunk's prompts was made from, as (name, value); nothing where it is missing."""
    shown = [key for row in keys for key in row if key]
    found = dict(zip(shown, workspace.store.map(partial(_provenance, workspace), shown), strict=True))
    told = [[found[key] if key else [] for key in row] for row in keys]
    return script_call("onaspr.provenance", experiment, number, told)


def _provenance(workspace: Workspace, key: str) -> Values:
    record = workspace.store.record(VIDEO, key)
    told = {name: value for name, value in record.items() if name not in ADDED}
    return [("key", key), *((name.replace("_", " "), _told(value)) for name, value in told.items())]


def _told(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 240 else f"{text[:239]}…"


def _summary(e: Experiment, prompts: int) -> str:
    m = rewritten_step_count(e.sampling.steps, e.gamma)
    return (
        f"{prompts:,} prompts, each generated {len(VARIANTS)} times from the same random noise. "
        f"eta {e.eta:g}, {m} of {e.sampling.steps} steps rewritten, "
        f"{e.evaluation.features.label} features."
    )


def _made_path(key: str, backbone: BackboneSettings) -> str:
    return f"{backbone.noun}s/{key}{backbone.suffix}"
