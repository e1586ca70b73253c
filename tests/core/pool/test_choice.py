"""Which rows a pool takes: by rank, in the order of the source, through any threshold and any CSV."""

import random
import string
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import fsspec
import pytest

from onaspr_core.errors import UserError
from onaspr_core.pool import choice, scan, text_tables
from onaspr_core.pool.choice import Choice, Wish, choose, pool_rank
from onaspr_core.pool.scan import open_scan
from onaspr_core.pool.settings import Condition, PoolSettings
from onaspr_core.pool.source_forms import open_listing
from onaspr_core.pool.sources import source_of


def chosen(base: Path, wish: Wish, **settings: Any) -> Choice:
    told = {"format": "folder", "path": "t.csv", "videos": "v", **settings}
    with open_scan() as connection:
        listing = open_listing(connection, source_of(PoolSettings.model_validate(told), base))
        return choose(connection, listing, wish, "rows")


def rows(found: Choice) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in found.rows.to_pylist()}


def write_table(base: Path, lines: Sequence[str], header: str = "file,caption") -> None:
    (base / "t.csv").write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")


def any_ids() -> Iterator[str]:
    """Ids of every kind: ASCII, two to four bytes a character, quotes, and what looks like white space."""
    draw = random.Random(0)
    letters = string.printable[:95].replace(",", "") + "äß東京😀\u00a0\u2028\u200b"
    for number in range(3000):
        yield "".join(draw.choices(letters, k=draw.randint(1, 40))) + str(number)


@pytest.mark.parametrize("seed", [0, 7, -3, 2**40])
def test_ranks_in_duckdb_are_those_of_the_python_function(tmp_path: Path, seed: int) -> None:
    ids = list(any_ids())
    write_table(tmp_path, ['"' + id_.replace('"', '""') + '",x' for id_ in ids])
    found = chosen(tmp_path, Wish(seed=seed)).rows.to_pylist()
    assert [row["id"] for row in found] == sorted(ids, key=lambda id_: pool_rank(seed, id_))
    assert [row["rank"] for row in found] == [pool_rank(seed, row["id"]) for row in found]


@pytest.mark.parametrize("margin", [1.2, 0.01, 0.3, 40.0])
def test_the_smallest_ranks_are_found_whatever_the_guess_of_the_threshold_was(
    tmp_path: Path, margin: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [f"{number}.mp4" for number in range(30_000)]
    write_table(tmp_path, [f"{id_},caption of {id_}" for id_ in ids])
    expected = sorted(ids, key=lambda id_: pool_rank(5, id_))
    scans: list[float | None] = []
    collect = choice._collect

    def counted(*values: Any) -> tuple[int, int]:
        scans.append(values[3])
        return collect(*values)

    monkeypatch.setattr(choice, "_collect", counted)
    monkeypatch.setattr(choice, "MARGIN", margin)
    for size in (1, 100, 9_000):
        found = chosen(tmp_path, Wish(size=size, seed=5))
        assert found.rows["id"].to_pylist() == expected[:size]
        assert found.facts["source_rows"] == 30_000
    assert len(scans) == 3 if margin >= 1 else len(scans) > 3
    monkeypatch.setattr(choice, "MARGIN", 1.2)
    assert chosen(tmp_path, Wish(size=40_000, seed=5)).rows["id"].to_pylist() == expected


def test_of_equal_ids_the_first_of_the_file_wins_though_many_threads_read_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [f"{number % 1000}.mp4,caption {number} {'x' * 60}" for number in range(60_000)]
    write_table(tmp_path, lines)
    make_view = scan.make_view

    def in_small_pieces(connection: Any, name: str, function: str, files: Any, options: Any) -> None:
        connection.execute("set threads = 8")
        small = {"buffer_size": 65_536, "max_line_size": 2048}
        make_view(connection, name, function, files, {**options, **small})

    monkeypatch.setattr(text_tables, "make_view", in_small_pieces)
    found = chosen(tmp_path, Wish(size=400))
    assert found.facts["duplicate_ids"] == 400 * 59
    for row in found.rows.to_pylist():
        assert row["caption"].split()[1] == row["id"].removesuffix(".mp4")


def test_a_row_without_an_id_is_counted_and_has_no_place(tmp_path: Path) -> None:
    write_table(tmp_path, [",x", '"",y', "a.mp4,z"])
    found = chosen(tmp_path, Wish())
    assert (list(rows(found)), found.facts["rows_without_id"]) == (["a.mp4"], 2)


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ("a.mp4,", "the caption is empty"),
        ('a.mp4," \u3000 "', "the caption is empty"),
        ("a.mp4,a\x00b", "the row holds a NUL byte"),
        ("a.mp4,12345678901", "the caption is longer than 10 characters"),
        ("a.mp4,1234 \t 6789", None),
        ("sub/../a.mp4,x", "the path /base/v/sub/../a.mp4 leads out of the folder of videos"),
        ("..,x", "the path /base/v/.. leads out of the folder of videos"),
        ("a..b.mp4,x", None),
    ],
)
def test_a_row_that_cannot_be_used_says_why(tmp_path: Path, cells: str, reason: str | None) -> None:
    write_table(tmp_path, [cells])
    (row,) = rows(chosen(tmp_path, Wish(caption_limit=10), videos="/base/v")).values()
    assert row["problem"] == reason


def test_lines_that_are_no_rows_keep_their_place_with_line_and_reason(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(
        b"\xef\xbb\xbffile,caption\r\n"
        b"good.mp4,\"two\r\nlines, \"\"quoted\"\"\"\r\n"
        b"few.mp4\r\n"
        b"many.mp4,a,b\r\n"
        b"latin.mp4,caf\xe9\r\n"
        b"after.mp4,\"text\" after\r\n"
        b"\r\n"
        b"pipe.mp4,a 5\" pipe\r\n"
        b"last.mp4,the end"
    )  # fmt: skip
    found = chosen(tmp_path, Wish())
    by_id = rows(found)
    assert {id_: row["problem"] for id_, row in by_id.items() if row["problem"]} == {
        "few.mp4": "line 4 of the table has fewer columns than its header",
        "many.mp4": "line 5 of the table has more columns than its header",
        "latin.mp4": "line 6 of the table is not UTF-8",
        "after.mp4": "line 7 of the table has a quote that is not closed, or text after one",
    }
    assert by_id["good.mp4"]["caption"] == 'two lines, "quoted"'
    assert by_id["pipe.mp4"]["caption"] == 'a 5" pipe'
    assert (found.facts["source_rows"], found.facts["lines_refused"]) == (7, 4)
    assert all(row["rank"] == pool_rank(0, id_) for id_, row in by_id.items())


def test_a_line_that_is_mended_moves_no_other_pair(tmp_path: Path) -> None:
    lines = [f"{number}.mp4,caption {number}" for number in range(500)]
    write_table(tmp_path, lines)
    whole = rows(chosen(tmp_path, Wish(size=100)))
    taken = next(iter(whole))
    number = int(taken.removesuffix(".mp4"))
    write_table(tmp_path, [*lines[:number], taken, *lines[number + 1 :]])
    broken = rows(chosen(tmp_path, Wish(size=100)))
    assert list(broken) == list(whole)
    assert broken.pop(taken)["problem"] == f"line {number + 2} of the table has fewer columns than its header"
    assert broken.items() <= whole.items()


def test_a_row_that_can_be_read_goes_before_a_line_of_its_id_that_cannot(tmp_path: Path) -> None:
    write_table(tmp_path, ["a.mp4", "a.mp4,second", "a.mp4,third"])
    found = chosen(tmp_path, Wish())
    assert rows(found)["a.mp4"]["caption"] == "second"
    assert found.facts["duplicate_ids"] == 2


def test_a_quote_that_is_never_closed_costs_one_row(tmp_path: Path) -> None:
    lines = [f"{number}.mp4,caption number {number} {'x' * 60}" for number in range(60_000)]
    lines[20_000] = '20000.mp4,"never closed'
    lines[30_000] = '30000.mp4,"two\nlines"'
    lines[50_000] = "50000.mp4"
    write_table(tmp_path, lines)
    found = chosen(tmp_path, Wish())
    by_id = rows(found)
    assert len(by_id) == 60_000
    assert {id_: row["problem"] for id_, row in by_id.items() if row["problem"]} == {
        "20000.mp4": "line 20002 of the table has a quote that is not closed, or text after one",
        "50000.mp4": "line 50003 of the table has fewer columns than its header",
    }
    assert by_id["30000.mp4"]["caption"] == "two lines"


def test_a_line_that_was_mended_away_keeps_its_place_when_the_threshold_is_raised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = sorted((f"{number}.mp4" for number in range(30_000)), key=lambda id_: pool_rank(5, id_))
    lines = {id_: f"{id_},caption of {id_}" for id_ in sorted(ids)}
    lines[ids[7]] = f'{ids[7]},"never closed'
    write_table(tmp_path, list(lines.values()))
    monkeypatch.setattr(choice, "MARGIN", 0.01)
    found = chosen(tmp_path, Wish(size=9_000, seed=5))
    assert found.rows["id"].to_pylist() == ids[:9_000]
    assert "has a quote that is not closed" in rows(found)[ids[7]]["problem"]
    assert (found.facts["source_rows"], found.facts["lines_refused"]) == (30_000, 1)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_lines_of_mended_files_are_told_by_the_names_of_their_files(tmp_path: Path, suffix: str) -> None:
    tables = {"0.csv": "a.mp4,x\nb.mp4", "1.csv": 'c.mp4,"never closed\nd.mp4,y\ne.mp4'}
    for name, text in tables.items():
        with fsspec.open(
            tmp_path / f"parts/{name}{suffix}", "wb", compression="infer", auto_mkdir=True
        ) as file:
            file.write(f"file,caption\n{text}\n".encode())
    by_id = rows(chosen(tmp_path, Wish(), path="parts/*"))
    assert {id_: row["problem"].rpartition(" has ")[0] for id_, row in by_id.items() if row["problem"]} == {
        "b.mp4": f"line 3 of 0.csv{suffix}",
        "c.mp4": f"line 2 of 1.csv{suffix}",
        "e.mp4": f"line 4 of 1.csv{suffix}",
    }


def test_line_ends_of_two_kinds_lose_no_row(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b'file,caption\r\na.mp4,x\nb.mp4,"y\r\nz"\r\nc.mp4,w\n')
    assert {id_: row["caption"] for id_, row in rows(chosen(tmp_path, Wish())).items()} == {
        "a.mp4": "x",
        "b.mp4": "y z",
        "c.mp4": "w",
    }


def test_a_file_of_another_form_is_an_error_and_no_flood_of_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_tables, "MOST_REFUSED", 50)
    write_table(tmp_path, ["a,b,c"] * 60)
    with pytest.raises(UserError, match="more than 50 lines cannot be read; line 2: Expected Number"):
        chosen(tmp_path, Wish())


def test_a_withdrawn_item_frees_its_place_by_id_by_url_and_by_path(tmp_path: Path) -> None:
    lines = [f"{number}.mp4,caption {number},https://x.test/{number}" for number in range(500)]
    write_table(tmp_path, lines, "file,caption,contentUrl")
    before = list(rows(chosen(tmp_path, Wish(size=50))))
    takedown = [
        before[3],
        f"https://x.test/{before[7].removesuffix('.mp4')}",
        str(tmp_path / "v" / before[9]),
    ]
    found = chosen(tmp_path, Wish(size=50, takedown=[*takedown, "unknown"]))
    after = list(rows(found))
    assert sorted(found.withdrawn) == sorted([before[3], before[7], before[9]])
    assert (len(after), found.facts["withdrawn"]) == (50, 3)
    assert after[:47] == [id_ for id_ in before if id_ not in found.withdrawn]


def test_a_withdrawn_item_is_found_whatever_its_rank_and_the_filter(tmp_path: Path) -> None:
    lines = [f"{number}.mp4,caption {number},{number % 2}" for number in range(500)]
    write_table(tmp_path, lines, "file,caption,score")
    last = max((f"{number}.mp4" for number in range(0, 500, 2)), key=lambda id_: pool_rank(0, id_))
    odd = [Condition(column="score", equals=1)]
    before = chosen(tmp_path, Wish(size=20, conditions=odd))
    found = chosen(tmp_path, Wish(size=20, conditions=odd, takedown=[last]))
    assert found.withdrawn == [last]
    assert found.rows.equals(before.rows)


def test_all_clips_of_a_withdrawn_video_go(tmp_path: Path) -> None:
    lines = [f"video{number % 3},0:0{number},0:0{number + 1},caption {number}" for number in range(9)]
    write_table(tmp_path, lines, "YoutubeID,Start_timestamp,End_timestamp,Caption")
    found = chosen(tmp_path, Wish(takedown=["video1"]), format="internvid")
    assert {id_.split("_")[0] for id_ in rows(found)} == {"video0", "video2"}
    assert len(found.withdrawn) == 3
