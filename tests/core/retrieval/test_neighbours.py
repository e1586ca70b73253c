"""Which captions are found for a prompt, and what a reference says."""

import numpy as np
import pytest

from onaspr_core.errors import UserError
from onaspr_core.pool.manifest import listed_pairs, pool_rank
from onaspr_core.prompts import Prompt
from onaspr_core.retrieval import neighbours
from onaspr_core.retrieval.embedder import embedder
from onaspr_core.retrieval.nearest import nearest_clips, searched
from onaspr_core.retrieval.neighbours import Neighbour, find_neighbours, neighbours_of, noise_neighbours_of
from onaspr_core.retrieval.versions import CaptionState
from tests.core.retrieval.asking import NEAR, POOL, PROMPTS, Ask, Open, captions_of


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


def test_k_may_be_zero_or_larger_than_the_pool(open_pools: Open, ask: Ask) -> None:
    workspace = open_pools(POOL)
    for k, expected in ((0, 1), (3, 3), (9, 4)):
        experiment, _ = ask(workspace, k=k)
        assert {len(references) for references in neighbours_of(workspace, experiment).values()} == {expected}


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
    found = [Neighbour(f"p{i}", clip, "c", 1 - i / 10, i) for i, clip in enumerate("aabacb")]
    assert [one.pair_id for one in nearest_clips(found, 2)] == ["p0", "p2"]
    assert [one.pair_id for one in nearest_clips(found, 9)] == ["p0", "p2", "p4"]


@pytest.mark.parametrize(("k", "count", "wanted"), [(2, 1, 5), (7, 1, 7), (2, 2, 10), (12, 2, 12)])
def test_a_search_is_as_long_as_references_and_noise_need(
    open_pools: Open, ask: Ask, k: int, count: int, wanted: int
) -> None:
    experiment, _ = ask(open_pools(NEAR), k=k)
    assert searched(experiment.changed(inversion={"neighbours": count})) == wanted
    assert searched(experiment.changed(inversion={"neighbours": count}), for_noise=False) == max(k, 5)


def test_a_part_of_the_pool_has_a_key_of_its_own_and_a_whole_one_that_of_before(
    open_pools: Open, ask: Ask
) -> None:
    state, prompts = CaptionState("all", "print", "version", 3, 1), [Prompt("p1", "a dog runs fast", {})]
    e, outcome = ask(open_pools(POOL), k=5)
    assert outcome.facts["pool_pairs"] == 4
    keys = neighbours._search_keys(e, prompts, state)
    assert keys == {"p1": "3cdedeefb209f49941fc8428d1c1a2e2c9e4b465"}
    assert neighbours._search_keys(e.changed(pool_size=2), prompts, state) != keys


def test_a_part_of_the_pool_is_searched_as_if_there_were_no_more(open_pools: Open, ask: Ask) -> None:
    workspace = open_pools(POOL)
    e, _ = ask(workspace, k=5)
    whole = neighbours_of(workspace, e)
    part = e.changed(pool_size=2)
    outcome = find_neighbours(workspace, part)
    assert (outcome.facts["pool_pairs"], outcome.facts["references_per_prompt"]) == (2, 2)
    least = [pair.id for pair in listed_pairs(workspace, "all")][:2]
    found = neighbours_of(workspace, part)
    for prompt, references in whole.items():
        assert found[prompt] == tuple(one for one in references if one.pair_id in least)
    larger = find_neighbours(workspace, e.changed(pool_size=99))
    assert larger.facts["pool_pairs"] == 4
