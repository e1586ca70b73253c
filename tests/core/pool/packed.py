"""Tars and Parquet files that hold media."""

import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet


def write_tar(path: Path, members: Mapping[str, bytes], mode: str = "w") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def write_shard(folder: Path, number: int, statuses: Mapping[str, str | None], suffix: str = "mp4") -> None:
    """A shard as video2dataset writes it; `statuses` are error messages by key, None for success."""
    rows, members = [], {}
    for key, error in statuses.items():
        row = {
            "videoid": f"v{key}",
            "url": f"https://x.test/{key}",
            "caption": f"caption {key}",
            "key": key,
            "status": "failed_to_download" if error else "success",
            "error_message": error,
        }
        members[f"{key}.json"] = json.dumps(row, indent=4).encode()
        if not error:
            members[f"{key}.{suffix}"] = b"media of " + key.encode()
        members[f"{key}.txt"] = f"caption {key}".encode()
        rows.append(row)
    write_tar(folder / f"{number:05}.tar", members)
    schema = pa.schema([(name, pa.string()) for name in rows[0]])
    parquet.write_table(pa.Table.from_pylist(rows, schema), folder / f"{number:05}.parquet")
    (folder / f"{number:05}_stats.json").write_text(json.dumps({"count": len(rows)}))


def write_parquet(path: Path, cells: Sequence[bytes | None], group: int = 3) -> Path:
    """A file with the cells as a binary column `plain` and as Hugging Face keeps them, a struct `video`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    form = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    structs = pa.array([{"bytes": cell, "path": "a.mp4"} for cell in cells], form)
    names = pa.array([f"row {i}" for i in range(len(cells))])
    table = pa.table({"plain": pa.array(cells, pa.binary()), "video": structs, "caption": names})
    parquet.write_table(table, path, row_group_size=group)
    return path
