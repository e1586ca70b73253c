"""The real side of an evaluation: whether its videos are there; their features are `features`'.

No video is copied: a real video is its path and the SHA-256 of its bytes, in the catalog table
`benchmark_videos`. How long the list is that they are of stands in `benchmark_lists`. What is missing or
unreadable is counted and named, never silently left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence, Set
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from onaspr_core import code_versions
from onaspr_core.artifacts import content_key
from onaspr_core.compute import Failure, Maker, Outcome, Preview, run_items, version_of
from onaspr_core.errors import UserError
from onaspr_core.evaluation.benchmark_lists import BenchmarkList, read_benchmark
from onaspr_core.evaluation.published import PUBLISHED, how_to_get
from onaspr_core.evaluation.real_frames import RealFrames, read_real
from onaspr_core.markdown import cell, table
from onaspr_core.paths import file_sha256, resolve
from onaspr_core.pool.sources import SourceRow
from onaspr_core.settings import BenchmarkSettings, Experiment
from onaspr_core.workspace import Workspace

TABLE = """create table if not exists benchmark_videos (
    experiment text, position integer, id text, caption text, path text, sha256 text, key text,
    primary key (experiment, id))"""

LISTS = """create table if not exists benchmark_lists (
    experiment text primary key, key text, listed integer, expected integer)"""

EXAMPLES = 10

NO_BENCHMARK = "none set: FID, CLIP-FID and FVD need evaluation.benchmark, CLIPSIM and IS do not"


@dataclass(frozen=True)
class RealVideo:
    """One video of the real side; `sha256` is of the file's bytes."""

    id: str
    caption: str
    path: str
    sha256: str


@dataclass(frozen=True)
class _Row:
    position: int
    id: str
    caption: str
    path: Path
    problem: str | None

    @property
    def key(self) -> str:
        """Row and file as they stand: a touched file is hashed again, an untouched one is not."""
        stat = self.path.stat() if self.path.is_file() else None
        return content_key(
            "benchmark-video",
            version=code_versions.BENCHMARK,
            row=[self.id, self.caption, str(self.path)],
            file=[stat.st_size, stat.st_mtime_ns] if stat else None,
        )


def ingest_benchmark(workspace: Workspace, e: Experiment) -> Outcome:
    """Find the benchmark's videos, hash them, and note them in the catalog.

    The version is the hash of ids and contents, so a moved or touched file changes nothing. A row whose file
    is missing or unreadable is a Failure, and so is a list with fewer or more rows than were published.
    Without a benchmark, nothing, and facts say so. Raises UserError when the list itself cannot be read.
    """
    benchmark = e.evaluation.benchmark
    if benchmark is None:
        _forget_others(workspace, e, [])
        return Outcome(version_of([]), 0, 0, 0, facts={"benchmark": NO_BENCHMARK})
    key = _list_key(benchmark, workspace.settings.base)
    listed = read_benchmark(benchmark, workspace.settings.base)
    rows = [_row(position, row) for position, row in enumerate(listed.rows)]
    known = _forget_others(workspace, e, rows)
    _note_list(workspace, e, key, listed)
    remedy = "" if benchmark.format in PUBLISHED else " or take its row out of the list"

    @contextmanager
    def open_maker() -> Iterator[Maker[_Row]]:
        yield lambda batch: _note(workspace, e, batch, known, f"put the video there{remedy}")

    outcome = run_items(
        "benchmark videos",
        rows,
        key=lambda row: row.key,
        name=lambda row: row.id,
        exists=lambda keys: known.intersection(keys),
        open_maker=open_maker,
        batch_size=64,
    )
    videos = real_videos(workspace, e)
    failures = (*_wrong_count(benchmark, listed), *outcome.failures)
    facts: dict[str, Any] = {
        "benchmark": benchmark.path,
        "real_videos": len(videos),
        "listed": len(rows),
        "missing": len(outcome.failures),
    }
    if listed.expected is not None:
        facts["expected"] = listed.expected
    return replace(
        outcome,
        version=version_of(
            [*(f"{video.id} {video.sha256}" for video in videos), *(f"failed {one.item}" for one in failures)]
        ),
        failures=failures,
        facts=facts,
        preview=Preview(
            markdown=_report(benchmark, listed, {video.id for video in videos}, outcome.failures)
        ),
    )


def real_videos(workspace: Workspace, e: Experiment) -> list[RealVideo]:
    """The benchmark's videos in the order of its list, as `ingest_benchmark` found them."""
    rows = workspace.catalog.rows(
        "select id, caption, path, sha256 from benchmark_videos where experiment = ? order by position",
        [e.name],
    )
    return [RealVideo(*row) for row in rows or ()]


def shortage(workspace: Workspace, e: Experiment) -> str:
    """Say how many of the benchmark's videos are usable; empty where all are, or no benchmark is set.

    The list is read only where it is not the file that `ingest_benchmark` has read.

    Raises:
        UserError: when the list is read and cannot be.
    """
    if (benchmark := e.evaluation.benchmark) is None:
        return ""
    usable, counts = real_videos(workspace, e), _noted_list(workspace, e, benchmark)
    if counts is None:
        found = read_benchmark(benchmark, workspace.settings.base)
        ids = {row.id for row in found.rows}
        usable = [video for video in usable if video.id in ids]
        counts = len(ids), found.expected
    listed, expected = counts[0], counts[0] if counts[1] is None else counts[1]
    if len(usable) == expected == listed:
        return ""
    of = PUBLISHED[benchmark.format].name if benchmark.format in PUBLISHED else benchmark.path
    return f"{len(usable):,} of the {expected:,} real videos of {of} are usable, and its list has {listed:,}"


def _list_key(benchmark: BenchmarkSettings, base: Path) -> str | None:
    """Settings and file of a list as they stand; None for one that is not a single local file."""
    path = Path(resolve(benchmark.path, base))
    if not path.is_file():
        return None
    stat = path.stat()
    return content_key(
        "benchmark-list",
        version=code_versions.BENCHMARK,
        benchmark=benchmark.model_dump(mode="json"),
        file=[str(path), stat.st_size, stat.st_mtime_ns],
    )


def _note_list(workspace: Workspace, e: Experiment, key: str | None, listed: BenchmarkList) -> None:
    with workspace.catalog.write() as connection:
        connection.execute(LISTS)
        connection.execute(
            "insert or replace into benchmark_lists values (?, ?, ?, ?)",
            [e.name, key, len(listed.rows), listed.expected],
        )


def _noted_list(
    workspace: Workspace, e: Experiment, benchmark: BenchmarkSettings
) -> tuple[int, int | None] | None:
    """How many rows the list has and should have; None where it was not read as it stands now."""
    key = _list_key(benchmark, workspace.settings.base)
    query = "select listed, expected from benchmark_lists where experiment = ? and key = ?"
    rows = workspace.catalog.rows(query, [e.name, key]) or ()
    return next(((listed, expected) for listed, expected in rows), None)


def _row(position: int, row: SourceRow) -> _Row:
    return _Row(position, row.id, row.caption, Path(row.media.path), row.problem)


def _wrong_count(benchmark: BenchmarkSettings, listed: BenchmarkList) -> Iterator[Failure]:
    if listed.expected not in (None, len(listed.rows)):
        one = PUBLISHED[benchmark.format]
        yield Failure(
            f"the list {PurePosixPath(benchmark.path).name}",
            f"{benchmark.path} lists {len(listed.rows):,} {one.what} in place of the {listed.expected:,} of "
            f"{one.name}; {one.get}",
        )


def _report(
    benchmark: BenchmarkSettings, listed: BenchmarkList, found: Set[str], missing: Sequence[Failure]
) -> str:
    """Counts, per class where there are classes and one lacks videos, the first that are missing, remedy."""
    expected = "" if listed.expected is None else f"{listed.expected:,}"
    counts = [expected, f"{len(listed.rows):,}", f"{len(found):,}", f"{len(missing):,}"]
    parts = [table(("expected", "listed", "found", "missing"), [counts])]
    of_class = Counter(row.extra["class"] for row in listed.rows if "class" in row.extra)
    there = Counter(row.extra["class"] for row in listed.rows if row.id in found and "class" in row.extra)
    fewer = [(name, str(n), str(there[name])) for name, n in sorted(of_class.items()) if there[name] < n]
    if fewer:
        parts.append(table(("class", "listed", "found"), fewer))
    if missing:
        parts.append(table(("missing, for example", "reason"), [one[:2] for one in missing[:EXAMPLES]]))
    if (missing or listed.expected not in (None, len(listed.rows))) and (get := how_to_get(benchmark.format)):
        parts.append(cell(get))
    return "\n\n".join(parts)


def _forget_others(workspace: Workspace, e: Experiment, rows: Sequence[_Row]) -> set[str]:
    """Drop rows that no longer stand in the list or whose file changed; return the keys that stay."""
    wanted = {row.key for row in rows}
    with workspace.catalog.write() as connection:
        connection.execute(TABLE)
        query = "select key from benchmark_videos where experiment = ?"
        noted = {key for (key,) in connection.execute(query, [e.name]).fetchall()}
        gone = [[e.name, key] for key in sorted(noted - wanted)]
        if gone:
            connection.executemany("delete from benchmark_videos where experiment = ? and key = ?", gone)
        places = [[row.position, e.name, row.key, row.position] for row in rows if row.key in noted]
        if places:
            connection.executemany(
                "update benchmark_videos set position = ? where experiment = ? and key = ? and position <> ?",
                places,
            )
    return noted & wanted


def _note(
    workspace: Workspace, e: Experiment, batch: Sequence[_Row], known: set[str], remedy: str
) -> Iterable[Failure]:
    found: list[tuple[_Row, str]] = []
    yield from (Failure(row.id, row.problem) for row in batch if row.problem)
    usable = [row for row in batch if not row.problem]
    with closing(read_real([RealFrames(str(row.path), limit=1) for row in usable])) as read:
        for row, frames in zip(usable, read, strict=True):
            if isinstance(frames, UserError):
                yield Failure(row.id, f"{frames}; {remedy}")
            else:
                found.append((row, file_sha256(row.path)))
    rows = [[e.name, r.position, r.id, r.caption, str(r.path), digest, r.key] for r, digest in found]
    if rows:
        with workspace.catalog.write() as connection:
            insert = "insert or replace into benchmark_videos values (?, ?, ?, ?, ?, ?, ?)"
            connection.executemany(insert, rows)
        known.update(row.key for row, _ in found)
