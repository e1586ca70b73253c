"""Captions that say the same as a benchmark's: told, and out of the index where the pool refuses them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock, Timeout

from onaspr_core.pool import leakage
from onaspr_core.pool.leakage import near_pairs
from onaspr_core.pool.manifest import build_manifest, pool_pairs
from onaspr_core.retrieval import index, near_captions
from onaspr_core.retrieval.embedder import embedder
from onaspr_core.retrieval.index import embed_captions
from onaspr_core.retrieval.table import CaptionTable
from onaspr_core.retrieval.versions import CaptionState, caption_state, store_states
from onaspr_core.settings import BenchmarkSettings, EvaluationSettings, Experiment, FeatureSettings
from onaspr_core.workspace import Workspace

Open = Callable[..., Workspace]
CAPTIONS = {"a.mp4": "a dog runs fast", "b.mp4": "a cat sleeps", "c.mp4": "a bird sings"}


@pytest.fixture
def open_world(open_pools: Open, tmp_path: Path) -> Callable[[str], Workspace]:
    """Two pools of three pairs; the benchmark of the first one's experiment has the words of one caption."""
    write_benchmark(tmp_path, "fast runs a dog", "a fish")
    features = FeatureSettings(label="x", image_classifier="x", image_text="x", video_classifier="x")
    benchmark = BenchmarkSettings(path="benchmark.csv", videos=".")
    experiment = Experiment(
        name="e",
        pool="one",
        backbone="b",
        prompts="p",
        eta=0.5,
        gamma=0.2,
        evaluation=EvaluationSettings(features=features, benchmark=benchmark),
    )

    def open_(rule: str) -> Workspace:
        settings = open_pools(CAPTIONS, one=None, two=None).settings
        pools = {
            name: pool.model_copy(update={"benchmark_items": rule}) for name, pool in settings.pools.items()
        }
        workspace = Workspace(settings.model_copy(update={"pools": pools, "experiments": {"e": experiment}}))
        build_manifest(workspace)
        return workspace

    return open_


def write_benchmark(folder: Path, *captions: str) -> None:
    lines = [f"{number},,,p,{caption}" for number, caption in enumerate(captions)]
    (folder / "benchmark.csv").write_text(
        "\n".join(["videoid,contentUrl,duration,page_dir,name", *lines]) + "\n"
    )


def held(workspace: Workspace, pool: str) -> list[str]:
    table = CaptionTable(workspace.lance_path, embedder(workspace).fingerprint, pool)
    return sorted(pair["id"] for pairs in table.rows()["pairs"].to_pylist() for pair in pairs)


def test_where_they_are_only_told_they_stay(open_world: Callable[[str], Workspace]) -> None:
    workspace = open_world("report")
    outcome = embed_captions(workspace)
    assert [leak[:5] for leak in near_pairs(workspace)] == [
        ("one", "a.mp4", "near caption", "benchmark.csv", "0")
    ]
    assert outcome.facts["benchmark_near_captions"] == 1
    assert outcome.preview is not None and "a.mp4" in outcome.preview.markdown
    assert held(workspace, "one") == [*CAPTIONS]


def test_where_they_are_refused_they_leave_the_pool_and_its_index_and_stay_out(
    open_world: Callable[[str], Workspace], model: object
) -> None:
    workspace = open_world("refuse")
    first = embed_captions(workspace)
    assert (held(workspace, "one"), held(workspace, "two")) == (["b.mp4", "c.mp4"], [*CAPTIONS])
    assert sorted(pair.id for pair in pool_pairs(workspace, "one")) == ["b.mp4", "c.mp4"]
    assert caption_state(workspace, "one", embedder(workspace).fingerprint).pairs == 2
    model.encoded.clear()  # type: ignore[attr-defined]
    workspace = open_world("refuse")
    second = embed_captions(workspace)
    assert (second.computed, second.models, second.version) == (0, (), first.version)
    assert model.encoded == []  # type: ignore[attr-defined]


def test_one_that_the_benchmark_has_no_more_comes_back(
    open_world: Callable[[str], Workspace], tmp_path: Path
) -> None:
    workspace = open_world("refuse")
    before = build_manifest(workspace)
    embed_captions(workspace)
    write_benchmark(tmp_path, "a fish", "a whale")
    workspace = open_world("refuse")
    assert build_manifest(workspace).version != before.version, "so that embeddings are asked for again"
    embed_captions(workspace)
    assert held(workspace, "one") == [*CAPTIONS]
    assert near_pairs(workspace) == []


def test_a_rule_that_changes_moves_the_version_that_embeddings_go_by(
    open_world: Callable[[str], Workspace],
) -> None:
    told = build_manifest(open_world("report")).version
    workspace = open_world("refuse")
    assert build_manifest(workspace).version != told
    embed_captions(workspace)
    workspace = open_world("report")
    assert build_manifest(workspace).version == told
    embed_captions(workspace)
    assert held(workspace, "one") == [*CAPTIONS]


def test_what_another_model_refused_counts_no_more(
    open_world: Callable[[str], Workspace], tmp_path: Path, model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = open_world("refuse")
    embed_captions(workspace)
    assert held(workspace, "one") == ["b.mp4", "c.mp4"]
    (tmp_path / "model/weights").write_text("other weights")
    embed_captions(workspace)
    assert held(workspace, "one") == ["b.mp4", "c.mp4"], "the other model says so too"
    monkeypatch.setattr(model, "encode", lambda texts, **_: np.stack([model.word(text) for text in texts]))
    (tmp_path / "model/weights").write_text("weights for which the order of words counts")
    embed_captions(workspace)
    assert held(workspace, "one") == [*CAPTIONS]
    assert near_pairs(workspace) == []


@pytest.mark.parametrize("least", [0.9, 1.1])
def test_what_another_cosine_refused_counts_no_more(
    open_world: Callable[[str], Workspace], monkeypatch: pytest.MonkeyPatch, least: float
) -> None:
    workspace = open_world("refuse")
    embed_captions(workspace)
    monkeypatch.setattr(near_captions, "NEAR", least)
    monkeypatch.setattr(leakage.near_captions, "__defaults__", (least,))
    embed_captions(workspace)
    assert held(workspace, "one") == ([*CAPTIONS] if least > 1 else ["b.mp4", "c.mp4"])


def test_a_near_caption_that_is_withdrawn_is_forgotten(open_world: Callable[[str], Workspace]) -> None:
    workspace = open_world("refuse")
    embed_captions(workspace)
    told = "select caption from near_captions"
    assert workspace.catalog.rows(told) == [("a dog runs fast",)]
    (workspace.settings.base / "takedown.txt").write_text("a.mp4")
    for name, pool in workspace.settings.pools.items():
        workspace.settings.pools[name] = pool.model_copy(update={"takedown": "takedown.txt"})
    build_manifest(workspace)
    embed_captions(workspace)
    assert workspace.catalog.rows(told) == []


def test_facts_are_those_of_all_looks_together(open_world: Callable[[str], Workspace]) -> None:
    outcome = embed_captions(open_world("refuse"))
    # Three rows for each pool; then the refused one goes from the first.
    assert (outcome.computed, outcome.total) == (3, 3)
    assert (outcome.facts["rows_written"], outcome.facts["rows_removed"]) == (6, 1)
    assert outcome.facts["captions_per_second"] == pytest.approx(3 / outcome.seconds)


def test_the_look_is_part_of_the_run_and_at_its_pools_only(
    open_world: Callable[[str], Workspace], monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = open_world("refuse")
    look, looked = near_captions.look_for_near_captions, []

    def locked(workspace: Workspace, encoder: Any, blocks: Any, versions: Any) -> set[str]:
        [lock] = (workspace.catalog.path.parent / "locks").iterdir()
        with pytest.raises(Timeout):
            FileLock(lock).acquire(timeout=0)
        looked.append(set(versions))
        return look(workspace, encoder, blocks, versions)

    def stored(workspace: Workspace, states: Sequence[CaptionState]) -> None:
        store_states(workspace, [*states, states[0]._replace(pool="elsewhere")])

    monkeypatch.setattr(index, "store_states", stored)
    monkeypatch.setattr(index, "look_for_near_captions", locked)
    embed_captions(workspace)
    assert looked and all(pools == {"one", "two"} for pools in looked)
