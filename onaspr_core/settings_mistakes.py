"""Mistakes of a settings file that no single value shows: names without a table, files that are not there.

The file is read as it stands, so that these are told together with values that are wrong in themselves.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from onaspr_core.backbones.settings import OF_IMAGES
from onaspr_core.errors import UserError
from onaspr_core.evaluation.published import how_to_get
from onaspr_core.evaluation.settings import OF_VIDEOS, PROMPTS_OF_BENCHMARK
from onaspr_core.folders import is_url
from onaspr_core.paths import is_a_place, resolve
from onaspr_core.pool.settings import PoolSettings

DEFAULT_SIZE = PoolSettings.model_fields["size"].default


def mistakes_in(values: dict[str, Any], base: Path) -> list[str]:
    """Return a line for each mistake, with its key and what is allowed.

    Args:
        values: What the file says.
        base: The folder that relative paths start from.
    """
    mistakes = [f"{key}: is no integer of 64 bits" for key in _too_long(values)]
    mistakes += _keys_in_root(values) + _unknown_names(values)
    mistakes += _too_large(values) + _unfit_features(values)
    return mistakes + _missing_files(values, base)


def tables(values: dict[str, Any], section: str) -> list[tuple[str, dict[str, Any]]]:
    """Return the named tables of a section as they stand in the file, whatever else is wrong with it."""
    tables = values.get(section)
    return [(n, t) for n, t in tables.items() if isinstance(t, dict)] if isinstance(tables, dict) else []


def allowed(names: Iterable[str]) -> str:
    """Say which names may be chosen."""
    return f"allowed: {', '.join(sorted(names)) or 'none is defined'}"


def _keys_in_root(values: dict[str, Any]) -> list[str]:
    """Whoever may read the settings, logs and reports shall not find keys there."""
    store = values.get("store")
    root = store.get("root") if isinstance(store, dict) else None
    if isinstance(root, str) and is_url(root) and "@" in urlsplit(root).netloc:
        return ["store.root: names a user or a key; leave it out, keys come from the environment alone"]
    return []


def _too_long(value: Any, key: str = "") -> Iterator[str]:
    """The keys of integers that TOML does not know, and neither do DuckDB and PyTorch."""
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        yield key
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, one in inner:
        yield from _too_long(one, f"{key}.{name}" if key else str(name))


def _unknown_names(values: dict[str, Any]) -> list[str]:
    mistakes = []
    for name, experiment in tables(values, "experiments"):
        for key, section in (("pool", "pools"), ("backbone", "backbones")):
            known = [known for known, _ in tables(values, section)]
            chosen = experiment.get(key)
            if isinstance(chosen, str) and chosen not in known:
                mistakes.append(f"experiments.{name}.{key}: unknown {key} {chosen!r}; {allowed(known)}")
    studied = values.get("studies")
    chosen = studied.get("experiments") if isinstance(studied, dict) else None
    names = [name for name, _ in tables(values, "experiments")]
    for one in chosen if isinstance(chosen, list) else []:
        if isinstance(one, str) and one not in names:
            mistakes.append(f"studies.experiments: unknown experiment {one!r}; {allowed(names)}")
    return mistakes


def _too_large(values: dict[str, Any]) -> list[str]:
    """An experiment borrows from no more of a pool than there is."""
    pools, mistakes = dict(tables(values, "pools")), []
    for name, experiment in tables(values, "experiments"):
        pool, wanted = experiment.get("pool"), experiment.get("pool_size")
        size = pools[pool].get("size", DEFAULT_SIZE) if isinstance(pool, str) and pool in pools else None
        if isinstance(wanted, int) and isinstance(size, int) and wanted > size:
            mistakes.append(
                f"experiments.{name}.pool_size: {wanted} is more than pools.{pool}.size = {size}; "
                "make the pool larger, or leave pool_size out"
            )
    return mistakes


def _unfit_features(values: dict[str, Any]) -> list[str]:
    """Videos are seen by a video classifier, and images by no network of videos."""
    mistakes = []
    backbones = dict(tables(values, "backbones"))
    for name, experiment in tables(values, "experiments"):
        features = dict(tables(experiment, "evaluation")).get("features")
        chosen = experiment.get("backbone")
        if features is None or not isinstance(chosen, str) or chosen not in backbones:
            continue
        where, told = f"experiments.{name}.evaluation.features", backbones[chosen]
        images = told.get("frames") == 1 or told.get("family") in OF_IMAGES
        if not images and "video_classifier" not in features:
            mistakes.append(f"{where}.video_classifier: missing; backbone {chosen} makes videos")
        mistakes += [
            f"{where}.{network}: backbone {chosen} makes images, of one frame; remove it"
            for network in OF_VIDEOS
            if images and network in features
        ]
    return mistakes


def _missing_files(values: dict[str, Any], base: Path) -> list[str]:
    models: list[tuple[str, Any]] = []
    named: list[tuple[str, Any]] = []
    remedies: dict[str, str] = {}
    if isinstance(embedding := values.get("embedding"), dict):
        models.append(("embedding.model", embedding.get("model")))
    for name, backbone in tables(values, "backbones"):
        models += [(f"backbones.{name}.{key}", backbone.get(key)) for key in ("path", "motion_adapter")]
    for name, pool in tables(values, "pools"):
        named += [(f"pools.{name}.{key}", pool.get(key)) for key in ("path", "videos", "takedown")]
    for name, experiment in tables(values, "experiments"):
        if (prompts := experiment.get("prompts")) != PROMPTS_OF_BENCHMARK:
            named.append((f"experiments.{name}.prompts", prompts))
        for _, benchmark in [t for t in tables(experiment, "evaluation") if t[0] == "benchmark"]:
            where = f"experiments.{name}.evaluation.benchmark"
            files = {f"{where}.{key}": benchmark.get(key) for key in ("path", "videos")}
            named += files.items()
            if remedy := how_to_get(benchmark.get("format")):
                remedies |= dict.fromkeys(files, f"; {remedy}")
        named += _vbench_files(name, experiment)
        for _, features in [t for t in tables(experiment, "evaluation") if t[0] == "features"]:
            networks = [(key, _path_of(network)) for key, network in features.items() if key != "label"]
            models += [(f"experiments.{name}.evaluation.features.{key}", path) for key, path in networks]
    named += [(key, path) for key, path in models if isinstance(path, str) and is_a_place(path)]
    missing = {key: _missing_file(key, path, base) for key, path in named if isinstance(path, str)}
    return [line + remedies.get(key, "") for key, line in missing.items() if line]


def _vbench_files(name: str, experiment: dict[str, Any]) -> list[tuple[str, Any]]:
    evaluation = experiment.get("evaluation")
    files = evaluation.get("vbench") if isinstance(evaluation, dict) else None
    listed = files if isinstance(files, list) else []
    return [(f"experiments.{name}.evaluation.vbench.{i}", path) for i, path in enumerate(listed)]


def _path_of(network: Any) -> Any:
    """The path of a network, whether it stands alone or in a table."""
    return network.get("path") if isinstance(network, dict) else network


def _missing_file(key: str, path: str, base: Path) -> str:
    try:
        found = resolve(path, base)
        if is_url(found) or Path(found).exists() or any(Path("/").glob(found.lstrip("/"))):
            return ""
    except UserError as problem:
        return f"{key}: {problem}"
    # Such as a name that is too long, or `**` beside other signs.
    except (OSError, ValueError, NotImplementedError) as problem:
        return f"{key}: {path!r} is no path: {problem}"
    return f"{key}: {path!r} does not exist (looked for {found})"
