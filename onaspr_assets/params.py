"""Settings as assets: each setting that moves alone is observed, and its data version is its value.

An observation of `params/eta` says "eta of this experiment is now that". What depends on the setting names
it as a dependency; nothing else hears of it. Observing launches no work.
"""

from collections.abc import Callable, Iterator, Mapping

import dagster as dg

from onaspr_assets.partitions import EXPERIMENTS, experiments
from onaspr_assets.resources import WorkspaceResource
from onaspr_core.artifacts import content_key
from onaspr_core.errors import UserError
from onaspr_core.settings import Experiment, Settings

GROUP = "params"

SHARED: Mapping[str, tuple[str, Callable[[Settings], str]]] = {
    "pool": (
        "The pools: their sources, sizes, seeds and how clips are cut.",
        lambda settings: content_key("pools", **{n: p.model_dump() for n, p in settings.pools.items()}),
    ),
    "embedding": (
        "The sentence embedding model.",
        lambda settings: content_key("embedding", model=settings.embedding.model),
    ),
}
"""Settings that every experiment shares: what they are, and the value's version."""

PER_EXPERIMENT: Mapping[str, tuple[str, Callable[[Settings, Experiment], str]]] = {
    "prompts": (
        "Which prompts the experiment generates.",
        lambda s, e: content_key("prompts", path=e.prompts, limit=e.prompt_limit),
    ),
    "eta": ("The share of inverted noise (Eq 4), 0 … inf.", lambda s, e: content_key("eta", value=e.eta)),
    "gamma": (
        "The share of denoising steps that the rewritten prompt conditions (Eq 8), 0 … 1.",
        lambda s, e: content_key("gamma", value=e.gamma),
    ),
    "references": (
        "How many similar captions the language model sees (k).",
        lambda s, e: e.references.fingerprint(),
    ),
    "rewriter": ("The language model, its prompt and its guard.", lambda s, e: e.rewriter.fingerprint()),
    "sampling": (
        "DDIM steps, guidance and the seed of the random noise.",
        lambda s, e: content_key(
            "sampling", steps=e.sampling.steps, guidance=e.sampling.guidance_scale, seed=e.seed
        ),
    ),
    "inversion": (
        "How clips are inverted.",
        lambda s, e: content_key(
            "inversion",
            steps=e.sampling.steps,
            fixed_point_iterations=e.inversion.fixed_point_iterations,
            scope=e.inversion.scope,
        ),
    ),
    "backbone": (
        "The diffusion model, its precision and its shape.",
        lambda s, e: s.backbones[e.backbone].fingerprint(),
    ),
    "evaluation": (
        "Benchmark, feature networks and resampling.",
        lambda s, e: e.evaluation.fingerprint(),
    ),
}
"""Settings of one experiment: what they are, and the value's version."""


def param(name: str) -> dg.AssetKey:
    """Return the asset key of a setting.

    Raises:
        KeyError: when there is no such setting.
    """
    if name not in SHARED and name not in PER_EXPERIMENT:
        raise KeyError(name)
    return dg.AssetKey([GROUP, name])


def param_specs() -> list[dg.AssetSpec]:
    """Return the settings as external assets."""
    shared = [
        dg.AssetSpec(param(name), description=text, group_name=GROUP, kinds={"toml"})
        for name, (text, _) in SHARED.items()
    ]
    return shared + [
        dg.AssetSpec(
            param(name), description=text, group_name=GROUP, kinds={"toml"}, partitions_def=experiments
        )
        for name, (text, _) in PER_EXPERIMENT.items()
    ]


def versions(settings: Settings) -> dict[str, str]:
    """Return the version of every setting, under `name` or `name|experiment`."""
    found = {name: version(settings) for name, (_, version) in SHARED.items()}
    for experiment in settings.experiments.values():
        for name, (_, version_of) in PER_EXPERIMENT.items():
            found[f"{name}|{experiment.name}"] = version_of(settings, experiment)
    return found


def observations(current: Mapping[str, str], seen: Mapping[str, str]) -> Iterator[dg.AssetObservation]:
    """Yield an observation for each setting whose version is not the one seen before."""
    for where, version in current.items():
        if seen.get(where) != version:
            name, _, experiment = where.partition("|")
            yield dg.AssetObservation(
                param(name), partition=experiment or None, tags={"dagster/data_version": version}
            )


def last_seen(instance: dg.DagsterInstance, current: Mapping[str, str]) -> dict[str, str]:
    """Return the versions that were last observed on an instance, for the settings in `current`."""
    seen = {}
    for where in current:
        name, _, experiment = where.partition("|")
        records = instance.fetch_observations(
            dg.AssetRecordsFilter(
                asset_key=param(name), asset_partitions=[experiment] if experiment else None
            ),
            limit=1,
        ).records
        observation = records[0].asset_observation if records else None
        if observation is not None and observation.data_version:
            seen[where] = observation.data_version
    return seen


@dg.op
def observe_settings_file(context: dg.OpExecutionContext, workspace: WorkspaceResource) -> None:
    """Read the settings, add new experiments as partitions, and observe each setting that moved."""
    try:
        settings = workspace.settings()
    except UserError as problem:
        raise dg.Failure(description=str(problem), allow_retries=False) from None
    context.instance.add_dynamic_partitions(EXPERIMENTS, sorted(settings.experiments))
    current = versions(settings)
    moved = list(observations(current, last_seen(context.instance, current)))
    for observation in moved:
        context.log_event(observation)
    context.log.info(f"{len(current)} settings read, {len(moved)} moved")


@dg.job(description="Read settings.toml: new experiments become partitions, moved settings are observed.")
def observe_settings() -> None:
    """Observe the settings file once; the button for what the sensor does by itself."""
    observe_settings_file()
