"""WebDataset tars as sources: `key.mp4` or `key.jpg`, `key.txt`, `key.json`, and a Parquet beside each.

video2dataset and img2dataset write `00000.tar` and `00000.parquet`, which lists also what could not be
downloaded. Tars without such lists are indexed by their headers. What does not belong here: the shards that
this project writes (`shards`).
"""

import posixpath
import tarfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import duckdb
import pyarrow as pa

from onaspr_core.errors import UserError
from onaspr_core.folders import Folder, file_system, to_read
from onaspr_core.pool.listed_files import distinct_names, exists, listed_files
from onaspr_core.pool.media import tar_files
from onaspr_core.pool.scan import VIEW, Table
from onaspr_core.pool.tables import of_file, open_table
from onaspr_core.pool.text_tables import json_object, json_values
from onaspr_core.pool.texts import LONGEST_TEXT, decoded, storable
from onaspr_core.progress import logger, track

VIDEOS = (".mp4", ".webm", ".mov", ".mkv", ".avi", ".gif", ".webp", ".jpg", ".jpeg", ".png")
ITEMS_PER_BATCH = 10_000
_TAKEN = ("key", "caption", "tar", "suffix", "folder_of_tar", "unread")
NO_VIDEO = "case when suffix is null then 'its tar holds no video' end"
UNREAD = f"coalesce(unread, {NO_VIDEO})"

_ITEMS = pa.schema([(name, pa.string()) for name in (*_TAKEN, "line")])


@dataclass(frozen=True)
class Shards:
    """Items of tars: `relation` has the table's columns, and `tar` and `suffix` of each item's video.

    `problem` is the SQL of why an item cannot be used, `unfinished` tars that a download left half-written,
    or that cannot be read to their end.
    `in_folders` says that tars of several folders have one name, so that keys may repeat; then the relation's
    `folder_of_tar` tells them apart, else it is empty.
    """

    relation: str
    table: Table
    problem: str
    unfinished: Sequence[str]
    in_folders: bool


def shard_files(path: str) -> list[str]:
    """Return the tars that a path names, and the Parquet files beside them.

    Raises:
        UserError: when there is no tar.
    """
    tars = listed_files(path, (".tar",))
    return [*tars, *sorted(_present(_lists(tars).values()))]


def open_shards(connection: duckdb.DuckDBPyConnection, path: str) -> Shards:
    """Make the relation over the tars that a path names.

    Raises:
        UserError: when there is none, or none is whole.
    """
    tars = listed_files(path, (".tar",))
    lists, folders = _lists(tars), _folders(tars)
    present = _present(lists.values())
    if not present:
        return _indexed(connection, tars)
    whole = {tar: file for tar, file in lists.items() if file in present and _is_parquet(file)}
    if not whole:
        raise UserError(f"{path}: none of the {len(tars)} tars has a whole Parquet file beside it")
    table = open_table(connection, list(whole.values()))
    # Where no download failed, the column of messages has no type.
    failed = "'its download failed: ' || coalesce(nullif(cast(error_message as varchar), ''), status)"
    known = {"status", "error_message"} <= table.columns.keys()
    return Shards(
        relation=f"(select *, {of_file(list(whole))} as tar, "
        f"{of_file([_suffix(tar) for tar in whole])} as suffix, "
        f"{of_file([folders[tar] for tar in whole])} as folder_of_tar from {VIEW})",
        table=table,
        problem=f"case when status <> 'success' then {failed} else {NO_VIDEO} end" if known else NO_VIDEO,
        unfinished=_told_unfinished([tar for tar in tars if tar not in whole]),
        in_folders=any(folders.values()),
    )


def _lists(tars: Sequence[str]) -> dict[str, str]:
    return {tar: f"{tar.removesuffix('.tar')}.parquet" for tar in tars}


def _folders(tars: Sequence[str]) -> dict[str, str]:
    """What tells tars of one name apart: their folders, each with a slash; empty where no name repeats."""
    names = distinct_names(tars)
    return {tar: name[: name.rfind("/") + 1] for tar, name in zip(tars, names, strict=True)}


def _told_unfinished(tars: list[str]) -> list[str]:
    for tar in tars:
        logger.warning("%s is left out: its Parquet file is missing or half-written", tar)
    return tars


def _present(files: Collection[str]) -> set[str]:
    there = Folder(next(iter(files))).map(exists, files)
    return {file for file, is_there in zip(files, there, strict=True) if is_there}


def _is_parquet(file: str) -> bool:
    """Whether the file was written to its end, which is the last thing that a writer does."""
    filesystem, inside = file_system(file)
    return bool(filesystem.size(inside) > 8 and filesystem.tail(inside, 4) == b"PAR1")


def _suffix(tar: str) -> str | None:
    """The suffix of the first video in a tar; all of a tar have one."""
    with to_read(tar) as file, suppress(UserError):
        for _, members in groupby(_members(tar, file), lambda member: member[0]):
            if found := _video([suffix for _, suffix, _ in members]):
                return found
    return None


def _video(suffixes: Sequence[str]) -> str | None:
    """Which of an item's suffixes is that of its video: a video goes before a picture of it."""
    found = {suffix.lower(): suffix for suffix in suffixes}
    return next((found[suffix] for suffix in VIDEOS if suffix in found), None)


def _members(tar: str, file: Any) -> Iterator[tuple[str, str, tarfile.TarInfo]]:
    """Key, suffix and header of each file; a key ends at the first dot of a name, as WebDataset has it."""
    for member in tar_files(file, tar):
        folder, name = posixpath.split(posixpath.normpath(member.name))
        stem, dot, suffix = name.partition(".")
        # Hidden files have no key, and are no items.
        if stem:
            yield posixpath.join(folder, stem), f"{dot}{suffix}", member


def _indexed(connection: duckdb.DuckDBPyConnection, tars: Sequence[str]) -> Shards:
    """Index tars that no Parquet lists: captions are `key.txt`, or `caption` in `key.json`."""
    folders, damaged = _folders(tars), list[str]()
    with track("indexed tars", len(tars)) as advance:

        def batches() -> Iterator[pa.RecordBatch]:
            for tar in tars:
                items = [{**item, "folder_of_tar": folders[tar]} for item in _items(tar, damaged)]
                for start in range(0, len(items), ITEMS_PER_BATCH):
                    yield pa.RecordBatch.from_pylist(items[start : start + ITEMS_PER_BATCH], _ITEMS)
                advance(1)

        connection.register("reader", pa.RecordBatchReader.from_batches(_ITEMS, batches()))
        connection.execute("create table items as select * from reader")
    lines = connection.execute("select line from items where line is not null limit 1000").fetchall()
    names, values = json_values((line for (line,) in lines), _TAKEN)
    connection.execute(f"create view {VIEW} as select {', '.join(_TAKEN)}{values} from items")
    columns = dict.fromkeys(("key", "caption", *names), "VARCHAR")
    count = connection.execute("select count(*) from items").fetchall()[0][0]
    return Shards(VIEW, Table(columns, tars, count), UNREAD, damaged, any(folders.values()))


def _items(tar: str, damaged: list[str]) -> Iterator[dict[str, str | None]]:
    """The items of a tar; one that cannot be read to its end is added to those that are damaged."""
    found: dict[str, dict[str, str | None]] = {}
    suffixes: dict[str, list[str]] = {}
    problems: dict[tuple[str, str], str | None] = {}
    try:
        with to_read(tar) as file:
            for key, suffix, member in _members(tar, file):
                item = found.setdefault(key, dict.fromkeys(_ITEMS.names) | {"tar": tar})
                suffixes.setdefault(key, []).append(suffix)
                if suffix.lower() in (".txt", ".json"):
                    file.seek(member.offset_data)
                    column = "caption" if suffix.lower() == ".txt" else "line"
                    data = file.read(min(member.size, LONGEST_TEXT + 1))
                    item[column], problems[key, column] = decoded(data, f"{storable(key)}{suffix}")
    except UserError as problem:
        logger.warning("%s; what follows is left out", problem)
        damaged.append(tar)
    for key, item in found.items():
        item["key"], item["suffix"] = storable(key), _video(suffixes[key])
        item["unread"] = problems.get((key, "line" if item["caption"] is None else "caption"))
        if item["key"] != key:
            item["unread"] = "its name is not UTF-8"
        if item["caption"] is None and item["line"]:
            item["caption"] = _caption(item["line"])
        yield item


def _caption(line: str) -> str | None:
    caption = json_object(line).get("caption")
    return storable(caption) if isinstance(caption, str) else None
