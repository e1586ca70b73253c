"""The miniature world on disk: MP4 sources in WebVid's layout, for the pool and for the benchmark.

`render_world(root)` writes `<root>/videos/<page_dir>/<videoid>.mp4`, `pool.csv`, `benchmark.csv` (columns
`videoid,contentUrl,duration,page_dir,name`) and `prompts.jsonl`. The pool shows training combinations, the
benchmark and its prompts held-out ones. Ingestion is not here: it is the same as WebVid's.

From a shell: `python -m onaspr_core.miniature.world ROOT`.
"""

import argparse
import csv
import io
import json
import logging
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from onaspr_core.errors import PlainError, UserError
from onaspr_core.miniature.attributes import Scene, held_out_combinations, random_scenes
from onaspr_core.miniature.grammar import caption
from onaspr_core.miniature.rendering import FPS, SOURCE_FRAMES, source_frames
from onaspr_core.progress import track
from onaspr_core.whole_files import write_whole

PROMPTS_PER_COMBINATION = 5
CRF = 8
RENDERER = 2
"""Raise it when the pixels of a source change."""

COLUMNS = ("videoid", "contentUrl", "duration", "page_dir", "name")


@dataclass(frozen=True)
class Source:
    """One video to be: its id, where it lies, its caption, its scene, and the seed of its pixels."""

    id: str
    page_dir: str
    caption: str
    scene: Scene
    seed: tuple[int, ...]


def render_world(root: Path, pool_size: int = 1500, seed: int = 0, processes: int = 2) -> Path:
    """Write the world's pool and benchmark under `root`, and return `root`.

    The same seed gives the same captions and pixels; a larger pool begins with the smaller one's clips.
    Files that exist are kept, tables are written last, each file at once or not at all.

    Raises:
        UserError: when `root` cannot be written.
    """
    if pool_size < 1:
        raise UserError(f"a pool of {pool_size} clips: at least 1 is needed")
    pool, benchmark = pool_sources(pool_size, seed), benchmark_sources(seed)
    try:
        _render_missing(root, [*pool, *benchmark], processes)
        _write(root / "pool.csv", _table(pool).encode())
        _write(root / "benchmark.csv", _table(benchmark).encode())
        _write(root / "prompts.jsonl", _prompts(benchmark).encode())
    except OSError as problem:
        raise UserError(f"the miniature world cannot be written to {root}: {problem.strerror}") from problem
    return root


def pool_sources(count: int, seed: int = 0) -> list[Source]:
    """The first `count` sources of the pool, of training combinations, half of them with rich captions."""
    rng = np.random.default_rng([seed, 1])
    scenes = [scene for _ in range(-(-count // 1000)) for scene in random_scenes(1000, rng)][:count]
    words = np.random.default_rng([seed, 2])
    return [
        Source(
            id=f"{i:07d}",
            page_dir=f"pool{i // 1000:04d}",
            caption=caption(scene, words, rich=bool(words.random() < 0.5)),
            scene=scene,
            seed=(seed, 3, i),
        )
        for i, scene in enumerate(scenes)
    ]


def benchmark_sources(seed: int = 0) -> list[Source]:
    """Two hundred sources of held-out combinations, five of each, in an order that mixes them."""
    rng, words = np.random.default_rng([seed, 4]), np.random.default_rng([seed, 5])
    count = PROMPTS_PER_COMBINATION * len(held_out_combinations())
    return [
        Source(
            id=f"prompt{i:04d}",
            page_dir="benchmark",
            caption=caption(scene, words, rich=i % 2 == 1),
            scene=scene,
            seed=(seed, 6, i),
        )
        for i, scene in enumerate(random_scenes(count, rng, held_out=True))
    ]


def _path(root: Path, source: Source) -> Path:
    return root / "videos" / source.page_dir / f"{source.id}.mp4"


def _render_missing(root: Path, sources: list[Source], processes: int) -> None:
    # Files drawn from another seed, or by another renderer, go first; then what exists is right.
    marker = root / "videos" / "drawn.json"
    drawn = json.dumps({"renderer": RENDERER, "seed": sources[0].seed[0]})
    if not marker.exists() or marker.read_text() != drawn:
        for old in (root / "videos").rglob("*.mp4"):
            old.unlink()
        _write(marker, drawn.encode())
    missing = [source for source in sources if not _path(root, source).exists()]
    if not missing:
        return
    jobs = [(_path(root, s), s) for s in missing]
    with track("rendering the miniature world", len(jobs)) as advance:
        if processes == 1:
            for job in jobs:
                _render_one(job)
                advance(1)
        else:
            context = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(processes, mp_context=context) as workers:
                for _ in workers.map(_render_one, jobs, chunksize=16):
                    advance(1)


def _render_one(job: tuple[Path, Source]) -> None:
    from onaspr_core.media.video import encode_mp4

    path, source = job
    frames = source_frames(source.scene, np.random.default_rng(source.seed))
    _write(path, encode_mp4(frames, FPS, CRF))


def _table(sources: list[Source]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    duration = f"PT00H00M{SOURCE_FRAMES // FPS:02d}S"
    for s in sources:
        writer.writerow([s.id, f"videos/{s.page_dir}/{s.id}.mp4", duration, s.page_dir, s.caption])
    return text.getvalue()


def _prompts(sources: list[Source]) -> str:
    lines = [json.dumps({"id": s.id, "prompt": s.caption} | asdict(s.scene)) for s in sources]
    return "\n".join(lines) + "\n"


def _write(path: Path, content: bytes) -> None:
    """Write a file at once or not at all; one that already has this content is left alone."""
    if path.exists() and path.read_bytes() == content:
        return
    write_whole(path, content)


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line and render; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m onaspr_core.miniature.world", description=__doc__)
    parser.add_argument("root", type=Path, help="folder to write to")
    parser.add_argument("--pool-size", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        render_world(options.root, options.pool_size, options.seed)
    except PlainError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{options.pool_size} pool clips and their benchmark lie in {options.root}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
