"""Pairs with equal captions or videos: counted, and refused where a pool says so."""

from collections.abc import Callable
from pathlib import Path

import pytest

from onaspr_core.pool.manifest import build_manifest, listed_pairs, pool_rank
from onaspr_core.workspace import Workspace
from tests.core.pool.rows import statuses

Write = Callable[..., Path]
Open = Callable[..., Workspace]


def test_equal_captions_and_equal_videos_are_counted_and_kept(open_pools: Open, write_video: Write) -> None:
    captions = {f"{number}.mp4": f"caption {number % 2}" for number in range(6)}
    for number, name in enumerate(captions):
        write_video(name, seed=number % 3)
    outcome = build_manifest(open_pools(captions))
    assert (outcome.computed, outcome.failures) == (6, ())
    assert (outcome.facts["equal_captions"], outcome.facts["equal_videos"]) == (4, 3)


@pytest.mark.parametrize("rule", ["equal_videos", "equal_captions"])
def test_pairs_that_are_refused_for_an_equal_one_double_no_row(
    open_pools: Open, write_video: Write, rule: str
) -> None:
    captions = {f"{number}.mp4": "caption" for number in range(4)}
    for name in captions:
        write_video(name, seed=1)
    workspace = open_pools(captions, told={rule: "refuse"})
    first = build_manifest(workspace)
    assert (first.computed, len(first.failures)) == (1, 3)
    second = build_manifest(workspace)
    assert (second.version, second.computed, second.total) == (first.version, 0, 4)
    workspace = open_pools(captions, told={rule: "keep"})
    assert build_manifest(workspace).total == len(listed_pairs(workspace, "small")) == 4
    assert len({pair.clip_key for pair in listed_pairs(workspace, "small")}) == 1


def test_of_equal_captions_the_smallest_rank_is_taken_and_so_in_every_larger_pool(
    open_pools: Open, write_video: Write
) -> None:
    captions = {f"{number}.mp4": f"caption {number % 4}" for number in range(12)}
    for number, name in enumerate(captions):
        write_video(name, seed=number)
    workspace = open_pools(captions, told={"equal_captions": "refuse"}, few=6, all=None)
    build_manifest(workspace)
    by_rank = sorted(captions, key=lambda id_: pool_rank(1, id_))
    firsts = [id_ for n, id_ in enumerate(by_rank) if captions[id_] not in [captions[o] for o in by_rank[:n]]]
    for pool, size in (("few", 6), ("all", 12)):
        usable = [pair.id for pair in listed_pairs(workspace, pool) if pair.clip_key]
        assert usable == [id_ for id_ in firsts if id_ in by_rank[:size]]
    refused = next(id_ for id_ in by_rank if id_ not in firsts)
    first = next(id_ for id_ in by_rank if captions[id_] == captions[refused])
    assert statuses(workspace)[refused] == ("equal caption", f"its caption is that of pair {first}")


def test_a_pair_that_is_refused_for_its_video_gives_way_to_another_with_its_caption(
    open_pools: Open, write_video: Write
) -> None:
    ids = sorted((f"{number}.mp4" for number in range(3)), key=lambda id_: pool_rank(1, id_))
    for id_, seed in zip(ids, (1, 1, 2), strict=True):
        write_video(id_, seed=seed)
    captions = dict(zip(ids, ("one", "two", "two"), strict=True))
    workspace = open_pools(captions, told={"equal_captions": "refuse", "equal_videos": "refuse"})
    build_manifest(workspace)
    assert {id_: status for id_, (status, _) in statuses(workspace).items()} == {
        ids[0]: "present",
        ids[1]: "equal video",
        ids[2]: "present",
    }


def test_a_pair_that_is_missing_gives_way_to_an_equal_one(open_pools: Open, write_video: Write) -> None:
    first, second = sorted(("a.mp4", "b.mp4"), key=lambda id_: pool_rank(1, id_))
    write_video(second)
    workspace = open_pools({first: "same", second: "same"}, told={"equal_captions": "refuse"})
    build_manifest(workspace)
    assert statuses(workspace)[second][0] == "present"
