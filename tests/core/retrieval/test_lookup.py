import shutil
from collections.abc import Callable, Iterable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from onaspr_core.artifacts import content_key
from onaspr_core.errors import UserError
from onaspr_core.pool.manifest import pool_rank
from onaspr_core.retrieval import lookup, vector_index
from onaspr_core.retrieval.embedder import embedder
from onaspr_core.retrieval.lookup import CaptionSearch, nearest_pairs
from onaspr_core.retrieval.nearest import Neighbour
from onaspr_core.retrieval.recall import index_recall
from onaspr_core.retrieval.table import ROW, CaptionTable
from onaspr_core.retrieval.vector_index import VectorIndex, keep_up
from onaspr_core.retrieval.versions import CaptionState, store_states
from onaspr_core.settings import EmbeddingSettings, PoolSettings, Settings
from onaspr_core.workspace import Workspace

WORDS = ["dog", "cat", "bird", "fish", "runs", "sleeps", "sings", "swims", "red", "blue", "big", "old"]
PROMPTS = [" ".join(np.random.default_rng(seed).choice(WORDS, 3)) for seed in range(30)]
CASES = [
    " ".join(words)
    for words in product(("a", "A"), ("blue", "Blue"), ("old", "Old"), ("dog", "DOG"), ("ran", "Ran"))
]

Fill = Callable[[Iterable[str]], Workspace]


def random_captions(count: int) -> list[str]:
    random = np.random.default_rng(0)
    return [f"{' '.join(random.choice(WORDS, 4))} {i}" for i in range(count)]


@pytest.fixture
def fill(tmp_path: Path, model: object, monkeypatch: pytest.MonkeyPatch) -> Fill:
    """Give a pool these captions, one pair each, and an index from 500 captions on."""
    monkeypatch.setattr(vector_index, "PAYS_FROM", 500)
    monkeypatch.setattr(lookup, "PAYS_FROM", 500)

    def fill_(captions: Iterable[str]) -> Workspace:
        pool = PoolSettings(format="folder", path="none", videos="none")
        settings = Settings(
            base=tmp_path,
            embedding=EmbeddingSettings(model="./model"),
            pools={"all": pool},
            backbones={},
            experiments={},
        )
        workspace = Workspace(settings)
        encoder = embedder(workspace)
        pairs: dict[str, list[dict[str, object]]] = {}
        for number, caption in enumerate(captions):
            pair = {"rank": pool_rank(0, str(number)), "id": str(number), "clip": f"clip {number}"}
            pairs.setdefault(caption, []).append(pair)
        rows = [
            {
                "key": content_key("caption", text=caption),
                "caption": caption,
                "rank": min(int(str(pair["rank"])) for pair in own),
                "pairs": sorted(own, key=lambda pair: int(str(pair["rank"]))),
            }
            for caption, own in pairs.items()
        ]
        table = CaptionTable(workspace.lance_path, encoder.fingerprint, "all")
        table.upsert(ROW.empty_table().from_pylist(rows, ROW), encoder.encode(list(pairs)))
        keep_up(table, changed=True)
        count = sum(map(len, pairs.values()))
        version = content_key("pool", pairs=pairs)
        state = CaptionState("all", encoder.fingerprint, version, count, table.lance.version)
        store_states(workspace, [state])
        return workspace

    return fill_


def by_hand(workspace: Workspace, captions: list[str], prompt: str, k: int, size: int) -> list[str]:
    """The ids of the k nearest pairs in float64, of the `size` pairs of smallest rank."""
    encoder = embedder(workspace)
    order = sorted(range(len(captions)), key=lambda number: pool_rank(0, str(number)))[:size]
    vectors = encoder.encode([captions[number] for number in order]).astype(np.float64)
    scores = np.round(vectors @ encoder.encode([prompt])[0].astype(np.float64), 9)
    return [str(order[i]) for i in np.argsort(-scores, kind="stable")[:k]]


def ids(references: Iterable[Neighbour]) -> list[str]:
    return [reference.pair_id for reference in references]


@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize("size", [None, 1, 3, 300, 900, 1999, 5000])
def test_by_index_exactly_and_all_at_once_the_same_is_found_in_a_pool_of_any_size(
    fill: Fill, in_memory: bool, size: int | None
) -> None:
    captions = random_captions(2000)
    workspace = fill(captions)
    search = CaptionSearch(workspace, "all", in_memory)
    assert search.index is not None
    vectors = embedder(workspace).encode(PROMPTS)
    at_once = nearest_pairs(search.table, vectors, 5, size)
    for prompt, expected in zip(PROMPTS, at_once, strict=True):
        assert ids(expected) == by_hand(workspace, captions, prompt, 5, size or 2000)
        assert search.search(prompt, 5, size) == expected
        assert search.search(prompt, 5, size, exact=True) == expected


def test_pairs_of_one_caption_go_by_rank(fill: Fill) -> None:
    captions = [*random_captions(600), *["a blue dog"] * 40]
    search = CaptionSearch(fill(captions), "all")
    found = search.search("a blue dog", k=7)
    ranks = sorted(pool_rank(0, str(number)) for number in range(600, 640))
    assert [reference.rank_in_pool for reference in found] == ranks[:7]
    assert {reference.caption for reference in found} == {"a blue dog"}
    within = search.search("a blue dog", k=7, size=620)
    assert ids(within) == by_hand(fill(captions), captions, "a blue dog", 7, 620)


def test_captions_of_one_vector_go_by_rank_however_many_the_index_left_out(fill: Fill) -> None:
    # More captions tie than there are candidates: 32 writings of one sentence, which are one to the model.
    assert len(CASES) > lookup.LEAST_CANDIDATES
    captions = [*random_captions(600), *CASES]
    workspace = fill(captions)
    found = CaptionSearch(workspace, "all").search("a blue old dog ran", k=5)
    assert ids(found) == by_hand(workspace, captions, "a blue old dog ran", 5, len(captions))
    assert len({reference.similarity for reference in found}) == 1


def test_a_tie_at_the_end_of_what_is_asked_for_is_settled_by_all_captions(
    fill: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Ten captions tie, of which the index names nine: not the one of the smallest rank.
    captions = [*random_captions(600), *CASES[:10]]
    workspace = fill(captions)
    first = min(pool_rank(0, str(number)) for number in range(600, 610))
    candidates = CaptionSearch._candidates

    async def but_the_first(self: Any, query: Any, count: int, *more: Any) -> pa.Table:
        found = await candidates(self, query, count + 1, *more)
        return found.filter(pc.not_equal(found["rank"], first))

    monkeypatch.setattr(CaptionSearch, "_candidates", but_the_first)
    search = CaptionSearch(workspace, "all", in_memory=False)
    found = search.search("a blue old dog ran", k=5)
    assert found[0].rank_in_pool == first
    assert ids(found) == by_hand(workspace, captions, "a blue old dog ran", 5, len(captions))


def test_recall_is_measured_with_as_many_candidates_as_a_user_gets(
    fill: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = fill(random_captions(600))
    candidates, counts = CaptionSearch._candidates, set()

    async def counted(self: Any, query: Any, count: int, *more: Any) -> pa.Table:
        counts.add(count)
        return await candidates(self, query, count, *more)

    monkeypatch.setattr(CaptionSearch, "_candidates", counted)
    CaptionSearch(workspace, "all").search("a blue dog")
    index_recall(workspace, "all", samples=3)
    assert len(counts) == 1


def test_a_reference_says_what_it_is(fill: Fill) -> None:
    (found,) = CaptionSearch(fill(["a dog runs", "a cat sleeps"]), "all").search("a dog runs", k=1)
    assert found.similarity == pytest.approx(1.0)
    assert found == Neighbour("0", "clip 0", "a dog runs", found.similarity, pool_rank(0, "0"))


def test_a_search_answers_from_the_state_that_it_was_opened_in(fill: Fill) -> None:
    captions = random_captions(600)
    search = CaptionSearch(fill(captions), "all")
    before = search.search("a blue dog", k=3)
    workspace = fill([*captions, "a blue dog"])
    assert search.search("a blue dog", k=3) == before
    (first, *_) = CaptionSearch(workspace, "all").search("a blue dog", k=3)
    assert first.caption == "a blue dog"


def test_rows_of_a_run_that_has_not_ended_are_not_seen(fill: Fill) -> None:
    workspace = fill(random_captions(600))
    encoder = embedder(workspace)
    before = CaptionSearch(workspace, "all").search("a blue dog", k=3)
    table = CaptionTable(workspace.lance_path, encoder.fingerprint, "all")
    row = {"key": "k", "caption": "a blue dog", "rank": 1, "pairs": [{"rank": 1, "id": "n", "clip": "c"}]}
    table.upsert(ROW.empty_table().from_pylist([row], ROW), encoder.encode(["a blue dog"]))
    assert CaptionSearch(workspace, "all").search("a blue dog", k=3) == before


def test_what_cannot_be_searched_is_said(fill: Fill) -> None:
    workspace = fill(["a dog runs"])
    with pytest.raises(UserError, match="no pool 'al' in the settings; allowed: all"):
        CaptionSearch(workspace, "al")
    search = CaptionSearch(workspace, "all")
    with pytest.raises(UserError, match="at least 1"):
        search.search("a dog", k=0)
    with pytest.raises(UserError, match="a pool of 0 pairs"):
        search.search("a dog", size=0)
    shutil.rmtree(workspace.lance_path)
    with pytest.raises(UserError, match="materialize caption_embeddings"):
        CaptionSearch(workspace, "all")


def test_recall_is_whole_where_the_index_looks_everywhere_and_less_where_it_hardly_looks(
    fill: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert index_recall(fill(random_captions(400)), "all") is None
    workspace = fill(random_captions(2000))
    with monkeypatch.context() as everywhere:
        # Codes of vectors are rounded from a random start: only when all are candidates is none missed.
        everywhere.setattr(lookup, "LEAST_CANDIDATES", 2000)
        assert index_recall(workspace, "all", samples=50) == 1.0
    monkeypatch.setattr(VectorIndex, "probes", 1)
    low = index_recall(workspace, "all", samples=50)
    assert low is not None and 0.1 < low < 0.95


def test_a_captions_own_pairs_do_not_count_for_recall(fill: Fill, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = fill(random_captions(600))
    vectors = embedder(workspace).encode(random_captions(600))
    nearest = nearest_pairs(CaptionSearch(workspace, "all").table, vectors, 1)
    alone = {tuple(query.tolist()): found for query, found in zip(vectors, nearest, strict=True)}
    monkeypatch.setattr(CaptionSearch, "nearest", lambda self, query, k: alone[tuple(query.tolist())])
    assert index_recall(workspace, "all", samples=20) == 0.0
