"""The real side of an evaluation: which videos, and whether they are there; their features are `features`'.

No video is copied: a real video is its path and the SHA-256 of its bytes, in the catalog table
`benchmark_videos`. What is missing or unreadable is counted and named, never silently left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from onaspr_core.artifacts import content_key
from onaspr_core.compute import Failure, Maker, Outcome, run_items, version_of
from onaspr_core.errors import UserError
from onaspr_core.paths import file_sha256
from onaspr_core.pool.sources import read_source
from onaspr_core.settings import BenchmarkSettings, Experiment
from onaspr_core.video import read_frames
from onaspr_core.workspace import Workspace

TABLE = """create table if not exists benchmark_videos (
    experiment text, position integer, id text, caption text, path text, sha256 text, key text,
    primary key (experiment, id))"""

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
            row=[self.id, self.caption, str(self.path)],
            file=[stat.st_size, stat.st_mtime_ns] if stat else None,
        )


def ingest_benchmark(workspace: Workspace, e: Experiment) -> Outcome:
    """Find the benchmark's videos, hash them, and note them in the catalog.

    The version is the hash of ids and contents, so a moved or touched file changes nothing. A row
    whose file is missing or unreadable is a Failure. Without a benchmark, nothing, and facts say so.
    Raises UserError when the list itself cannot be read.
    """
    rows = _rows(e.evaluation.benchmark, workspace.settings.base) if e.evaluation.benchmark else []
    known = _forget_others(workspace, e, rows)
    if e.evaluation.benchmark is None:
        return Outcome(version_of([]), 0, 0, 0, facts={"benchmark": NO_BENCHMARK})

    @contextmanager
    def open_maker() -> Iterator[Maker[_Row]]:
        yield lambda batch: _note(workspace, e, batch, known)

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
    failed = [f"failed {failure.item}" for failure in outcome.failures]
    return replace(
        outcome,
        version=version_of([*(f"{video.id} {video.sha256}" for video in videos), *failed]),
        facts={"benchmark": e.evaluation.benchmark.path, "real_videos": len(videos), "missing": len(failed)},
    )


def real_videos(workspace: Workspace, e: Experiment) -> list[RealVideo]:
    """The benchmark's videos in the order of its list, as `ingest_benchmark` found them."""
    rows = workspace.catalog.rows(
        "select id, caption, path, sha256 from benchmark_videos where experiment = ? order by position",
        [e.name],
    )
    return [RealVideo(*row) for row in rows or ()]


def _rows(benchmark: BenchmarkSettings, base: Path) -> list[_Row]:
    """The rows of the benchmark's list, read by the same code as a pool's."""
    rows = [
        _Row(i, row.id or f"row {i + 1}", row.caption, Path(row.media.path), row.problem)
        for i, row in enumerate(read_source(benchmark, base))
    ]
    twice = [one for one, count in Counter(row.id for row in rows).items() if count > 1]
    if not rows or twice:
        wrong = f"names {twice[0]!r} twice; ids must be unique" if twice else "holds no row"
        raise UserError(f"benchmark list {benchmark.path} {wrong}")
    return rows


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


def _note(workspace: Workspace, e: Experiment, batch: Sequence[_Row], known: set[str]) -> Iterable[Failure]:
    found: list[tuple[_Row, str]] = []
    for row in batch:
        if row.problem:
            yield Failure(row.id, row.problem)
            continue
        try:
            read_frames(str(row.path), limit=1)
        except UserError as problem:
            yield Failure(row.id, f"{problem}; put the video there or take its row out of the list")
            continue
        found.append((row, file_sha256(row.path)))
    rows = [[e.name, r.position, r.id, r.caption, str(r.path), digest, r.key] for r, digest in found]
    if rows:
        with workspace.catalog.write() as connection:
            insert = "insert or replace into benchmark_videos values (?, ?, ?, ?, ?, ?, ?)"
            connection.executemany(insert, rows)
        known.update(row.key for row, _ in found)
