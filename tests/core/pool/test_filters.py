"""Filters: what they let through, and that nothing of them is ever SQL."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from onaspr_core.errors import UserError
from onaspr_core.pool.choice import Wish, choose
from onaspr_core.pool.scan import open_scan
from onaspr_core.pool.settings import Condition, PoolSettings
from onaspr_core.pool.source_forms import open_listing
from onaspr_core.pool.sources import source_of

HEADER = 'file,caption,duration,aesthetic score,camera motion,it\'s "odd"'
LINES = [
    "a.mp4,x,PT00H00M03S,5.5,static,1",
    "b.mp4,x,PT00H00M29S,4.9,pan_left,2",
    "c.mp4,x,PT00H01M00S,,static,3",
    "d.mp4,x,12,6,,4",
    "e.mp4,x,soon,7,Static,5",
]


def passing(base: Path, *conditions: dict[str, Any], **settings: Any) -> str:
    """Ids without suffix, in their order, of the rows that pass."""
    told = {"format": "folder", "path": "t.csv", "filter": list(conditions), **settings}
    pool = PoolSettings.model_validate(told)
    with open_scan() as connection:
        listing = open_listing(connection, source_of(pool, base))
        found = choose(connection, listing, Wish(pool.size, conditions=pool.filter), "rows")
    return "".join(sorted(id_.removesuffix(".mp4") for id_ in found.rows["id"].to_pylist()))


@pytest.fixture(autouse=True)
def table(tmp_path: Path) -> None:
    """Five rows with durations of two kinds, scores and texts, some missing."""
    header = HEADER.replace('"', '""').replace("it's", "\"it's") + '"'
    (tmp_path / "t.csv").write_text("\n".join([header, *LINES]) + "\n")


@pytest.mark.parametrize(
    ("condition", "ids"),
    [
        ({"column": "duration", "between": [4, 30]}, "bd"),
        ({"column": "duration", "at_least": 29}, "bc"),
        ({"column": "duration", "at_most": 12.0}, "ad"),
        ({"column": "aesthetic score", "at_least": 5.5}, "ade"),
        ({"column": "aesthetic score", "equals": 6.0}, "d"),
        ({"column": "aesthetic score", "known": True}, "abde"),
        ({"column": "aesthetic score", "known": False}, "c"),
        ({"column": "camera motion", "equals": "static"}, "ac"),
        ({"column": "camera motion", "differs_from": "static"}, "be"),
        ({"column": "camera motion", "one_of": ["static", "pan_left"]}, "abc"),
        ({"column": "camera motion", "one_of": []}, ""),
        ({"column": 'it\'s "odd"', "one_of": [1, 3.0]}, "ac"),
        ({"column": "camera motion", "equals": "static' or 'a' = 'a"}, ""),
    ],
)
def test_each_comparison(tmp_path: Path, condition: dict[str, Any], ids: str) -> None:
    assert passing(tmp_path, condition) == ids


@pytest.mark.parametrize("path", ["n.csv", "n.parquet"])
@pytest.mark.parametrize(
    "condition", [{"at_least": 1}, {"at_most": 9}, {"between": [1, 9]}, {"differs_from": 7}, {"one_of": [2]}]
)
def test_what_is_no_finite_number_passes_no_comparison_of_numbers(
    tmp_path: Path, path: str, condition: dict[str, Any]
) -> None:
    scores = {"a": 2.0, "b": float("nan"), "c": float("inf"), "d": float("-inf")}
    (tmp_path / "n.csv").write_text(
        "file,caption,score\n" + "".join(f"{id_}.mp4,x,{score}\n" for id_, score in scores.items())
    )
    rows = [{"file": f"{id_}.mp4", "caption": "x", "score": score} for id_, score in scores.items()]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "n.parquet")
    assert passing(tmp_path, {"column": "score", **condition}, path=path) == "a"


def test_all_conditions_must_hold(tmp_path: Path) -> None:
    assert (
        passing(tmp_path, {"column": "duration", "at_most": 60}, {"column": "aesthetic score", "at_least": 5})
        == "ad"
    )


def test_a_pool_is_filled_by_rows_that_pass_however_few_they_are(tmp_path: Path) -> None:
    lines = [f"{number}.mp4,x,{int(number % 50 == 7)}" for number in range(20_000)]
    (tmp_path / "t.csv").write_text("\n".join(["file,caption,wanted", *lines]) + "\n")
    ids = passing(tmp_path, {"column": "wanted", "equals": 1}, size=100)
    assert len(ids.split("7")) > 100
    lines.sort(key=lambda line: line.endswith("1"))  # None of the first rows passes.
    (tmp_path / "t.csv").write_text("\n".join(["file,caption,wanted", *lines]) + "\n")
    assert passing(tmp_path, {"column": "wanted", "equals": 1}, size=100) == ids


def test_a_column_that_is_not_there_is_an_error_that_names_those_that_are(tmp_path: Path) -> None:
    for column in ("score", 'caption" is null or "caption'):
        with pytest.raises(UserError, match=r"no column .*; found file, caption, duration, aesthetic score"):
            passing(tmp_path, {"column": column, "known": True})


def test_columns_of_json_of_parquet_and_of_lists_filter_too(tmp_path: Path) -> None:
    rows = [{"file": f"{id_}.mp4", "caption": "x", "score": score} for id_, score in (("a", 1.5), ("b", 3))]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pq.write_table(
        pa.Table.from_pylist([{**row, "score": float(row["score"])} for row in rows]), tmp_path / "t.parquet"
    )
    for path in ("t.jsonl", "t.parquet"):
        assert passing(tmp_path, {"column": "score", "at_least": 2}, path=path) == "b"
    (tmp_path / "panda.csv").write_text(
        "videoID,url,timestamp,caption,matching_score\n"
        "v,u,\"[['0:00:00.000', '0:00:01.000'], ['0:00:01.000', '0:00:02.000']]\","
        "\"['x', 'y']\",\"[0.4, 0.6]\"\n"
    )
    told = {"path": "panda.csv", "format": "panda70m", "videos": "v"}
    assert passing(tmp_path, {"column": "matching_score", "at_least": 0.5}, **told) == "v_00001"


@pytest.mark.parametrize(
    "condition",
    [
        {"column": "x"},
        {"column": "x", "at_least": 1, "at_most": 2},
        {"column": "x", "between": [1]},
        {"column": "x", "at_least": "1"},
        {"column": "x", "at_least": float("nan")},
        {"column": "x", "like": "%"},
    ],
)
def test_a_condition_that_is_none_is_refused_with_the_settings(condition: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Condition.model_validate(condition)
