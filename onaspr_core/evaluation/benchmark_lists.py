"""The list of a benchmark: which videos or images, each with one caption, whatever form it was published in.

Prompts and real side are made from the same rows. What does not belong here: whether the files exist
(`benchmarks`), and the forms that pools have too (`onaspr_core.pool.source_forms`).
"""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TypeVar

from onaspr_core.errors import UserError
from onaspr_core.evaluation.list_files import Captioned, coco_images, msr_vtt_test
from onaspr_core.evaluation.published import FLICKR30K_IMAGES, PUBLISHED
from onaspr_core.evaluation.settings import BenchmarkSettings
from onaspr_core.evaluation.ucf101 import ucf101_test
from onaspr_core.paths import resolve
from onaspr_core.pool.choice import pool_rank
from onaspr_core.pool.media import Media
from onaspr_core.pool.settings import PoolSettings
from onaspr_core.pool.sources import SourceRow, read_source

T = TypeVar("T")


@dataclass(frozen=True)
class BenchmarkList:
    """The rows of a benchmark, with unique ids; `extra` of a row holds the attributes of its prompt.

    `expected` is how many a published benchmark has, None for a list of the user's own.
    """

    rows: Sequence[SourceRow]
    expected: int | None

    @property
    def usable(self) -> list[SourceRow]:
        """The rows that name a caption and a file."""
        return [row for row in self.rows if not row.problem]


def read_benchmark(benchmark: BenchmarkSettings, base: Path) -> BenchmarkList:
    """Return the list of a benchmark; relative paths start from `base`.

    Of a published benchmark, captions and order follow from the seed and the content alone, so that the
    order of the file changes nothing, and the first n rows are a fair sample of all. Others keep the order
    of their list.

    Raises:
        UserError: when the list cannot be read, is of another form, holds no row or an id twice.
    """
    found = _read(benchmark, base)
    twice = [one for one, count in Counter(row.id for row in found.rows).items() if count > 1]
    if not found.rows or twice:
        wrong = f"names {twice[0]!r} twice; ids must be unique" if twice else "holds no row"
        raise UserError(f"benchmark list {benchmark.path} {wrong}")
    return found


def as_pool(benchmark: BenchmarkSettings) -> PoolSettings | None:
    """Return the pool whose list the benchmark's is, None for a form that no pool has."""
    match benchmark.format:
        case "webvid" | "folder" | "flickr30k" as form:
            return PoolSettings(format=form, path=benchmark.path, videos=benchmark.videos)
    return None


def _read(benchmark: BenchmarkSettings, base: Path) -> BenchmarkList:
    if pool := as_pool(benchmark):
        rows = read_source(pool, base)
        if benchmark.format == "flickr30k":
            return _flickr30k(benchmark, rows)
        return BenchmarkList(
            [replace(row, id=row.id or f"row {i}", extra={}) for i, row in enumerate(rows, 1)], None
        )
    items = _FORMS[benchmark.format](resolve(benchmark.path, base))
    ranked = _ranked(items, benchmark.seed, lambda item: item.id)
    expected = benchmark.size or PUBLISHED[benchmark.format].items
    chosen = ranked[:expected] if benchmark.format == "coco" else ranked
    folder = os.path.normpath(resolve(benchmark.videos or "", base))
    return BenchmarkList([_row(item, folder, benchmark.seed) for item in chosen], expected)


_FORMS: Mapping[str, Callable[[str], Iterator[Captioned]]] = {
    "msr-vtt": msr_vtt_test,
    "ucf101": ucf101_test,
    "coco": coco_images,
}


def _ranked(items: Iterable[T], seed: int, name: Callable[[T], str]) -> list[T]:
    """All items by the seeded rank of their names."""
    return sorted(items, key=lambda item: (pool_rank(seed, name(item)), name(item)))


def _row(item: Captioned, folder: str, seed: int) -> SourceRow:
    captions = [caption for caption in item.captions if caption and "\0" not in caption]
    caption = _ranked(captions, seed, lambda text: f"{item.id}\n{text}")[0] if captions else ""
    return SourceRow(
        id=item.id,
        caption=caption,
        media=Media(f"{folder}/{item.file}"),
        extra=dict(item.attributes),
        problem=None if captions else "the list has no caption for it",
    )


def _flickr30k(benchmark: BenchmarkSettings, rows: Iterable[SourceRow]) -> BenchmarkList:
    """One row of each image, of the split "test" where the list knows splits."""
    images: dict[str, list[SourceRow]] = {}
    splits = False
    for i, row in enumerate(rows, 1):
        split = row.extra.get("split")
        splits = splits or bool(split)
        if not split or split == "test":
            images.setdefault(row.media.path or row.id or f"row {i}", []).append(row)
    chosen = [_one_caption(image, own, benchmark.seed) for image, own in images.items()]
    expected = PUBLISHED["flickr30k"].items if splits else FLICKR30K_IMAGES
    return BenchmarkList(_ranked(chosen, benchmark.seed, lambda row: row.id), expected)


def _one_caption(path: str, rows: Sequence[SourceRow], seed: int) -> SourceRow:
    usable = [row for row in rows if not row.problem] or rows
    image = PurePosixPath(path).stem
    (chosen, *_) = _ranked(usable, seed, lambda row: f"{image}\n{row.caption}")
    return replace(chosen, id=image, extra={})
