from typing import Any

import pyarrow as pa
import pytest

from onaspr_core.retrieval.rows import unlike
from onaspr_core.retrieval.table import ROW

Row = dict[str, Any]


def row(key: str, *ids: str, **other: Any) -> Row:
    pairs = [{"rank": ord(id_), "id": id_, "clip": f"clip of {id_}"} for id_ in ids]
    return {"key": key, "caption": f"caption {key}", "rank": pairs[0]["rank"], "pairs": pairs, **other}


def compared(wanted: list[Row], held: list[Row]) -> tuple[dict[str, bool], list[str]]:
    rows, gone = unlike(pa.Table.from_pylist(wanted, ROW), pa.Table.from_pylist(held, ROW))
    assert rows.drop_columns("stored").to_pylist() == [
        one for one in wanted if one["key"] in rows["key"].to_pylist()
    ]
    return dict(zip(rows["key"].to_pylist(), rows["stored"].to_pylist(), strict=True)), gone


def test_equal_rows_in_any_order_leave_nothing_to_do() -> None:
    rows = [row("x", "a", "c"), row("y", "b"), row("z", "d", "e", "f")]
    assert compared(rows, rows[::-1]) == ({}, [])
    assert compared([], []) == ({}, [])


def test_new_rows_are_written_and_those_that_nobody_wants_are_gone() -> None:
    assert compared([row("x", "a"), row("y", "b")], [row("z", "c"), row("x", "a")]) == ({"y": False}, ["z"])
    assert compared([row("x", "a")], []) == ({"x": False}, [])
    assert compared([], [row("x", "a")]) == ({}, ["x"])


@pytest.mark.parametrize(
    "held",
    [
        row("y", "b"),
        row("y", "b", "c", "d"),
        row("y", "c", "b"),
        row("y", "b", "d"),
        row("y", "b", "c", caption="another"),
        row("y", "b", "c", rank=0),
        {**row("y", "b"), "pairs": []},
    ],
)
def test_a_row_with_other_pairs_caption_or_rank_is_written_and_those_beside_it_are_not(held: Row) -> None:
    beside = [row("x", "a", "e"), row("z", "f", "g", "h")]
    assert compared([beside[0], row("y", "b", "c"), beside[1]], [held, *beside]) == ({"y": True}, [])
    wanted = [row("x", "a"), row("y", "b", "c")]
    clip = row("y", "b", "c")
    clip["pairs"][1]["clip"] = "another"
    assert compared(wanted, [clip, wanted[0]]) == ({"y": True}, [])
