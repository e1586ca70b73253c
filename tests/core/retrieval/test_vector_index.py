from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from onaspr_core.retrieval import vector_index as room
from onaspr_core.retrieval.embedder import unit_rows
from onaspr_core.retrieval.table import ROW, CaptionTable
from onaspr_core.retrieval.vector_index import age_to_delete, keep_up, partitions, vector_index


@pytest.fixture(autouse=True)
def _small_pools_pay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "PAYS_FROM", 500)


def written(path: Path, first: int, count: int, width: int = 16) -> CaptionTable:
    """The table after so many captions more, opened anew."""
    table = CaptionTable(str(path), "f", "p")
    numbers = range(first, first + count)
    pairs = [[{"rank": i, "id": f"{i}.mp4", "clip": f"c{i}"}] for i in numbers]
    columns = [[f"k{i}" for i in numbers], [f"caption {i}" for i in numbers], list(numbers), pairs]
    rows = pa.table([pa.array(c, f.type) for c, f in zip(columns, ROW, strict=True)], schema=ROW)
    vectors = np.random.default_rng(first).standard_normal((count, width)).astype(np.float32)
    table.upsert(rows, unit_rows(vectors))
    return table


def test_a_small_pool_has_no_index_and_a_pool_that_shrinks_loses_it(tmp_path: Path) -> None:
    assert keep_up(CaptionTable(str(tmp_path), "f", "p"), changed=False) is None
    assert keep_up(written(tmp_path, 0, 499), changed=True) is None
    table = written(tmp_path, 499, 1)
    index = keep_up(table, changed=True)
    assert index is not None and (index.indexed, index.unindexed) == (500, 0)
    table.delete(["k7"])
    assert keep_up(table, changed=True) is None
    assert vector_index(CaptionTable(str(tmp_path), "f", "p")) is None


def test_new_rows_become_a_part_of_it_until_it_has_too_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "MOST_PARTS", 2)
    indices = [keep_up(written(tmp_path, 0, 600), changed=True)]
    indices += [keep_up(written(tmp_path, first, 20), changed=True) for first in range(600, 760, 20)]
    known = [index for index in indices if index is not None]
    assert [(index.indexed, index.unindexed) for index in known] == [(n, 0) for n in range(600, 780, 20)]
    assert {index.parts for index in known} == {1, 2}
    # Only two additions in a row fit beside what was built: a third means another build.
    assert 3 <= len({index.built_on for index in known}) <= 5


@pytest.mark.parametrize(
    ("added", "removed", "built_on"), [(600, 0, 600), (601, 0, 1201), (0, 300, 600), (0, 301, 299)]
)
def test_it_is_built_anew_when_the_pool_has_more_than_doubled_or_halved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, added: int, removed: int, built_on: int
) -> None:
    keep_up(written(tmp_path, 0, 600), changed=True)
    monkeypatch.setattr(room, "PAYS_FROM", 100)
    table = written(tmp_path, 600, added) if added else CaptionTable(str(tmp_path), "f", "p")
    table.delete([f"k{i}" for i in range(removed)])
    index = keep_up(table, changed=True)
    assert index is not None and index.built_on == built_on


def test_an_index_that_is_up_to_date_is_left_alone(tmp_path: Path) -> None:
    table = written(tmp_path, 0, 600)
    first, version = keep_up(table, changed=True), table.lance.version
    assert keep_up(table, changed=False) == first
    assert table.lance.version == version


def test_a_run_that_was_killed_before_its_index_is_caught_up_with(tmp_path: Path) -> None:
    written(tmp_path, 0, 600)
    index = keep_up(CaptionTable(str(tmp_path), "f", "p"), changed=False)
    assert index is not None and index.indexed == 600
    table = written(tmp_path, 600, 50)
    index = keep_up(table, changed=False)
    assert index is not None and (index.indexed, index.unindexed) == (650, 0)


@pytest.mark.parametrize("pays_from", [500, 601])
def test_a_second_index_that_a_killed_build_left_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pays_from: int
) -> None:
    table = written(tmp_path, 0, 600)
    for captions in (590, 300, 600):
        room._build(table, captions)
    monkeypatch.setattr(room, "PAYS_FROM", pays_from)
    index = keep_up(table, changed=False)
    left = [one.name for one in table.lance.list_indices() if one.name.startswith("vectors")]
    assert left == ([] if index is None else ["vectors_of_600"])


def test_versions_that_readers_may_have_open_are_not_old_enough_to_be_deleted() -> None:
    now = datetime(2026, 1, 31)
    created = {number: now - timedelta(days=days) for number, days in ((1, 30), (2, 20), (3, 10), (4, 0.5))}

    def deleted(published: int | None) -> set[int]:
        age = age_to_delete(created, published, now)
        return {number for number, time in created.items() if time < now - age}

    assert deleted(2) == {1}, "an old one that is published"
    assert deleted(3) == {1, 2}
    assert deleted(4) == {1, 2}, "the third was the newest until half a day ago"
    assert deleted(None) == {1, 2}
    assert age_to_delete({}, None, now) == room.EARLIER_STATES_LAST


def test_a_clock_that_was_set_back_deletes_no_state_that_may_be_in_use() -> None:
    now = datetime(2026, 1, 1)
    created = {1: now + timedelta(days=3), 2: now + timedelta(days=4), 3: now}
    assert age_to_delete(created, 2, now) == room.EARLIER_STATES_LAST


def test_a_compaction_is_told_to_leave_the_published_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, asked = written(tmp_path, 0, 100), []
    published = table.lance.version
    (created,) = (one["timestamp"] for one in table.lance.list_versions() if one["version"] == published)
    table = written(tmp_path, 100, 10)
    monkeypatch.setattr(room, "EARLIER_STATES_LAST", timedelta())
    monkeypatch.setattr(
        type(table.lance), "optimize", lambda _, cleanup_older_than: asked.append(cleanup_older_than)
    )
    age = datetime.now() - created
    keep_up(table, changed=True, published=published)
    assert asked[0] >= age


def test_vectors_that_the_index_cannot_hold_stay_without_one(tmp_path: Path) -> None:
    assert keep_up(written(tmp_path, 0, 600, width=12), changed=True) is None


def test_partitions_and_probes_grow_with_the_pool() -> None:
    counts = [partitions(captions) for captions in (1, 20_000, 100_000, 1_000_000, 10_000_000)]
    assert counts == [1, 49, 111, 350, 1107]
    probes = [room.VectorIndex("", captions, 0, 0, 1).probes for captions in (20_000, 100_000, 1_000_000)]
    assert probes == [34, 58, 125]
