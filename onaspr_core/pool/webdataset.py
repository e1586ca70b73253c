"""WebDataset tars as sources: `key.mp4` or `key.jpg`, `key.txt`, `key.json`, and a Parquet beside each.

video2dataset and img2dataset write `00000.tar` and `00000.parquet`, which lists also what could not be
downloaded. Tars without such lists are indexed by their headers. What does not belong here: what lies in
tars (`tar_items`), and the shards that this project writes (`shards`).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from onaspr_core.errors import UserError
from onaspr_core.folders import Folder, file_system
from onaspr_core.pool.listed_files import distinct_names, exists, listed_files
from onaspr_core.pool.listings import UnreadableFile
from onaspr_core.pool.scan import VIEW, Table
from onaspr_core.pool.tables import of_file, open_table
from onaspr_core.pool.tar_items import ITEM, SeenTar, all_items, first_video, look_into
from onaspr_core.pool.text_tables import json_values
from onaspr_core.progress import logger, track

_TAKEN = ("key", "caption", "tar", "suffix", "folder_of_tar", "unread")
NO_VIDEO = "case when suffix is null then 'its tar holds no video' end"
UNREAD = f"coalesce(unread, {NO_VIDEO})"


@dataclass(frozen=True)
class Shards:
    """Items of tars: `relation` has the table's columns, and `tar` and `suffix` of each item's video.

    `problem` is the SQL of why an item cannot be used, `unfinished` tars that a download left half-written,
    `unreadable` those that cannot be read to their end.
    `in_folders` says that tars of several folders have one name, so that keys may repeat; then the relation's
    `folder_of_tar` tells them apart, else it is empty.
    """

    relation: str
    table: Table
    problem: str
    unfinished: Sequence[str]
    unreadable: Sequence[UnreadableFile]
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
    seen = list(look_into(list(whole), first_video))
    # Where no download failed, the column of messages has no type.
    failed = "'its download failed: ' || coalesce(nullif(cast(error_message as varchar), ''), status)"
    known = {"status", "error_message"} <= table.columns.keys()
    return Shards(
        relation=f"(select *, {of_file(list(whole))} as tar, "
        f"{of_file([one.suffix for one in seen])} as suffix, "
        f"{of_file([one.problem or None for one in seen])} as unread, "
        f"{of_file([folders[tar] for tar in whole])} as folder_of_tar from {VIEW})",
        table=table,
        problem=f"case when status <> 'success' then {failed} else {UNREAD} end" if known else UNREAD,
        unfinished=_told_unfinished([tar for tar in tars if tar not in whole]),
        unreadable=(),
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


def _indexed(connection: duckdb.DuckDBPyConnection, tars: Sequence[str]) -> Shards:
    """Index tars that no Parquet lists: captions are `key.txt`, or `caption` in `key.json`."""
    folders, names = _folders(tars), dict(zip(tars, distinct_names(tars), strict=True))
    unreadable: list[UnreadableFile] = []
    connection.register("seen", _table(SeenTar(""), ""))
    connection.execute("create table items as select * from seen")
    with track("indexed tars", len(tars)) as advance:
        for seen in look_into(tars, all_items):
            connection.register("seen", _table(seen, folders[seen.tar]))
            connection.execute("insert into items select * from seen")
            if seen.problem:
                logger.warning("%s: %s", seen.tar, seen.problem)
                unreadable.append(UnreadableFile(names[seen.tar], seen.tar, seen.problem))
            advance(1)
    lines = connection.execute("select line from items where line is not null limit 1000").fetchall()
    keys, values = json_values((line for (line,) in lines), _TAKEN)
    connection.execute(f"create view {VIEW} as select {', '.join(_TAKEN)}{values} from items")
    columns = dict.fromkeys(("key", "caption", *keys), "VARCHAR")
    count = connection.execute("select count(*) from items").fetchall()[0][0]
    return Shards(VIEW, Table(columns, tars, count), UNREAD, (), unreadable, any(folders.values()))


def _table(seen: SeenTar, folder: str) -> pa.Table:
    items = [(*item, seen.tar, folder) for item in seen.items]
    names = (*ITEM, "tar", "folder_of_tar")
    return pa.table({name: pa.array([row[i] for row in items], pa.string()) for i, name in enumerate(names)})
