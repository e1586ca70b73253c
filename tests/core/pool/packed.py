"""Tars and Parquet files that hold media."""

import io
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


def write_parquet(path: Path, cells: Sequence[bytes | None], group: int = 3) -> Path:
    """A file with the cells as a binary column `plain` and as Hugging Face keeps them, a struct `video`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    form = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    structs = pa.array([{"bytes": cell, "path": "a.mp4"} for cell in cells], form)
    names = pa.array([f"row {i}" for i in range(len(cells))])
    table = pa.table({"plain": pa.array(cells, pa.binary()), "video": structs, "caption": names})
    parquet.write_table(table, path, row_group_size=group)
    return path
