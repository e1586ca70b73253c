"""The graph, put together in one place; production and tests call the same function."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg

from onaspr_assets import (
    checks,
    console,
    evaluation,
    generation,
    noise,
    params,
    pool,
    reports,
    retrieval,
    rewriting,
    schedules,
    sensors,
    studies,
)
from onaspr_assets.automation import ancestors_of, recompute_what_changed
from onaspr_assets.report import report
from onaspr_assets.resources import WorkspaceResource

ASSETS = (
    pool.pool_manifest,
    pool.pool_clips,
    retrieval.caption_embeddings,
    retrieval.prompts,
    retrieval.neighbours,
    noise.inverted_latents,
    rewriting.rewritten_prompts,
    *generation.video_assets.values(),
    evaluation.benchmark_videos,
    evaluation.reference_features,
    evaluation.scores,
    reports.tables,
    reports.figures,
    reports.gallery,
)


def automated(assets: Sequence[dg.AssetsDefinition]) -> Sequence[dg.AssetsDefinition]:
    """Return the assets, each with the condition under which Dagster asks for it by itself."""
    ancestors = ancestors_of(spec for asset in assets for spec in asset.specs)

    def with_condition(spec: dg.AssetSpec) -> dg.AssetSpec:
        return spec.replace_attributes(automation_condition=recompute_what_changed(ancestors[spec.key]))

    return list(dg.map_asset_specs(with_condition, assets))


def build_defs(
    settings_path: str | Path = "settings.toml", resources: Mapping[str, Any] | None = None
) -> dg.Definitions:
    """Return all definitions.

    Args:
        settings_path: The settings file, read when a run or a sensor needs it, not here.
        resources: Replacements for resources by name; tests hand in fakes. `cluster`, a resource of
            dagster-ray, is where workers run when `compute.engine` is "ray" (docs/clusters.md).
    """
    given = dict(resources or {})
    cluster = given.pop("cluster", None)
    return dg.Definitions(
        assets=[*params.param_assets(), *automated(ASSETS), *studies.ASSETS, report],
        asset_checks=checks.CHECKS,
        jobs=[params.observe_settings],
        sensors=[sensors.settings_sensor, sensors.automation_sensor()],
        schedules=schedules.SCHEDULES,
        resources={
            "workspace": WorkspaceResource(settings_path=str(settings_path), cluster=cluster),
            **given,
        },
        executor=dg.in_process_executor,
        loggers={console.NAME: console.console},
    )
