"""What a second search computes and moves, and when stored neighbours are those of the present."""

from pathlib import Path
from typing import Any

import pytest

from onaspr_core.errors import UserError
from onaspr_core.pool.manifest import listed_pairs
from onaspr_core.prompts import ingest_prompts
from onaspr_core.retrieval.index import embed_captions
from onaspr_core.retrieval.neighbours import find_neighbours, neighbours_of
from onaspr_core.settings import ReferenceSettings
from tests.core.retrieval.asking import NEAR, POOL, PROMPTS, Ask, Open, captions_of
from tests.processes import run_python


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
    run = run_python(again, tmp_path)
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
    run = run_python(read, tmp_path)
    assert run.stdout.split("\n")[:2] == ["2 ()", "[]"], run.stderr
