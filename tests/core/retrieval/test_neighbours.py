import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onaspr_core.compute import Outcome
from onaspr_core.errors import UserError
from onaspr_core.pool.manifest import listed_pairs, pool_rank
from onaspr_core.prompts import ingest_prompts
from onaspr_core.retrieval import neighbours
from onaspr_core.retrieval.embedder import embedder
from onaspr_core.retrieval.index import embed_captions
from onaspr_core.retrieval.neighbours import (
    Reference,
    find_neighbours,
    neighbours_of,
    noise_neighbours_of,
)
from onaspr_core.retrieval.references import nearest_clips, searched
from onaspr_core.settings import EvaluationSettings, Experiment, FeatureSettings, ReferenceSettings
from onaspr_core.workspace import Workspace

Open = Callable[..., Workspace]
Ask = Callable[..., tuple[Experiment, Outcome]]
PROMPTS = {"p1": "a dog runs fast", "p2": "a blue bird"}
POOL = {"a.mp4": "a dog runs", "b.mp4": "a blue bird sings", "c.mp4": "a cat sleeps", "d.mp4": "a dog runs"}
NEAR = {f"{i}{j}.mp4": text for i, text in enumerate(PROMPTS.values()) for j in range(5)}


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    """Bring captions and prompts up to date, then find the neighbours of one experiment."""

    def ask_(
        workspace: Workspace,
        prompts: dict[str, str] = PROMPTS,
        pool: str = "all",
        k: int = 2,
        name: str = "e",
    ) -> tuple[Experiment, Outcome]:
        lines = [f"{id_},{text}" for id_, text in prompts.items()]
        (tmp_path / "prompts.csv").write_text("\n".join(["id,prompt", *lines]))
        features = FeatureSettings(label="none", image_classifier="", image_text="", video_classifier="")
        experiment = Experiment(
            name=name,
            pool=pool,
            backbone="none",
            prompts="prompts.csv",
            eta=0.5,
            gamma=0.1,
            references=ReferenceSettings(k=k),
            evaluation=EvaluationSettings(features=features),
        )
        ingest_prompts(workspace, experiment)
        embed_captions(workspace)
        return experiment, find_neighbours(workspace, experiment)

    return ask_


def captions_of(workspace: Workspace, experiment: Experiment) -> dict[str, list[str]]:
    found = neighbours_of(workspace, experiment)
    return {prompt: [reference.caption for reference in references] for prompt, references in found.items()}


def test_references_are_those_of_a_brute_force_search_in_float64(open_pools: Open, ask: Ask) -> None:
    words = ["dog", "cat", "bird", "fish", "runs", "sleeps", "sings", "swims", "red", "blue", "big"]
    random = np.random.default_rng(0)
    captions = {f"{i}.mp4": " ".join(random.choice(words, 4)) for i in range(80)}
    workspace = open_pools(captions)
    prompts = {f"p{i}": " ".join(random.choice(words, 3)) for i in range(12)}
    experiment, outcome = ask(workspace, prompts, k=5)
    assert (outcome.total, outcome.computed) == (12, 12)
    ids = [pair.id for pair in listed_pairs(workspace, "all")]
    vectors = embedder(workspace).encode([captions[id_] for id_ in ids]).astype(np.float64)
    for id_, references in neighbours_of(workspace, experiment).items():
        scores = vectors @ embedder(workspace).encode([prompts[id_]])[0].astype(np.float64)
        # Ranks ascend in `ids`, so a stable sort gives ties to the smaller rank.
        order = np.argsort(-np.round(scores, 12), kind="stable")[:5]
        assert [reference.pair_id for reference in references] == [ids[i] for i in order]
        assert [reference.similarity for reference in references] == pytest.approx(list(scores[order]))


def test_a_reference_says_what_it_is(open_pools: Open, ask: Ask) -> None:
    workspace = open_pools(POOL)
    experiment, outcome = ask(workspace)
    best = neighbours_of(workspace, experiment)["p2"][0]
    pair = next(pair for pair in listed_pairs(workspace, "all") if pair.id == "b.mp4")
    assert (best.pair_id, best.caption, best.clip_key) == ("b.mp4", "a blue bird sings", pair.clip_key)
    assert best.rank_in_pool == pool_rank(5, "b.mp4")
    assert 0 < best.similarity < 1
    assert outcome.preview is not None and "| a blue bird | a blue bird sings |" in outcome.preview.markdown


def test_equal_captions_are_ordered_by_rank(open_pools: Open, ask: Ask) -> None:
    workspace = open_pools(POOL)
    experiment, _ = ask(workspace)
    found = [reference.pair_id for reference in neighbours_of(workspace, experiment)["p1"]]
    assert found == sorted(["a.mp4", "d.mp4"], key=lambda id_: pool_rank(5, id_))


def test_a_second_run_computes_nothing_and_loads_nothing(open_pools: Open, ask: Ask) -> None:
    _, first = ask(open_pools(POOL))
    workspace = open_pools(POOL)
    _, second = ask(workspace)
    assert (first.computed, second.computed, second.reused) == (2, 0, 2)
    assert second.version == first.version
    assert workspace.models.loaded == ()


def test_a_second_run_imports_neither_torch_nor_sentence_transformers(
    open_pools: Open, ask: Ask, tmp_path: Path
) -> None:
    ask(open_pools(POOL))
    (tmp_path / "experiment.json").write_text(ask(open_pools(POOL))[0].model_dump_json())
    (tmp_path / "settings.json").write_text(open_pools(POOL).settings.model_dump_json())
    again = """
import sys
from pathlib import Path
from onaspr_core.pool.clips import make_clips
from onaspr_core.pool.manifest import build_manifest
from onaspr_core.retrieval.index import embed_captions
from onaspr_core.retrieval.neighbours import find_neighbours
from onaspr_core.settings import Experiment, Settings
from onaspr_core.workspace import Workspace
workspace = Workspace(Settings.model_validate_json(Path("settings.json").read_text()))
experiment = Experiment.model_validate_json(Path("experiment.json").read_text())
outcomes = [build_manifest(workspace), make_clips(workspace), embed_captions(workspace)]
outcomes.append(find_neighbours(workspace, experiment))
print(sum(outcome.computed for outcome in outcomes))
print("sentence_transformers" in sys.modules, "torch" in sys.modules)
"""
    run = subprocess.run(
        [sys.executable, "-c", again],
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path(neighbours.__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.stdout.split() == ["0", "False", "False"], run.stderr


def test_clips_that_no_prompt_uses_come_and_go_without_moving_the_version(open_pools: Open, ask: Ask) -> None:
    _, before = ask(open_pools(NEAR))
    workspace = open_pools({**NEAR, "z.mp4": "a train stops"})
    _, after = ask(workspace)
    assert after.computed == 2
    assert after.version == before.version
    assert workspace.models.loaded != () and after.models == ()  # one caption was new, and no prompt


def test_a_new_caption_moves_the_prompts_that_it_touches_and_no_other(open_pools: Open, ask: Ask) -> None:
    workspace = open_pools(POOL)
    experiment, before = ask(workspace, k=1)
    was = neighbours_of(workspace, experiment)
    workspace = open_pools({**POOL, "c.mp4": "a blue bird"})
    experiment, after = ask(workspace, k=1)
    now = neighbours_of(workspace, experiment)
    assert now["p1"] == was["p1"]
    assert now["p2"][0].pair_id == "c.mp4"
    assert now["p2"][0].similarity == pytest.approx(1.0)
    assert after.version != before.version


def test_a_new_clip_behind_a_reference_moves_the_version(open_pools: Open, ask: Ask) -> None:
    _, before = ask(open_pools(POOL))
    workspace = open_pools(POOL, changed=["b.mp4"])
    experiment, after = ask(workspace)
    assert after.version != before.version
    pair = next(pair for pair in listed_pairs(workspace, "all") if pair.id == "b.mp4")
    assert neighbours_of(workspace, experiment)["p2"][0].clip_key == pair.clip_key


def test_a_new_prompt_is_one_item_and_a_removed_one_is_gone(open_pools: Open, ask: Ask, model: Any) -> None:
    workspace = open_pools(POOL)
    ask(workspace)
    model.encoded.clear()
    _, outcome = ask(workspace, {"p2": PROMPTS["p2"], "p3": "a cat"})
    assert (outcome.total, outcome.computed, outcome.reused) == (2, 1, 1)
    assert model.encoded == ["a cat"]
    experiment, outcome = ask(workspace, {"p3": "a cat"})
    assert outcome.computed == 0
    assert list(neighbours_of(workspace, experiment)) == ["p3"]
    with workspace.catalog.read() as connection:
        assert connection.execute("select distinct prompt_id from neighbours").fetchall() == [("p3",)]


def test_k_may_be_zero_or_larger_than_the_pool(open_pools: Open, ask: Ask) -> None:
    workspace = open_pools(POOL)
    for k, expected in ((0, 1), (3, 3), (9, 4)):
        experiment, _ = ask(workspace, k=k)
        assert {len(references) for references in neighbours_of(workspace, experiment).values()} == {expected}


def test_a_change_of_k_up_to_five_searches_nothing_and_moves_nothing(open_pools: Open, ask: Ask) -> None:
    words = ["red", "big", "old", "wet", "shy", "fat", "sad"]
    captions = {f"{i}.mp4": f"a {word} dog" for i, word in enumerate(words)}
    workspace = open_pools(captions)
    experiment, before = ask(workspace, k=5)
    five = captions_of(workspace, experiment)["p1"]
    for k in (0, 1, 2, 3, 4):
        experiment, outcome = ask(workspace, k=k)
        assert (outcome.computed, outcome.version) == (0, before.version)
        assert captions_of(workspace, experiment)["p1"] == five[: max(k, 1)]
    experiment, outcome = ask(workspace, k=6)
    assert outcome.computed == 2
    assert captions_of(workspace, experiment)["p1"][:5] == five


def test_experiments_and_pools_do_not_mix(open_pools: Open, ask: Ask) -> None:
    workspace = open_pools(POOL, all=None, one=1)
    large, _ = ask(workspace, k=9, name="large")
    small, _ = ask(workspace, pool="one", k=9, name="small")
    (only,) = listed_pairs(workspace, "one")
    assert set(captions_of(workspace, small)["p1"]) == {only.caption}
    assert len(captions_of(workspace, large)["p1"]) == 4


def test_an_empty_pool_is_an_error_that_says_where_to_look(open_pools: Open, ask: Ask) -> None:
    with pytest.raises(UserError, match="pool all is empty"):
        ask(open_pools({}))


def test_neighbours_that_are_not_made_yet_are_asked_for(open_pools: Open, ask: Ask) -> None:
    workspace = open_pools(POOL)
    experiment, _ = ask(workspace)
    (workspace.settings.base / "prompts.csv").write_text("id,prompt\np1,a dog\np9,a fox\n")
    ingest_prompts(workspace, experiment)
    with pytest.raises(UserError, match=r"p1 among them.*materialize neighbours"):
        neighbours_of(workspace, experiment)
    (workspace.settings.base / "prompts.csv").write_text(f"id,prompt\np1,{PROMPTS['p1']}\np9,a fox\n")
    ingest_prompts(workspace, experiment)
    with pytest.raises(UserError, match=r"1 prompt\(s\), p9 among them"):
        neighbours_of(workspace, experiment)


@pytest.mark.parametrize("changed", ["text", "captions", "clips", "pool", "k", "model"])
def test_neighbours_of_an_earlier_prompt_pool_k_or_model_are_not_taken_for_the_present_ones(
    changed: str, open_pools: Open, ask: Ask
) -> None:
    workspace = open_pools(POOL, all=None, other=None)
    experiment, _ = ask(workspace)
    assert list(neighbours_of(workspace, experiment)) == ["p1", "p2"]
    base = workspace.settings.base
    if changed == "text":
        (base / "prompts.csv").write_text("id,prompt\np1,a cat\np2,a blue bird\n")
        ingest_prompts(workspace, experiment)
    elif changed == "captions":
        workspace = open_pools({**POOL, "c.mp4": "a blue bird"}, all=None, other=None)
        embed_captions(workspace)
    elif changed == "clips":
        workspace = open_pools(POOL, changed=["b.mp4"], all=None, other=None)
        embed_captions(workspace)
    elif changed == "pool":
        # Another pool's version differs even where its rows read the same: they are other rows.
        experiment = experiment.model_copy(update={"pool": "other"})
    elif changed == "k":
        experiment = experiment.model_copy(update={"references": ReferenceSettings(k=6)})
    else:
        (base / "model/weights").write_text("other weights")
        embed_captions(workspace)
    with pytest.raises(UserError, match=r"(p1|p2) among them.*materialize neighbours"):
        neighbours_of(workspace, experiment)
    find_neighbours(workspace, experiment)
    assert list(neighbours_of(workspace, experiment)) == ["p1", "p2"]


def test_reading_neighbours_loads_no_model_and_imports_no_lancedb(
    open_pools: Open, ask: Ask, tmp_path: Path
) -> None:
    workspace = open_pools(POOL)
    experiment, _ = ask(workspace)
    (tmp_path / "experiment.json").write_text(experiment.model_dump_json())
    (tmp_path / "settings.json").write_text(workspace.settings.model_dump_json())
    read = """
import sys
from pathlib import Path
from onaspr_core.retrieval.neighbours import neighbours_of
from onaspr_core.settings import Experiment, Settings
from onaspr_core.workspace import Workspace
workspace = Workspace(Settings.model_validate_json(Path("settings.json").read_text()))
experiment = Experiment.model_validate_json(Path("experiment.json").read_text())
print(len(neighbours_of(workspace, experiment)), workspace.models.loaded)
print([name for name in ("lancedb", "sentence_transformers", "torch") if name in sys.modules])
"""
    run = subprocess.run(
        [sys.executable, "-c", read],
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path(neighbours.__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.stdout.split("\n")[:2] == ["2 ()", "[]"], run.stderr


def test_noise_is_borrowed_of_distinct_clips_whatever_k_is(open_pools: Open, ask: Ask) -> None:
    captions = {f"{i}.mp4": f"{text} {i % 3}" for i, text in enumerate([*PROMPTS.values()] * 4)}
    workspace = open_pools(captions, changed=[name for name in captions if int(name[:-4]) % 2])
    experiment, _ = ask(workspace, k=1)
    several = experiment.changed(inversion={"neighbours": 2})
    with pytest.raises(UserError, match="materialize neighbours"):
        noise_neighbours_of(workspace, several)
    before = neighbours_of(workspace, experiment)
    find_neighbours(workspace, several)
    assert neighbours_of(workspace, several) == before, "the references stay those of k"
    for prompt_id, (best, other) in noise_neighbours_of(workspace, several).items():
        assert best == before[prompt_id][0]
        assert other.clip_key != best.clip_key and other.similarity <= best.similarity


def test_clips_are_counted_once_and_best_first() -> None:
    found = [Reference(f"p{i}", clip, "c", 1 - i / 10, i) for i, clip in enumerate("aabacb")]
    assert [one.pair_id for one in nearest_clips(found, 2)] == ["p0", "p2"]
    assert [one.pair_id for one in nearest_clips(found, 9)] == ["p0", "p2", "p4"]


@pytest.mark.parametrize(("k", "count", "wanted"), [(2, 1, 5), (7, 1, 7), (2, 2, 10), (12, 2, 12)])
def test_a_search_is_as_long_as_references_and_noise_need(
    open_pools: Open, ask: Ask, k: int, count: int, wanted: int
) -> None:
    experiment, _ = ask(open_pools(NEAR), k=k)
    assert searched(experiment.changed(inversion={"neighbours": count})) == wanted
    assert searched(experiment.changed(inversion={"neighbours": count}), for_noise=False) == max(k, 5)
