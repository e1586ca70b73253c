"""The real side, the features of both sides, and the scores."""

from datetime import timedelta

import dagster as dg

from onaspr_assets.generation import video_assets
from onaspr_assets.house import asset
from onaspr_assets.metadata import materialize_experiment
from onaspr_assets.params import param
from onaspr_assets.resources import WorkspaceResource
from onaspr_assets.retrieval import prompts
from onaspr_core import code_versions

LONGEST_UNSCORED = timedelta(days=8)
"""The weekly evaluation, and a day to notice that it did not happen."""


@asset(
    group="evaluation",
    kinds={"duckdb"},
    deps=[param("evaluation")],
    by_experiment=True,
    code_version=code_versions.BENCHMARK,
)
def benchmark_videos(context: dg.AssetExecutionContext, workspace: WorkspaceResource) -> dg.MaterializeResult:
    """The real videos that generated ones are measured against, listed and counted.

    Changes when the benchmark's list or one of its videos changes.
    """
    from onaspr_core.evaluation.benchmarks import ingest_benchmark

    return materialize_experiment(context, workspace, ingest_benchmark)


@asset(
    group="evaluation",
    kinds={"pytorch"},
    deps=[benchmark_videos, param("evaluation"), param("backbone")],
    by_experiment=True,
    gpu=True,
    code_version=code_versions.FEATURES,
)
def reference_features(
    context: dg.AssetExecutionContext, workspace: WorkspaceResource
) -> dg.MaterializeResult:
    """Features of the real videos, for the Fréchet distances.

    Changes when a real video, a feature network or the size of the backbone's videos changes.
    """
    from onaspr_core.evaluation.features import reference_features as stage

    return materialize_experiment(context, workspace, stage)


@asset(
    group="evaluation",
    kinds={"pytorch", "duckdb"},
    deps=[*video_assets.values(), prompts, reference_features, param("evaluation")],
    by_experiment=True,
    gpu=True,
    freshness_policy=dg.FreshnessPolicy.time_window(fail_window=LONGEST_UNSCORED),
    code_version=f"{code_versions.SCORES}.{code_versions.SCORE_ROWS}",
)
def scores(context: dg.AssetExecutionContext, workspace: WorkspaceResource) -> dg.MaterializeResult:
    """FID, CLIP-FID, CLIPSIM, FVD and IS of the four variants, with n and the difference to the baseline.

    Changes when any variant's videos, the prompts, the real side or the feature networks change.
    """
    from onaspr_core.evaluation.scores import score_experiment

    return materialize_experiment(context, workspace, score_experiment)
