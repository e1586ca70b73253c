"""The four variants, made by one factory, so that the graph shows what each depends on."""

from collections.abc import Iterator
from functools import partial

import dagster as dg
from pydantic import Field

from onaspr_assets.house import asset
from onaspr_assets.metadata import materialize_experiment, observe_trial
from onaspr_assets.noise import inverted_latents
from onaspr_assets.params import param
from onaspr_assets.resources import WorkspaceResource
from onaspr_assets.retrieval import neighbours, prompts
from onaspr_assets.rewriting import rewritten_prompts
from onaspr_core import code_versions
from onaspr_core.variants import VARIANTS

ALWAYS = (prompts, param("sampling"), param("backbone"))
NOISE = (neighbours, inverted_latents, param("eta"))
REWRITING = (rewritten_prompts, param("gamma"))

DESCRIPTIONS = {
    "baseline": "Videos from random noise and the original prompt. Depends on neither eta nor gamma.",
    "ona": "Videos from inverted noise mixed with random noise (Eq 4). Changes with eta and the neighbours.",
    "spr": "Videos whose first steps see the rewritten prompt (Eq 8). Changes with gamma and the rewrites.",
    "ona_spr": "Videos with mixed noise and hybrid prompts. Changes with eta, gamma and what feeds them.",
}


class TrialConfig(dg.Config):
    """A trial run: values that replace the experiment's for once. Its videos are never its result."""

    eta: float | None = Field(None, description="Share of inverted noise, 0 … Infinity.")
    gamma: float | None = Field(None, description="Share of steps that see the rewritten prompt, 0 … 1.")
    guidance_scale: float | None = Field(None, description="Classifier-free guidance, at least 1.")
    seed: int | None = Field(None, description="Seed of the random noise.")


def video_asset(variant: str) -> dg.AssetsDefinition:
    """Return the asset of one variant's videos."""
    made = VARIANTS[variant]
    deps = ALWAYS + (NOISE if made.inverted_noise else ()) + (REWRITING if made.rewritten_prompt else ())

    @asset(
        name=f"{variant}_videos",
        description=f"{DESCRIPTIONS[variant]} One of a single frame is an image, stored as PNG.",
        group="generation",
        kinds={"pytorch", "media"},
        deps=deps,
        by_experiment=True,
        gpu=True,
        output_required=False,
        code_version=code_versions.VIDEO,
    )
    def videos(
        context: dg.AssetExecutionContext, workspace: WorkspaceResource, config: TrialConfig
    ) -> Iterator[dg.MaterializeResult | dg.AssetObservation]:
        from onaspr_core.generation import generate_videos
        from onaspr_core.trial import Trial, generate_trial

        if trial := Trial(**config.model_dump()):
            yield observe_trial(context, workspace, partial(generate_trial, variant=variant, trial=trial))
        else:
            yield materialize_experiment(context, workspace, partial(generate_videos, variant=variant))

    return videos


video_assets = {variant: video_asset(variant) for variant in VARIANTS}
