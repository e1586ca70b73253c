"""Bad tables: CSV, TSV, JSON lines and Parquet, whole and compressed."""

import csv
import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet

from tests.faults.fuzz.damage import damaged
from tests.faults.fuzz.pools import assert_taken_in, good_video
from tests.faults.fuzz.texts import hostile

HEADER = ("file", "caption", "licence", "start", "stop")
GOOD = [
    (f"good{i}.mp4", caption, "CC0", "0", "9") for i, caption in enumerate(("a cat", "a, dog", 'a "pig"'))
]
IDS = [row[0] for row in GOOD]
Row = tuple[Any, ...]


def csv_of(rows: list[Row], header: Row = HEADER, delimiter: str = ",") -> str:
    """A table as Python writes it."""
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, lineterminator="\n").writerows([header, *rows])
    return text.getvalue()


def among(*lines: str) -> str:
    """The good rows with other lines between them."""
    head, first, *rest = csv_of(GOOD).splitlines(keepends=True)
    return head + first + "".join(f"{line}\n" for line in lines) + "".join(rest)


LINES: tuple[Callable[[Random], str], ...] = (
    lambda rng: '"never closed,x',
    lambda rng: 'bad.mp4,"never closed',
    lambda rng: 'bad.mp4,"closed" too early,,,',
    lambda rng: '"' * rng.randrange(1, 40),
    lambda rng: 'bad.mp4,"' + '""' * 50_000 + ",,,",
    lambda rng: "bad.mp4,nul\0here,,,",
    lambda rng: "\0" * 1000,
    lambda rng: "\ufeffbad.mp4,bom,,,",
    lambda rng: "," * rng.choice((1, 3, 5, 10_000, 1_000_000)),
    lambda rng: "bad.mp4",
    lambda rng: f"bad.mp4,{'x' * 10_000_000},,,",
    lambda rng: f'bad.mp4,"{"x" * 10_000_000}",,,',
    lambda rng: f'bad.mp4,"{"x" * 10_000_000},,,',
    lambda rng: f'bad.mp4,"{"x" + chr(10) * 1_000_000}",,,',
    lambda rng: "bad.mp4,line\rends\r\nof,two\rkinds",
    lambda rng: "../../etc/passwd,leads out,,,",
    lambda rng: "a/../../../bad.mp4,leads out,,,",
    lambda rng: "/etc/passwd,a full path,,,",
    lambda rng: "file:///etc/passwd,a URL,,,",
    lambda rng: "nowhere://x/y.mp4,a scheme,,,",
    lambda rng: "://,a scheme,,,",
    lambda rng: "simplecache::file:///etc/passwd,chained,,,",
    lambda rng: "good0.mp4,again,,,",
    lambda rng: f"{'x' * 5000}.mp4,a long name,,,",
    lambda rng: f"{'x/' * 5000}.mp4,a deep name,,,",
    lambda rng: ".,a folder,,,",
    lambda rng: ",no file,,,",
    lambda rng: "bad.mp4,,,,",
    lambda rng: f"bad.mp4,times,,{rng.choice(('nan', '-1', '1e400', '9' * 400, '1:2:3:4:5', 'x'))},1e308",
    lambda rng: f"bad.mp4,times,,{rng.choice(('inf', '0x10', '-0', '1e-400'))},{rng.choice(('0', '9'))}",
    lambda rng: f"bad.mp4,{hostile(rng)!r},,,",
    lambda rng: "bad.mp4," + '"' + hostile(rng).replace('"', '""') + '",,,',
    lambda rng: "bad.mp4,x,,," + rng.choice(("\x1a", "\x85", "\u2028", "\x0b", "\x0c")),
)

HEADERS: tuple[Callable[[Random], str], ...] = (
    lambda rng: "",
    lambda rng: "\n" * 1000,
    lambda rng: csv_of(GOOD, ("file",)),
    lambda rng: csv_of(GOOD, ("a", "b", "c", "d", "e")),
    lambda rng: csv_of(GOOD, ("file", "file", "caption", "c", "d")),
    lambda rng: csv_of(GOOD, ("file", "FILE", "caption", "Caption", "d")),
    lambda rng: csv_of(GOOD, ("file", "caption", "rowid", "hash", "position")),
    lambda rng: csv_of(GOOD, ("file", "caption", "id", "rank", "problem")),
    lambda rng: csv_of(GOOD, ("file", "caption", "refused_because", "extra", "withdrawn")),
    lambda rng: csv_of(GOOD, ("file", "caption", 'x"; drop table rows; --', "x' or 1=1", "?")),
    lambda rng: csv_of(GOOD, ("file", "caption", "nul\0", "\r\n", " ")),
    lambda rng: csv_of(GOOD, ("file", "caption", "x" * 100_000, "y" * 300_000, "z")),
    lambda rng: csv_of([(*row, *range(5000)) for row in GOOD], (*HEADER, *(f"c{i}" for i in range(5000)))),
    lambda rng: csv_of(GOOD, (*HEADER, *(f"c{i}" for i in range(1_000_000)))),
    lambda rng: csv_of(GOOD, (*HEADER, *[""] * 1_000_000)),
    lambda rng: "file,caption" + "x" * 10_000_000,
    lambda rng: csv_of(GOOD, delimiter=";"),
    lambda rng: csv_of(GOOD).replace("\n", "\r"),
    lambda rng: csv_of(GOOD).replace("file,", '"file,', 1),
)


def csv_take_in(folder: Path, number: int, rng: Random) -> None:
    """A table with its good rows beside bad lines, or damaged anywhere."""
    good, data = _csv_case(rng, number)
    _take_in(folder, rng.choice((".csv", ".csv", ".csv.gz")), data, good)


def _csv_case(rng: Random, number: int) -> tuple[list[str], bytes]:
    """The ids that must be usable, and the table."""
    named = len(LINES) + len(HEADERS)
    # In steps of seven, so that the first cases are of both.
    at = 7 * number % named
    if number < named and at < len(LINES):
        return IDS, among(LINES[at](rng)).encode()
    if number < named:
        return [], HEADERS[at - len(LINES)](rng).encode()
    plain = csv_of([row for row in GOOD if '"' not in row[1]]).encode()
    match rng.randrange(6):
        case 0:
            return IDS, among(*(rng.choice(LINES)(rng) for _ in range(rng.randrange(2, 6)))).encode()
        case 1:
            return [], rng.choice(HEADERS)(rng).encode()
        case 2:
            return [], csv_of(GOOD).encode(rng.choice(("utf-16", "utf-32", "utf-8-sig")))
        case 3:
            return [], damaged(rng, csv_of(GOOD).encode())
    line = damaged(rng, b"bad.mp4,some caption,,,").replace(b"good", b"")
    return [IDS[0]], plain + line


def _take_in(folder: Path, suffix: str, data: bytes, good: list[str], form: str = "folder") -> None:
    (folder / "videos").mkdir()
    for id_ in IDS:
        (folder / "videos" / id_).write_bytes(good_video())
    packed = gzip.compress(data, 1) if suffix.endswith(".gz") else data
    (folder / f"t{suffix}").write_bytes(packed)
    told: dict[str, Any] = {"format": form, "path": f"t{suffix}", "videos": "videos"}
    assert_taken_in(folder, good, refusable=not good, **told)


JSON_LINES: tuple[Callable[[Random], str], ...] = (
    lambda rng: "[" * 100_000,
    lambda rng: '{"a":' * 100_000,
    lambda rng: '{"file": "bad.mp4", "caption": ' + "[" * 50_000 + "]" * 50_000 + "}",
    lambda rng: '{"file": "bad.mp4", "caption": ' + "9" * 10_000 + "}",
    lambda rng: '{"file": "bad.mp4", "caption": 1e400}',
    lambda rng: '{"file": "bad.mp4", "caption": NaN}',
    lambda rng: '{"file": "good0.mp4", "file": "bad.mp4", "caption": "twice", "caption": 3}',
    lambda rng: '{"file": {"a": 1}, "caption": [1, null, true]}',
    lambda rng: '{"file": null, "caption": null}',
    lambda rng: '{"file": "bad\\u0000.mp4", "caption": "\\u0000"}',
    lambda rng: '{"file": "bad.mp4", "caption": "\\ud800\\udfff\\ud800"}',
    lambda rng: '{"": 1, "$.x": 2, "a\\"b": 3, "\\u0000": 4, "file": "bad.mp4", "caption": "keys"}',
    lambda rng: json.dumps({"file": "bad.mp4", "caption": "x" * 10_000_000}),
    lambda rng: json.dumps({"file": "bad.mp4", "caption": "keys", **{f"k{i}": i for i in range(5000)}}),
    lambda rng: json.dumps({"file": "bad.mp4", "caption": hostile(rng)}),
    lambda rng: json.dumps({"file": "bad.mp4", "caption": hostile(rng)}, ensure_ascii=False),
    lambda rng: "'file': 'bad.mp4'",
    lambda rng: "\x01\x02\x03",
    lambda rng: "null",
    lambda rng: '"' * 30,
    lambda rng: json.dumps({"file": "../../etc/passwd", "caption": "leads out"}),
)


def json_take_in(folder: Path, number: int, rng: Random) -> None:
    """The same in JSON lines."""
    rows = [json.dumps(dict(zip(HEADER, row, strict=True))).encode() for row in GOOD]
    bad = JSON_LINES[number % len(JSON_LINES)](rng).encode()
    if number >= len(JSON_LINES):
        bad = damaged(rng, bad[:5000], rows[0]).replace(b"good", b"")
    _take_in(
        folder, rng.choice((".jsonl", ".jsonl", ".jsonl.gz")), b"\n".join([rows[0], bad, *rows[1:]]), IDS
    )


def parquet_of(**columns: Any) -> bytes:
    """A Parquet file of the good rows with other or more columns."""
    named = {name: [row[i] for row in GOOD] for i, name in enumerate(HEADER)}
    buffer = io.BytesIO()
    parquet.write_table(pa.table({**named, **columns}), buffer, row_group_size=2)
    return buffer.getvalue()


def parquet_take_in(folder: Path, number: int, rng: Random) -> None:
    """Parquet files with videos as paths and as bytes, of other types, or damaged."""
    videos = [good_video(seed) for seed in range(3)]
    kinds: tuple[dict[str, Any], ...] = (
        {"caption": [1, 2, 3]},
        {"caption": [["a"], ["b", None], None]},
        {"caption": [b"\xff", b"\0", None]},
        {"start": pa.array([1, 2, 3], pa.timestamp("s"))},
        {"file": [None, None, None]},
        {"file": [{"bytes": videos[0], "path": "x"}, {"bytes": None, "path": "x"}, None]},
        {"nested": [[[[[[1]]]]], None, []]},
        {"rowid": [1, 2, 3], "source_row": [1, 2, 3], "source_file": [9, 9, 9]},
        {"decimal": pa.array(["1", "2", None]).cast(pa.decimal128(38, 2))},
        {"bad": pa.array([b"\xff\xfe", b"", None])},
        {"map": pa.array([[("a", 1)], [], None], pa.map_(pa.string(), pa.int64()))},
    )
    whole = parquet_of(**kinds[number % len(kinds)])
    if number < len(kinds):
        _take_in(folder, ".parquet", whole, [])
        return
    data = damaged(rng, rng.choice((parquet_of(file=videos), whole)), whole)
    (folder / "t.parquet").write_bytes(data)
    assert_taken_in(folder, [], refusable=True, format="parquet", path="t.parquet", columns={"path": "file"})
