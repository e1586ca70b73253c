import logging
import signal
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lancedb
import numpy as np
import pytest

from onaspr_core.errors import UserError
from onaspr_core.progress import logger
from onaspr_core.retrieval import index, vector_index
from onaspr_core.retrieval.embedder import embedder
from onaspr_core.retrieval.index import embed_captions
from onaspr_core.retrieval.table import CaptionTable
from onaspr_core.retrieval.versions import caption_state
from onaspr_core.workspace import Workspace
from tests.processes import run_python

Open = Callable[..., Workspace]
ANIMALS = {"a.mp4": "a dog runs", "b.mp4": "a cat sleeps", "c.mp4": "a bird sings", "d.mp4": "a dog runs"}

OTHERS = {"a.mp4": "a cat sleeps", "b.mp4": "a dog runs", "c.mp4": "a fish swims", "e.mp4": "a dog runs"}
KILLED_WHILE_WRITING = """
import os, signal
from pathlib import Path
import lancedb.merge
import numpy as np
import pyarrow as pa
from onaspr_core.retrieval import embedder
from onaspr_core.retrieval.index import embed_captions
from onaspr_core.settings import Settings
from onaspr_core.workspace import Workspace

def one_row_and_the_end(rows):
    yield from rows.slice(0, 1).to_batches()
    os.kill(os.getpid(), signal.SIGKILL)

merge = lancedb.merge.LanceMergeInsertBuilder
execute = merge.execute
merge.execute = lambda self, rows: execute(
    self, pa.RecordBatchReader.from_batches(rows.schema, one_row_and_the_end(rows))
)
class Model:
    preprocess = lambda self, texts: {}
    encode = lambda self, texts, **_: np.ones((len(texts), 16), np.float32)
embedder.load_sentence_transformer = lambda path, revision: Model()
embed_captions(Workspace(Settings.model_validate_json(Path("settings.json").read_text())))
"""


def table_of(workspace: Workspace, pool: str = "all") -> CaptionTable:
    return CaptionTable(workspace.lance_path, embedder(workspace).fingerprint, pool)


def content(workspace: Workspace) -> dict[tuple[str, str], tuple[object, ...]]:
    """Everything in the tables, by pool and pair."""
    held: dict[tuple[str, str], tuple[object, ...]] = {}
    for pool in workspace.settings.pools:
        table = table_of(workspace, pool)
        rows = {row["_rowid"]: row for row in table.texts().to_pylist()}
        for block in table.blocks():
            for id_, rank, vector in zip(block.row_ids.tolist(), block.ranks, block.vectors, strict=True):
                assert rank == min(pair["rank"] for pair in rows[id_]["pairs"])
                for pair in rows[id_]["pairs"]:
                    own = (pair["rank"], pair["clip"], rows[id_]["caption"], rows[id_]["key"])
                    held[pool, pair["id"]] = (*own, vector.tobytes())
    return held


def test_equal_captions_are_embedded_once_in_all_pools_together(open_pools: Open, model: Any) -> None:
    workspace = open_pools(ANIMALS, one=None, two=None)
    outcome = embed_captions(workspace)
    assert (outcome.total, outcome.computed, outcome.reused) == (3, 3, 0)
    assert outcome.facts["pairs"] == 8
    assert sorted(model.encoded) == ["a bird sings", "a cat sleeps", "a dog runs"]
    assert outcome.models
    rows = content(workspace)
    assert len(rows) == 8
    assert rows["one", "a.mp4"][-1] == rows["two", "d.mp4"][-1]


def test_the_pairs_of_a_caption_are_one_row_by_rank(open_pools: Open) -> None:
    workspace = open_pools(ANIMALS)
    embed_captions(workspace)
    (row,) = (row for row in table_of(workspace).rows().to_pylist() if row["caption"] == "a dog runs")
    ranks = [pair["rank"] for pair in row["pairs"]]
    assert {pair["id"] for pair in row["pairs"]} == {"a.mp4", "d.mp4"}
    assert ranks == sorted(ranks) and row["rank"] == ranks[0]


def test_a_second_run_embeds_nothing_loads_nothing_and_writes_nothing(open_pools: Open) -> None:
    first = embed_captions(open_pools(ANIMALS))
    workspace = open_pools(ANIMALS)
    version = table_of(workspace).lance.version
    second = embed_captions(workspace)
    assert (second.computed, second.reused, second.models) == (0, 3, ())
    assert second.version == first.version
    assert table_of(workspace).lance.version == version


def assert_finished_as_a_rebuild(
    kept: Workspace, rebuilt: Workspace, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Run once more; the tables must then be, to the bit, those of a run that starts from nothing."""
    version = embed_captions(kept).version
    rows = content(kept)
    rebuilt.lance_path = str(tmp_path_factory.mktemp("rebuilt"))
    assert embed_captions(rebuilt).version == version
    assert content(rebuilt) == rows


def test_new_changed_and_removed_captions_end_as_a_rebuild_would(
    open_pools: Open, model: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    before = embed_captions(open_pools(ANIMALS))
    model.encoded.clear()
    workspace = open_pools(OTHERS)
    after = embed_captions(workspace)
    assert model.encoded == ["a fish swims"]
    assert (after.total, after.computed, after.reused) == (3, 1, 2)
    assert (after.facts["rows_written"], after.facts["rows_removed"]) == (3, 1)
    assert after.version != before.version
    assert_finished_as_a_rebuild(workspace, open_pools(OTHERS), tmp_path_factory)
    assert {pair_id for _, pair_id in content(workspace)} == set(OTHERS)


def test_a_caption_that_moves_to_another_pool_takes_its_vector_along(open_pools: Open, model: Any) -> None:
    embed_captions(open_pools(ANIMALS, large=4, small=1))
    model.encoded.clear()
    assert embed_captions(open_pools(ANIMALS, large=1, small=4)).computed == 0
    assert embed_captions(open_pools(ANIMALS, renamed=4)).computed == 0
    assert model.encoded == []


def test_a_new_clip_under_an_old_caption_moves_the_version_and_embeds_nothing(open_pools: Open) -> None:
    before = embed_captions(open_pools(ANIMALS))
    after = embed_captions(open_pools(ANIMALS, changed=["b.mp4"]))
    assert after.computed == 0
    assert after.facts["rows_written"] == 1
    assert after.version != before.version


def test_another_model_embeds_everything_and_the_old_table_goes(open_pools: Open) -> None:
    workspace = open_pools(ANIMALS)
    embed_captions(workspace)
    (workspace.settings.base / "model/weights").write_text("other weights")
    assert embed_captions(workspace).computed == 3
    assert lancedb.connect(workspace.lance_path).list_tables().tables == [table_of(workspace).name]


def test_only_pairs_whose_clip_is_ready_are_in_the_index(open_pools: Open) -> None:
    workspace = open_pools({**ANIMALS, "empty.mp4": ""})
    embed_captions(workspace)
    assert {pair_id for _, pair_id in content(workspace)} == set(ANIMALS)


def test_a_pool_that_becomes_empty_leaves_no_row(open_pools: Open) -> None:
    embed_captions(open_pools(ANIMALS))
    workspace = open_pools({})
    assert embed_captions(workspace).facts["rows_removed"] == 3
    assert content(workspace) == {}


def test_what_was_written_before_a_run_was_ended_is_not_embedded_again(
    open_pools: Open, model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "CAPTIONS_PER_WRITE", 1)
    encode = model.encode

    def end_at_the_third(texts: Sequence[str], **options: Any) -> np.ndarray:
        if len(model.encoded) == 2:
            raise KeyboardInterrupt
        return np.asarray(encode(texts, **options))

    monkeypatch.setattr(model, "encode", end_at_the_third)
    workspace = open_pools(ANIMALS)
    with pytest.raises(KeyboardInterrupt):
        embed_captions(workspace)
    with pytest.raises(UserError, match="materialize caption_embeddings"):
        caption_state(workspace, "all", embedder(workspace).fingerprint)
    monkeypatch.setattr(model, "encode", encode)
    outcome = embed_captions(open_pools(ANIMALS))
    assert (outcome.total, outcome.computed) == (3, 1)
    assert {pair_id for _, pair_id in content(workspace)} == set(ANIMALS)


@pytest.mark.parametrize("step", ["upsert", "delete", "keep_up", "store_states", "drop_others"])
def test_a_run_that_ends_at_any_step_leaves_what_was_finished_and_the_next_finishes(
    step: str, open_pools: Open, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    embed_captions(open_pools(ANIMALS))
    workspace = open_pools(OTHERS)
    fingerprint = embedder(workspace).fingerprint
    before = caption_state(workspace, "all", fingerprint)

    def end(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as ended:
        ended.setattr(CaptionTable if step in ("upsert", "delete") else index, step, end)
        with pytest.raises(KeyboardInterrupt):
            embed_captions(workspace)
    state = caption_state(workspace, "all", fingerprint)
    if step != "drop_others":
        assert state == before
        held = CaptionTable(workspace.lance_path, fingerprint, "all", state.table_version).rows()
        assert set(held["caption"].to_pylist()) == set(ANIMALS.values())
    assert_finished_as_a_rebuild(workspace, open_pools(OTHERS), tmp_path_factory)


def test_a_run_that_is_killed_while_it_writes_loses_no_row(
    open_pools: Open, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    embed_captions(open_pools(ANIMALS))
    workspace = open_pools(OTHERS)
    before = content(workspace)
    (tmp_path / "settings.json").write_text(workspace.settings.model_dump_json())
    killed = run_python(KILLED_WHILE_WRITING, tmp_path)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert content(workspace) == before
    assert_finished_as_a_rebuild(workspace, open_pools(OTHERS), tmp_path_factory)


def test_of_two_runs_at_once_the_second_waits_and_finds_the_work_done(
    open_pools: Open, model: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    workspaces = [open_pools(ANIMALS), open_pools(ANIMALS)]
    encoding, waiting = threading.Event(), threading.Event()
    encode = model.encode

    def encode_when_the_other_waits(texts: Sequence[str], **options: Any) -> np.ndarray:
        encoding.set()
        assert waiting.wait(60)
        return np.asarray(encode(texts, **options))

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "waiting" in record.getMessage():
                waiting.set()

    monkeypatch.setattr(model, "encode", encode_when_the_other_waits)
    caplog.set_level(logging.INFO, logger.name)
    listener, outcomes = Listener(), []
    logger.addHandler(listener)
    try:
        first = threading.Thread(target=lambda: outcomes.append(embed_captions(workspaces[0])))
        first.start()
        assert encoding.wait(60)
        second = embed_captions(workspaces[1])
        first.join()
    finally:
        logger.removeHandler(listener)
    assert (outcomes[0].computed, second.computed, second.reused) == (3, 0, 3)
    assert second.version == outcomes[0].version


def test_the_facts_tell_of_the_index(open_pools: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    assert embed_captions(open_pools(ANIMALS)).facts["vector_index"] == {"all": "none"}
    monkeypatch.setattr(vector_index, "PAYS_FROM", 3)
    facts = embed_captions(open_pools(ANIMALS)).facts
    assert facts["vector_index"] == {"all": "3 captions in 1 part(s), built on 3"}
    assert (facts["captions_indexed"], facts["captions_unindexed"]) == (3, 0)


def test_a_quote_in_a_key_is_only_text(tmp_path: Path) -> None:
    table = CaptionTable(str(tmp_path), "f", "p")
    odd, other = "o'clock' or 'a' = 'a", "other"
    pairs = [[{"rank": rank, "id": "p", "clip": "c"}] for rank in (1, 2)]
    rows = table.rows().from_pydict(
        {"key": [odd, other], "caption": [odd, other], "rank": [1, 2], "pairs": pairs}, table.rows().schema
    )
    table.upsert(rows, np.eye(2, dtype=np.float32))
    assert set(table.vectors([odd])) == {odd}
    table.delete([odd])
    assert table.rows().to_pylist() == rows.to_pylist()[1:]


def test_what_is_lacking_is_said(open_pools: Open) -> None:
    workspace = open_pools({}, empty=None)
    fingerprint = embedder(workspace).fingerprint
    with pytest.raises(UserError, match="materialize caption_embeddings"):
        caption_state(workspace, "empty", fingerprint)
    embed_captions(workspace)
    with pytest.raises(UserError, match="pool empty is empty"):
        caption_state(workspace, "empty", fingerprint)
