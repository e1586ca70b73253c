"""Tables that would take for ever are refused, and what a line costs does not grow with those before it."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from onaspr_core.errors import UserError
from onaspr_core.pool import csv_mending, karpathy, scan, text_tables
from onaspr_core.pool.csv_mending import mend_csv
from tests.core.pool.rows import read, write


def test_a_table_that_takes_too_long_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A few pages that unpack to billions of rows, as DuckDB reads them: one file, named very often.
    column = pa.array(["a"] * 2_000_000).dictionary_encode()
    pq.write_table(pa.table({"file": column, "caption": column}), tmp_path / "0.parquet")
    for number in range(1, 1000):
        (tmp_path / f"{number}.parquet").hardlink_to(tmp_path / "0.parquet")
    monkeypatch.setattr(scan, "SECONDS_PER_SOURCE", 1.0)
    with pytest.raises(UserError, match=r"\*.parquet: reading its tables took longer than 1 s; split it"):
        read(tmp_path, format="folder", path="*.parquet", videos=".")


def test_a_mistake_that_is_met_in_time_is_told_as_it_is(tmp_path: Path) -> None:
    write(tmp_path / "t.csv", "file,name\na.mp4,x\n")
    with pytest.raises(UserError, match="no column caption"):
        read(tmp_path, format="folder", path="t.csv")


@pytest.mark.timeout(120)
def test_lines_behind_a_quote_that_is_not_closed_are_looked_at_once(tmp_path: Path) -> None:
    block = 'a,"x' + "\n" * (csv_mending.LONGEST + 1)
    source, mended = write(tmp_path / "t.csv", block * 30), tmp_path / "mended.csv"
    broken = list(mend_csv(str(source), mended, ","))
    assert [text for _, text in broken] == ['a,"x'] * 30
    assert mended.read_bytes() == b"\n" * source.read_text().count("\n")


def test_a_row_may_have_many_lines(tmp_path: Path) -> None:
    rows = ['a,"one\ntwo, ""three""\n\nfour",b', 'c,"",d', '"e","f\n","g"']
    bad = ['x,"y"z', 'x,"y\n" z']
    text = "\n".join([rows[0], bad[0], rows[1], bad[1], rows[2]]) + "\n"
    broken = list(mend_csv(str(write(tmp_path / "t.csv", text)), tmp_path / "mended.csv", ","))
    assert broken == [(5, 'x,"y"z'), (7, 'x,"y'), (8, '" z')]
    expected = "\n".join([rows[0], "", rows[1], "", "", rows[2]]) + "\n"
    assert (tmp_path / "mended.csv").read_text() == expected


def test_a_table_whose_every_quote_is_wrong_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_tables, "MOST_REFUSED", 20)
    lines = [f'{i}.mp4,"x"y' for i in range(15)] + [f'{i}.mp4,"never closed' for i in range(15)]
    write(tmp_path / "t.csv", "\n".join(["file,caption", *lines]) + "\n")
    with pytest.raises(UserError, match="more than 20 lines"):
        read(tmp_path, format="folder", path="t.csv")


def test_a_list_of_captions_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "list.json", '{"images": []}')
    assert len(karpathy.karpathy_captions([str(path)])) == 0
    monkeypatch.setattr(karpathy, "LARGEST", 13)
    with pytest.raises(UserError, match="has more than 13 bytes and is no Karpathy"):
        karpathy.karpathy_captions([str(path)])
