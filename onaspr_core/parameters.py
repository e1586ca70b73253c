"""What a setting amounts to: for each setting that moves alone, what it is made of, and its version.

A setting is made of what can change a result: parsed values (0.30 is 0.3) and the hashes of the files they
name. Batch sizes, devices, timeouts and the thresholds of checks change none and count for nothing. Who
depends on which setting is the graph's business.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from onaspr_core import code_versions
from onaspr_core.artifacts import content_key
from onaspr_core.backbones.settings import WITHOUT_EFFECT
from onaspr_core.errors import UserError
from onaspr_core.evaluation.settings import PAPER
from onaspr_core.folders import is_url
from onaspr_core.options import inversion_options, mixing_options
from onaspr_core.paths import file_sha256, folder_fingerprint, resolve
from onaspr_core.settings import (
    PROMPTS_OF_BENCHMARK,
    BenchmarkSettings,
    Experiment,
    NetworkSettings,
    PoolSettings,
    Settings,
)

Content = dict[str, Any]
"""What a setting is made of, as JSON values."""

_OF_VIDEOS = ("videos", "fvd_stride")
"""Settings of a benchmark that its prompts know nothing of."""

SHARED: Mapping[str, tuple[str, Callable[[Settings], Content]]] = {
    "pool": (
        "The pools: their source lists, sizes, seeds and how clips are cut.",
        lambda s: {name: _pool(s, name) for name in s.pools},
    ),
    "embedding": (
        "The sentence embedding model.",
        lambda s: _embedding(s),
    ),
    "studies": (
        "What the studies compare: experiments, and the values that sweeps set.",
        lambda s: _studies(s),
    ),
}
"""Settings that all experiments share: what they are for, and what they are made of."""

PER_EXPERIMENT: Mapping[str, tuple[str, Callable[[Settings, Experiment], Content]]] = {
    "source": (
        "Which of the pools the experiment borrows from, and how much of it.",
        lambda s, e: {"pool": e.pool, **({"size": e.pool_size} if e.pool_size else {})},
    ),
    "prompts": (
        "Which prompts the experiment generates: the prompt file or the benchmark, and how many of its rows.",
        lambda s, e: {**_prompts(s, e), "limit": e.prompt_limit},
    ),
    "eta": (
        "The share of inverted noise (Eq 4), 0 … inf; of how many neighbours, and gated how, where it is.",
        lambda s, e: {"eta": e.eta, **mixing_options(e), **_blend(e)},
    ),
    "gamma": (
        "The share of denoising steps that the rewritten prompt conditions (Eq 8), 0 … 1.",
        lambda s, e: {"gamma": e.gamma},
    ),
    "references": (
        "How many similar captions the language model sees (k), and noise is blended of where of several.",
        lambda s, e: {"k": e.references.k, **_searched_for_noise(e)},
    ),
    "rewriter": (
        "The language model, how it is asked, and its guard.",
        lambda s, e: e.rewriter.model_dump(exclude={"timeout_seconds"}),
    ),
    "sampling": (
        "DDIM steps, guidance and the seed of the random noise.",
        lambda s, e: {
            "steps": e.sampling.steps,
            "guidance_scale": e.sampling.guidance_scale,
            "seed": e.seed,
        },
    ),
    "inversion": (
        "How clips are inverted, and which: those of neighbours, or the whole pool as its list is now.",
        lambda s, e: {
            "steps": e.sampling.steps,
            "fixed_point_iterations": e.inversion.fixed_point_iterations,
            "scope": e.inversion.scope,
            "pool": _pool(s, e.pool) if e.inversion.scope == "pool" else None,
            **({"size": e.pool_size} if e.inversion.scope == "pool" and e.pool_size else {}),
            **inversion_options(e),
            **{name: value for name, value in mixing_options(e).items() if name == "neighbours"},
        },
    ),
    "backbone": ("The diffusion model, its precision and its shape.", lambda s, e: _backbone(s, e)),
    "evaluation": ("Benchmark, feature networks and resampling.", lambda s, e: _evaluation(s, e)),
}
"""Settings of one experiment: what they are for, and what they are made of."""


def contents(settings: Settings) -> dict[str, Content]:
    """Return what every setting is made of, under `name` or `name|experiment`.

    Raises:
        UserError: when a package that a path names is not installed, or a folder that it names holds no
            model.
        OSError: when a file goes away while it is read.
    """
    found = {name: content(settings) for name, (_, content) in SHARED.items()}
    for experiment in settings.experiments.values():
        for name, (_, content_of) in PER_EXPERIMENT.items():
            found[f"{name}|{experiment.name}"] = content_of(settings, experiment)
    return found


def version(content: Content) -> str:
    """Return the version of a setting that is made of this: equal content, equal version."""
    return content_key("setting", content=content)


def _searched_for_noise(e: Experiment) -> Content:
    """How many captions are searched, where blended noise asks for more than references do."""
    from onaspr_core.retrieval.nearest import searched

    more = searched(e) > searched(e, for_noise=False)
    return {"searched": searched(e)} if more else {}


def _blend(e: Experiment) -> Content:
    """How several noises are blended, where they are."""
    return {"blend": code_versions.BLEND} if e.inversion.neighbours > 1 else {}


def _content(settings: Settings, path: str) -> str:
    """The hash of a file or folder, or the path itself where it is a hub id, a URL, or not there yet."""
    found = Path(resolve(path, settings.base))
    if found.is_file():
        return file_sha256(found)
    if found.is_dir() and any(found.iterdir()):
        return folder_fingerprint(found)
    return path


def _pool(s: Settings, name: str) -> Content:
    pool = s.pools[name]
    refused = pool.benchmark_items == "refuse"
    benchmarks = [e.evaluation.benchmark for e in s.experiments.values() if refused and e.pool == name]
    return {
        **pool.model_dump(mode="json"),
        "listing": _listing(s, pool),
        "withdrawn": _content(s, pool.takedown) if pool.takedown else None,
        "refused": [_benchmark(s, benchmark) for benchmark in benchmarks],
    }


def _listing(s: Settings, pool: PoolSettings) -> str | None:
    """The hash of a list, or of the sizes and times of its files where they are many or hold videos.

    A look is taken four times a minute, so nothing below a folder of videos is looked at: what changes there
    is found when the manifest or the benchmark is made, which schedules ask for: the nightly and the weekly.
    """
    from onaspr_core.pool.listed_files import stamp
    from onaspr_core.pool.source_forms import source_files
    from onaspr_core.pool.sources import source_of

    path = Path(resolve(pool.path, s.base))
    if path.is_file() and pool.format not in ("webdataset", "parquet"):
        return file_sha256(path)
    if is_url(pool.path):
        return pool.path
    try:
        files = source_files(source_of(pool, s.base))
    except UserError:
        return pool.path
    return stamp(files) if files else str(path.stat().st_mtime_ns)


def _studies(s: Settings) -> Content:
    content = s.studies.model_dump(exclude={"rewriters"})
    engines = s.studies.rewriters.items()
    return {
        **content,
        "rewriters": {name: one.model_dump(exclude={"timeout_seconds"}) for name, one in engines},
    }


def _embedding(s: Settings) -> Content:
    content = {"model": _content(s, s.embedding.model)}
    if content["model"] == s.embedding.model and s.embedding.revision != "main":
        content["revision"] = s.embedding.revision
    return content


def _backbone(s: Settings, e: Experiment) -> Content:
    settings = s.backbones[e.backbone]
    revisions = {"path": "revision", "motion_adapter": "motion_adapter_revision"}
    content = settings.model_dump(exclude={*revisions, *revisions.values(), *WITHOUT_EFFECT})
    # What is as it always was is left out, so that no version moves for a setting that nobody uses.
    if not settings.vae_tiling:
        del content["vae_tiling"]
    if settings.makes_images:
        del content["fps"]
        content["encoding"] = settings.suffix
    for name, revision in revisions.items():
        if (path := getattr(settings, name)) is None:
            continue
        content["model" if name == "path" else name] = found = _content(s, path)
        if found == path and (state := getattr(settings, revision)) != "main":
            content[revision] = state
    return content


def _evaluation(s: Settings, e: Experiment) -> Content:
    named = [one for one in e.evaluation.features if one[0] != "label" and one[1] is not None]
    # What is as it always was is left out, so that no version moves for a setting that nobody uses.
    usual = {"metrics"} if e.evaluation.metrics == PAPER else set()
    vbench = [_content(s, path) for path in e.evaluation.vbench]
    return {
        "label": e.evaluation.features.label,
        "networks": {role: _network(s, network) for role, network in named},
        "benchmark": _benchmark(s, e.evaluation.benchmark),
        **e.evaluation.model_dump(exclude={"batch_size", "features", "benchmark", "vbench"} | usual),
        **({"vbench": vbench} if vbench else {}),
    }


def _network(s: Settings, network: str | NetworkSettings) -> str | Content:
    """The content of a network's files, with what pins it where it is pinned."""
    if isinstance(network, str):
        return _content(s, network)
    return {
        "content": _content(s, network.path),
        **network.model_dump(exclude={"path"}, exclude_defaults=True),
    }


def _benchmark(s: Settings, benchmark: BenchmarkSettings | None) -> Content | None:
    from onaspr_core.evaluation.benchmark_lists import as_pool

    if benchmark is None:
        return None
    pool = as_pool(benchmark)
    listing = _listing(s, pool) if pool else _content(s, benchmark.path)
    # What is as it always was is left out, so that no version moves for a setting that nobody uses.
    usual = {name for name in ("seed", "size") if not getattr(benchmark, name)}
    return {**benchmark.model_dump(exclude=usual), "listing": listing}


def _prompts(s: Settings, e: Experiment) -> Content:
    if e.prompts != PROMPTS_OF_BENCHMARK:
        return {"file": _content(s, e.prompts)}
    benchmark = _benchmark(s, e.evaluation.benchmark) or {}
    return {"benchmark": {name: value for name, value in benchmark.items() if name not in _OF_VIDEOS}}
