"""The forms that captioned videos are published in: what each calls its columns, and where its videos lie.

A form is a small function from a source to a `Listing`. Nothing is scanned here. What does not belong here:
files and their kinds (`tables`), tars (`webdataset`), and which rows a pool takes (`choice`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import duckdb

from onaspr_core.errors import UserError
from onaspr_core.pool.captioned_folder import captioned_files
from onaspr_core.pool.karpathy import karpathy_captions
from onaspr_core.pool.listed_files import distinct_names, is_folder, kind_of, listed_files
from onaspr_core.pool.listings import Canonical, Listing, Parts, Source
from onaspr_core.pool.scan import VIEW, Table, identifier, literal
from onaspr_core.pool.settings import Form
from onaspr_core.pool.tables import KINDS, ROW, of_file, open_for_duckdb, open_table
from onaspr_core.pool.text_tables import csv_table
from onaspr_core.pool.webdataset import open_shards, shard_files

MEDIA = ("video", "image", "path", "file", "file_name", "mp4", "jpg")
"""What Parquet files call the video, its bytes or its path; the first that there is counts."""

ESCAPES = r"\\(n|r|t|x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8})"
"""What Python's `repr` writes for white space and for what cannot be seen; all else stands for itself."""


def open_listing(connection: duckdb.DuckDBPyConnection, source: Source) -> Listing:
    """Return the listing of a source in its published form.

    Args:
        connection: One of `open_scan`; it can hold one listing.
        source: Where.

    Raises:
        UserError: when files or columns are missing; it names those that there are.
    """
    return _FORMS[source.format](connection, source)


def source_files(source: Source) -> list[str]:
    """Return the files whose size and time tell whether a source is as it was; none where only reading tells.

    Raises:
        UserError: when there is no such file.
    """
    if source.format == "webdataset":
        return shard_files(source.path)
    if source.format == "folder" and is_folder(source.path):
        return []
    return listed_files(source.path, (".json", ".token") if source.format == "flickr30k" else KINDS)


def _webvid(connection: duckdb.DuckDBPyConnection, source: Source) -> Listing:
    table = open_table(connection, listed_files(source.path, KINDS))
    column = "contentUrl" if source.videos is None else "page_dir"
    used = [] if source.columns.path else [column]
    parts = Parts(source, table, {"id": "videoid", "caption": "name"}, used)
    path = parts.path() or identifier("contentUrl")
    if used == ["page_dir"]:
        path = parts.below(f"coalesce(page_dir, '') || '/' || coalesce({parts.text('id')}, '') || '.mp4'")
    return parts.listing(Canonical(path=path))


def _flat(video: str) -> Callable[[duckdb.DuckDBPyConnection, Source], Listing]:
    """A table with a caption and, in the column `video`, a path below the folder of videos for each row."""

    def listing(connection: duckdb.DuckDBPyConnection, source: Source) -> Listing:
        table = open_table(connection, listed_files(source.path, KINDS))
        path = source.columns.path or video
        parts = Parts(source, table, {"id": path, "caption": "caption", "path": path})
        return parts.listing(Canonical(path=parts.path()))

    return listing


def _folder(connection: duckdb.DuckDBPyConnection, source: Source) -> Listing:
    """A table beside videos, or a folder whose videos have their captions in `name.txt` beside them."""
    if not is_folder(source.path):
        return _flat("file")(connection, source)
    files = captioned_files(source.path)
    connection.register("captioned_files", files)
    connection.execute(f"create view {VIEW} as select * from captioned_files")
    table = Table(dict.fromkeys(("file", "caption"), "VARCHAR"), [source.path], len(files))
    parts = Parts(
        replace(source, videos=source.path), table, {"id": "file", "caption": "caption", "path": "file"}
    )
    return parts.listing(Canonical(path=parts.path(), problem="problem"))


def _internvid(connection: duckdb.DuckDBPyConnection, source: Source) -> Listing:
    """One row is a clip of a video."""
    table = open_table(connection, listed_files(source.path, KINDS))
    times = {"start": "Start_timestamp", "stop": "End_timestamp"}
    parts = Parts(source, table, {"caption": "Caption", **times}, ("YoutubeID",))
    video = identifier("YoutubeID")
    clip = f"{video} || '_' || {parts.text('start')} || '_' || {parts.text('stop')}"
    path = parts.path() or parts.below(f"{video} || '.mp4'")
    return parts.listing(Canonical(id=parts.text("id") or clip, path=path, names=[video]))


def _panda70m(connection: duckdb.DuckDBPyConnection, source: Source) -> Listing:
    """One row is a video; its columns hold Python lists with one value for each of its clips."""
    _refuse(source, ("start", "stop"), "the column timestamp says where its clips begin and end")
    files = listed_files(source.path, KINDS)
    table = open_table(connection, files, lambda text: text.count("\n") + text.count("'], ['"))
    parts = Parts(source, table, {"id": "videoID", "caption": "caption"}, ("timestamp",))
    video = parts.text("id")
    path = _of_clip(parts.roles["path"]) if "path" in parts.roles else f"{video} || '.mp4'"
    captions = f"try_cast(regexp_replace({parts.text('caption')}, '{ESCAPES}', ' ', 'g') as varchar[])"
    used = ("timestamp", parts.roles["id"], parts.roles["caption"])
    spans = "select *, try_cast(timestamp as varchar[][]) as spans"
    clips = "select *, unnest(if(len(spans) > 0, range(len(spans)), [0])) as clip"
    return parts.listing(
        Canonical(
            id=f"printf('%s_%05d', {video}, clip)",
            caption=f"({captions})[clip + 1]",
            path=parts.below(path),
            start="seconds(spans[clip + 1][1])",
            stop="seconds(spans[clip + 1][2])",
            names=[video],
        ),
        values={name: _of_clip(name) for name in table.columns if name not in used},
        relation=f"({clips} from ({spans} from {VIEW}))",
    )


def _of_clip(name: str) -> str:
    """The value of one clip where a column holds a list of as many as there are clips, else the whole."""
    values = f"try_cast({identifier(name)} as varchar[])"
    return f"if(len({values}) = len(spans), ({values})[clip + 1], {identifier(name)})"


def _flickr30k(connection: duckdb.DuckDBPyConnection, source: Source) -> Listing:
    """Images with five captions each: Karpathy's JSON, or the lines of `results_20130124.token`."""
    files = listed_files(source.path, (".json", ".token"))
    open_for_duckdb(connection, files[0])
    if kind_of(files[0]) == ".token":
        table = csv_table(connection, files, "\t", 0, header=("key", "caption"))
        file = "split_part(key, '#', 1)"
        parts = Parts(source, table, {"id": "key", "caption": "caption"})
        return parts.listing(Canonical(path=parts.path() or parts.below(file), names=[file]))
    captions = karpathy_captions(files)
    connection.register("karpathy", captions)
    connection.execute(f"create view {VIEW} as select * from karpathy")
    columns = dict.fromkeys(captions.column_names, "VARCHAR")
    parts = Parts(source, Table(columns, files, len(captions)), {"id": "id", "caption": "caption"})
    return parts.listing(Canonical(path=parts.path() or parts.below("filename"), names=["filename"]))


def _parquet(connection: duckdb.DuckDBPyConnection, source: Source) -> Listing:
    """A caption or a list of them, and the video as a path, as bytes, or as a feature of the Hub's."""
    table = open_table(connection, listed_files(source.path, (".parquet",)))
    columns = table.columns
    media = source.columns.path or next((name for name in MEDIA if name in columns), "path")
    caption = source.columns.caption or next((n for n in ("caption", "text") if n in columns), "caption")
    parts = Parts(source, table, {"caption": caption, "path": media})
    row = f"{of_file(distinct_names(table.files))} || '/' || {ROW}"
    told = Canonical(id=parts.text("id") or row, names=[row])
    if _holds_bytes(columns[media]):
        told = replace(told, path=of_file(table.files), member=f"{literal(media + '/')} || {ROW}")
    else:
        told = replace(told, path=parts.path())
    if not columns[caption].endswith("[]"):
        return parts.listing(told)
    captions = identifier(caption)
    return parts.listing(
        replace(told, id=f"{told.id} || '#' || (place - 1)", caption=f"{captions}[place]"),
        relation=f"(select *, unnest(generate_series(1, len({captions}))) as place from {VIEW})",
    )


def _holds_bytes(kind: str) -> bool:
    return kind == "BLOB" or (kind.startswith("STRUCT(") and "bytes BLOB" in kind.replace('"', ""))


def _webdataset(connection: duckdb.DuckDBPyConnection, source: Source) -> Listing:
    """Tars as video2dataset and img2dataset write them, or any others of `key.mp4`, `key.txt`, `key.json`."""
    _refuse(source, ("path",), "its videos lie in the tars")
    shards = open_shards(connection, source.path)
    parts = Parts(source, shards.table, {"id": "key", "caption": "caption"}, ("key",))
    told = Canonical(path="tar", member="key || suffix", problem=shards.problem, names=["key"])
    if shards.in_folders and source.columns.id is None:
        told = replace(told, id="folder_of_tar || key")
    listing = parts.listing(told, relation=shards.relation)
    return replace(listing, unfinished=shards.unfinished, unreadable=shards.unreadable)


def _refuse(source: Source, roles: Sequence[str], why: str) -> None:
    """Refuse settings that name a column for a role that the form itself plays."""
    for role in roles:
        if getattr(source.columns, role) is not None:
            raise UserError(f"{source.path}: the form {source.format} has no use for columns.{role}: {why}")


_FORMS: Mapping[Form, Callable[[duckdb.DuckDBPyConnection, Source], Listing]] = {
    "webvid": _webvid,
    "openvid": _flat("video"),
    "folder": _folder,
    "internvid": _internvid,
    "panda70m": _panda70m,
    "flickr30k": _flickr30k,
    "webdataset": _webdataset,
    "parquet": _parquet,
}
