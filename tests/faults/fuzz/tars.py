"""Bad tars: what their headers claim, what their names lead to, and items that are half there."""

import gzip
import io
import json
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import Any

from onaspr_core.errors import UserError
from onaspr_core.pool.media import tar_files
from tests.core.pool.packed import write_tar
from tests.faults.fuzz.damage import damaged
from tests.faults.fuzz.pools import assert_taken_in, good_video
from tests.faults.fuzz.texts import hostile

Item = tuple[str, bytes] | tuple[str, bytes, dict[str, Any]]


def tar_of(*items: Item) -> bytes:
    """A tar of members; the third part of an item is what its header says instead."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data, *headers in items:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            for header in headers:
                for key, value in header.items():
                    setattr(member, key, value)
            tar.addfile(member, io.BytesIO(data) if data else None)
    return buffer.getvalue()


def item(key: str, caption: bytes = b"a caption") -> tuple[Item, ...]:
    """A video with its caption."""
    return (f"{key}.mp4", good_video()), (f"{key}.txt", caption)


def with_size(raw: bytes, name: str = "x.txt") -> bytes:
    """A member whose header has these bytes for its size, and a checksum that is right."""
    data = bytearray(tar_of((name, b"text"), *item("y")))
    data[124:136] = raw.ljust(12, b"\0")
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    return bytes(data)


def pax(text: bytes) -> bytes:
    """An item behind a pax header of any text."""
    return tar_of(("pax", text, {"type": tarfile.XHDTYPE}), *item("p"))


def record(key: str, value: str) -> bytes:
    """A pax record, with its own length in front."""
    rest = f" {key}={value}\n".encode()
    length = len(rest) + 2
    return str(length).encode() + rest if length < 100 else str(len(rest) + 3).encode() + rest


def linked(kind: bytes, target: str) -> bytes:
    """An item whose video is a link or a device."""
    return tar_of(("l.mp4", b"", {"type": kind, "linkname": target}), ("l.txt", b"a link"), *item("beside"))


MADE: tuple[Callable[[Random], bytes], ...] = (
    lambda rng: b"",
    lambda rng: bytes(rng.choice((512, 1024, 10_240))),
    lambda rng: rng.randbytes(2048),
    lambda rng: gzip.compress(tar_of(*item("z"))),
    lambda rng: gzip.compress(bytes(2**24), 9),
    lambda rng: tar_of(*item("/tmp/onaspr-absolute"), *item("//x")),
    lambda rng: tar_of(*item("../leads-out"), *item("a/../../../leads-out"), *item("..")),
    lambda rng: tar_of(*item("./."), *item("."), *item(".hidden"), *item("a/")),
    lambda rng: linked(tarfile.SYMTYPE, "/etc/passwd"),
    lambda rng: linked(tarfile.SYMTYPE, "l.mp4"),
    lambda rng: linked(tarfile.LNKTYPE, "../../../etc/passwd"),
    lambda rng: linked(tarfile.LNKTYPE, "l.mp4"),
    lambda rng: linked(tarfile.CHRTYPE, ""),
    lambda rng: linked(tarfile.BLKTYPE, ""),
    lambda rng: linked(tarfile.FIFOTYPE, ""),
    lambda rng: linked(tarfile.DIRTYPE, ""),
    lambda rng: linked(tarfile.CONTTYPE, ""),
    lambda rng: linked(rng.choice((b"S", b"V", b"M", b"N", b"A", b"Z", b"\xff"[:1])), ""),
    lambda rng: tar_of(*item("twice"), *item("twice", b"another"), *item("twice")),
    lambda rng: tar_of(*item("k" * 4000), *item("d/" * 2000 + "k")),
    lambda rng: tar_of(*item("nul\u0001\u202e"), *item("a.b.c.d"), *item("caf\udce9")),
    lambda rng: tar_of(*item('q"; drop table items; --'), *item("%s{}")),
    lambda rng: tar_of(*(("same.mp4", b"") for _ in range(3000))),
    lambda rng: tar_of(*((f"i{i}.txt", b"x") for i in range(3000))),
    lambda rng: tar_of(("m.mp4", good_video()), ("m.txt", bytes(30_000_000))),
    lambda rng: tar_of(("m.mp4", good_video()), ("m.json", b"[" * 200_000)),
    lambda rng: tar_of(("m.mp4", good_video()), ("m.json", b'{"caption": ' + b"9" * 10_000 + b"}")),
    lambda rng: tar_of(("m.mp4", good_video()), ("m.json", b'{"caption": {"a": [1]}, "caption": null}')),
    lambda rng: tar_of(
        ("m.mp4", good_video()), ("m.json", json.dumps({f"k{i}": i for i in range(3000)}).encode())
    ),
    lambda rng: tar_of(
        ("m.mp4", good_video()), ("m.json", b'{"": 1, "KEY": 2, "tar": 3, "LINE": 4, "a\\"": 5}')
    ),
    lambda rng: tar_of(("m.mp4", good_video()), ("m.txt", hostile(rng).encode())),
    lambda rng: tar_of(("m.mp4", b""), ("m.txt", b"an empty video")),
    lambda rng: tar_of(("m.mp4", good_video()[:-500]), ("m.txt", b"half a video")),
    lambda rng: tar_of(*item("m"))[: rng.randrange(600, 2500)],
    lambda rng: with_size(b"77777777777"),
    lambda rng: with_size(b"\xff" * 12),
    lambda rng: with_size(b"\xff" * 10 + b"\xfe\x00"),
    lambda rng: with_size(b"\x80" + b"\x7f" * 11),
    lambda rng: with_size(b"-0000000001"),
    lambda rng: with_size(b"no number"),
    lambda rng: with_size(b"\xff" * 10 + b"\xfe\x00", "x.mp4"),
    lambda rng: with_size(b"\xff" * 10 + b"\xfc\x00", "folder/"),
    lambda rng: with_size(b"\x80" + b"\x7f" * 11, "x.mp4"),
    lambda rng: pax(record("path", "../../p.mp4") + record("size", "-1")),
    lambda rng: pax(record("size", "9" * 30)),
    lambda rng: pax(record("size", "x")),
    lambda rng: pax(b"0 path=x\n"),
    lambda rng: pax(b"99999999999 path=x\n"),
    lambda rng: pax(b"-5 path=x\n"),
    lambda rng: pax(record("mtime", "inf") + record("uid", "1e400")),
    lambda rng: pax(
        record("GNU.sparse.major", "1") + record("GNU.sparse.minor", "0") + record("GNU.sparse.map", "x")
    ),
    lambda rng: pax(record("GNU.sparse.map", "0,x")),
    lambda rng: pax(record("GNU.sparse.size", "9" * 20) + record("GNU.sparse.map", "0,1,2")),
    lambda rng: pax(record("GNU.sparse.realsize", "-9")),
    lambda rng: pax(
        record("hdrcharset", "BINARY") + record("path", "\udce9.mp4".encode("utf-8", "replace").decode())
    ),
    lambda rng: tar_of(("long", b"k" * 100_000 + b"\0", {"type": tarfile.GNUTYPE_LONGNAME}), *item("n")),
    lambda rng: tar_of(("long", b"", {"type": tarfile.GNUTYPE_LONGNAME}), *item("n")),
    lambda rng: tar_of(
        *(("long", b"k\0", {"type": tarfile.GNUTYPE_LONGNAME}) for _ in range(3000)), *item("n")
    ),
    lambda rng: tar_of(
        *(("pax", record("a", "b"), {"type": tarfile.XHDTYPE}) for _ in range(3000)), *item("n")
    ),
)


def take_in(folder: Path, cases: Mapping[int, Random]) -> None:
    """A folder of tars of which the first and the last are good; one that cannot be read has a reason."""
    for name in ("0", "z"):
        write_tar(folder / f"tars/{name}.tar", dict(item(f"good-{name}")))  # type: ignore[arg-type]
    for number, rng in cases.items():
        if number < len(MADE):
            data = MADE[number](rng)
        else:
            whole = rng.choice(
                (tar_of(*item("d"), *item("e")), MADE[rng.randrange(5, len(MADE))](rng)[:200_000])
            )
            # Three headers among 20 blocks: damage elsewhere hits but a video.
            data = damaged(rng, whole[:8192]) + whole[8192:]
        (folder / f"tars/t{number:05}.tar").write_bytes(data)
    reasons = assert_taken_in(folder, {"good-0", "good-z"}, cut=True, format="webdataset", path="tars")
    assert {path.name for path in (folder / "tars").iterdir() if _is_unreadable(path)} <= reasons.keys()


def _is_unreadable(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            list(tar_files(file, str(path)))
    except UserError:
        return True
    return False
