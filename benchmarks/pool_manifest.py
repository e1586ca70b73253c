"""What the manifest of a WebVid-form CSV costs, beside DuckDB's own scan of the same file.

The CSV is written to a temporary folder: ten million rows of about 280 bytes, the same every time. Every
contender runs in a process of its own, in turns. The scans read the file with the manifest's column types:
`every column` looks at each value of each row, which a manifest that carries all columns along has to do as
well; `captions alone` leaves four of five columns unread. The manifest's first run hashes and ranks all ids,
takes the N smallest ranks, looks for their N videos, and stores the rows. None of the videos exists: that is
N looks at the disk and N rows with a reason, and no video is read or hashed. The second run finds the CSV as
it was, looks for the N videos again, and changes nothing.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import duckdb
from _timing import median_ratio, peak_mb, print_table, verdict

WORDS = [
    *("aerial", "view", "young", "woman", "walking", "forest", "sunset", "close", "up", "slow", "motion"),
    *("business", "man", "working", "laptop", "city", "traffic", "timelapse", "beautiful", "landscape"),
    *("mountains", "river", "water", "green", "background", "footage", "concept", "happy", "family"),
    *("beach", "waves", "drone"),
]
COLUMNS = ("videoid", "contentUrl", "duration", "page_dir", "name")
PHRASES = 4096
BAR, BAR_MB = 2.0, 2000.0


def write_csv(path: Path, rows: int) -> None:
    """Write rows in WebVid's form: ids, addresses, durations, folders, captions of 8 to 17 words."""
    draw = random.Random(0)
    phrases = [" ".join(draw.choices(WORDS, k=draw.randint(4, 8))) for _ in range(PHRASES)]
    with duckdb.connect() as connection:
        connection.execute("create table phrases as select unnest(range(?)) as number, unnest(?) as text",
                           [PHRASES, phrases])  # fmt: skip
        connection.execute(
            f"""
            copy (
                select id as videoid,
                    'https://ak.picdn.net/shutterstock/videos/' || id || '/preview/stock-footage-'
                        || replace(caption, ' ', '-') || '.mp4' as contentUrl,
                    printf('PT00H00M%02dS', 5 + i % 50) as duration,
                    printf('%06d_%06d', i // 50 * 50 + 1, i // 50 * 50 + 50) as page_dir,
                    upper(caption[1]) || caption[2:] || if(i % 9 = 0, ', stock.', '') as name
                from (
                    select i, 1000000 + i * 7 as id, a.text || ' ' || b.text as caption
                    from range({rows}) t(i)
                    join phrases a on a.number = i * 2654435761 % {PHRASES}
                    join phrases b on b.number = (i + 77) * 40503 // 16 % {PHRASES}
                ) order by i
            ) to '{path}' (header)"""
        )


def scan(path: Path, columns: Sequence[str]) -> None:
    """Let DuckDB read columns of the CSV, all as text, and look at each of their values."""
    types = ", ".join(f"'{name}': 'VARCHAR'" for name in COLUMNS)
    looked = ", ".join(f'sum(length("{name}"))' for name in columns)
    with duckdb.connect() as connection:
        connection.execute(
            f"select count(*), {looked} from read_csv('{path}', header = true, auto_detect = false, "
            f"delim = ',', quote = '\"', escape = '\"', columns = {{{types}}})"
        ).fetchall()


def manifest(path: Path, store: Path, size: int) -> Callable[[], None]:
    """Return what builds the manifest of a pool of this size, with everything imported."""
    from onaspr_core.pool.manifest import build_manifest
    from onaspr_core.settings import PoolSettings, Settings, StoreSettings
    from onaspr_core.workspace import Workspace

    pool = PoolSettings(format="webvid", path=path.name, videos="videos", size=size)
    settings = Settings(
        base=path.parent,
        store=StoreSettings(root=str(store)),
        pools={"webvid": pool},
        backbones={},
        experiments={},
    )

    def build() -> None:
        outcome = build_manifest(Workspace(settings))
        if outcome.total != size:
            raise SystemExit(f"{outcome.total} rows where {size} were asked for")

    return build


def run_alone(what: str, path: Path, size: int, store: Path) -> None:
    """Do one thing in this process and print its seconds and the most memory it ever held."""
    runs: dict[str, Callable[[], None]] = {
        "every column": lambda: scan(path, COLUMNS),
        "captions alone": lambda: scan(path, ("name",)),
    }
    run = runs.get(what) or manifest(path, store, size)
    started = time.perf_counter()
    run()
    seconds = time.perf_counter() - started
    print(json.dumps({"seconds": seconds, "peak_mb": peak_mb()}))


def measured(what: str, path: Path, size: int, store: Path) -> tuple[float, float]:
    """Run one thing in a process of its own; return seconds and peak memory in MB."""
    command = [sys.executable, __file__, "--alone", what, "--size", str(size), str(path), str(store)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    finished = subprocess.run(command, env=environment, capture_output=True, text=True)
    if finished.returncode:
        raise SystemExit(finished.stdout[-2000:] + finished.stderr[-2000:])
    told = json.loads(finished.stdout.splitlines()[-1])
    return told["seconds"], told["peak_mb"]


def compare(folder: Path, rows: int, size: int, repetitions: int) -> None:
    """Write the file, run everything in turns, print the table."""
    path = folder / "webvid.csv"
    write_csv(path, rows)
    print(f"{rows:,} rows, {path.stat().st_size / 1e9:.2f} GB, N = {size:,}, {os.cpu_count()} cores\n")
    names = ("every column", "captions alone", "first run", "second run")
    seconds: dict[str, list[float]] = {name: [] for name in names}
    peaks: dict[str, list[float]] = {name: [] for name in names}
    for repetition in range(repetitions):
        store = folder / f"store-{repetition}"
        for name in names if repetition % 2 == 0 else (*reversed(names[:2]), *names[2:]):
            taken, peak = measured(name, path, size, store)
            seconds[name].append(taken)
            peaks[name].append(peak)
        shutil.rmtree(store)
    table = []
    for name in names:
        ratios = [median_ratio(seconds[name], seconds[other]) for other in names[:2]]
        told = ("DuckDB's scan, " if name in names[:2] else "manifest, ") + name
        most = max(peaks[name])
        first = name == "first run"
        table.append(
            [
                told,
                f"{sorted(seconds[name])[repetitions // 2]:.2f}",
                f"{ratios[0]:.2f}",
                f"{ratios[1]:.2f}",
                f"{most:.0f}",
                f"{verdict(ratios[0], BAR)}; {verdict(most, BAR_MB)} MB" if first else "",
            ]
        )
    print_table(["", "seconds", "÷ every column", "÷ captions alone", "peak MB", "bar"], table)


def main() -> None:
    """Read the options and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=10_000_000, help="rows of the CSV")
    parser.add_argument("--size", type=int, default=100_000, help="N, the size of the pool")
    parser.add_argument("--repetitions", type=int, default=3, help="how often each contender runs")
    parser.add_argument("--alone", help=argparse.SUPPRESS)
    parser.add_argument("paths", nargs="*", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        run_alone(options.alone, options.paths[0], options.size, options.paths[1])
        return
    with tempfile.TemporaryDirectory() as name:
        compare(Path(name), options.rows, options.size, options.repetitions)


if __name__ == "__main__":
    main()
