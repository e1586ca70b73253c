"""Bad videos and images, by their bytes."""

import io
import struct
import zlib
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import av
from PIL import Image

from onaspr_core.errors import UserError
from onaspr_core.media.video import encode_mp4, read_frames
from tests.core.media.odd_files import texture
from tests.faults.fuzz.damage import damaged
from tests.faults.fuzz.pools import assert_taken_in, good_video

Make = Callable[[Random], bytes]
SUFFIXES = (".mp4", ".webm", ".mkv", ".avi", ".mov", ".gif", ".webp", ".png", ".jpg")
UNFORESEEN = ("the file cannot be read", "the process that decoded", "decoding took longer")
"""How reasons begin for files that no rule refused."""
HUGE = 2**31 - 1
_CODECS = {
    "mp4": ("libx264", "yuv420p"),
    "matroska": ("ffv1", "bgr0"),
    "mov": ("png", "rgb24"),
    "webm": ("libvpx", "yuv420p"),
    "avi": ("mpeg4", "yuv420p"),
    "mpegts": ("mpeg2video", "yuv420p"),
    "h264": ("libx264", "yuv420p"),
    "mjpeg": ("mjpeg", "yuvj420p"),
    "flv": ("flv1", "yuv420p"),
    "ivf": ("libvpx", "yuv420p"),
    "gif": ("gif", "rgb8"),
    "nut": ("mpeg4", "yuv420p"),
}
_STILL = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF")
HEADS = (
    *(b"PK\x03\x04", b"%PDF-1.7\n", b"\x7fELF\x02\x01\x01", b"\x1f\x8b\x08\0", b"<!DOCTYPE html><script>"),
    *(
        b"#EXTM3U\n#EXTINF:1,\nsecret.mp4\n",
        b"ffconcat version 1.0\nfile secret.mp4\n",
        b"RIFF\xff\xff\xff\xffAVI ",
    ),
    *(
        b"OggS\0\x02",
        b"ID3\x04\0\0\x7f\x7f\x7f\x7f",
        b"\0\0\0\x20ftypmp42",
        b"\x1aE\xdf\xa3",
        b"FLV\x01\x05\0\0\0\t",
    ),
    *(
        b"GIF89a",
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff\xe0",
        b"BM",
        b"II*\0\x08\0\0\0",
        b"RIFF\x10\0\0\0WEBPVP8X",
    ),
    *(b"G" + bytes(187), b"\0\0\x01\xba", b"\0\0\0\x01\x67", b"YUV4MPEG2 W0 H0 F0:0\n", b"DKIF\0\0 \0VP80"),
)


@cache
def container(form: str, streams: int = 1, height: int = 24, width: int = 32) -> bytes:
    """A short video in a container, the same frames in each of its streams."""
    codec, pix_fmt = _CODECS[form]
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=form) as target:
        target.metadata["title"] = "caf~"
        made: list[Any] = [target.add_stream(codec, rate=8) for _ in range(streams)]
        for stream in made:
            stream.height, stream.width, stream.pix_fmt = height, width, pix_fmt
            stream.codec_context.sample_aspect_ratio = Fraction(1)
        for pixels in texture(5, 24, 32):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(width, height)
            for stream in made:
                target.mux(stream.encode(frame))
        for stream in made:
            target.mux(stream.encode())
    return buffer.getvalue()


@cache
def still(form: str, height: int = 24, width: int = 32) -> bytes:
    """An image, with an EXIF orientation where there may be one."""
    image, buffer = Image.fromarray(texture(1, height, width)[0]), io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(buffer, form, **({"exif": exif} if form in ("JPEG", "PNG", "WEBP", "TIFF") else {}))
    return buffer.getvalue()


def valid(rng: Random) -> bytes:
    """A whole file of some form."""
    if rng.random() < 0.3:
        return still(rng.choice(_STILL))
    return container(rng.choice(tuple(_CODECS)))


def mutated(rng: Random) -> bytes:
    """A damaged file of some form."""
    return damaged(rng, valid(rng), valid(rng))


def patched(box: bytes, at: int, number: int) -> Make:
    """An MP4 with another 32-bit number, so many bytes behind the name of a box."""

    def make(_: Random) -> bytes:
        data = bytearray(container("mp4"))
        place = data.index(box) + 4 + at
        data[place : place + 4] = struct.pack(">I", number)
        return bytes(data)

    return make


def png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG whose header claims a size, with further chunks."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", head), *chunks, (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in parts
    )


def gif_of(frames: int) -> bytes:
    """A GIF of frames of one pixel."""
    picture = b"\x21\xf9\x04\0\0\0\0\0\x2c\0\0\0\0\x01\0\x01\0\0\x02\x02\x44\x01\0"
    return b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff" + frames * picture + b";"


def nested(_: Random) -> bytes:
    """Boxes in boxes, each as long as all that follows."""
    return b"".join(struct.pack(">I", 80_008 - 8 * i) + b"moov" for i in range(10_000))


NAMED: tuple[Make, ...] = (
    lambda rng: b"",
    lambda rng: bytes(rng.choice((1, 1000, 100_000))),
    lambda rng: rng.randbytes(4000),
    lambda rng: good_video()[: rng.randrange(len(good_video()))],
    lambda rng: good_video()[: -rng.randrange(1, 200)],
    *(lambda rng, head=head: head + rng.choice((b"", rng.randbytes(500), good_video())) for head in HEADS),
    lambda rng: encode_mp4(texture(3, 1, 1), 8.0),
    lambda rng: container("mov", 1, 1, 1),
    lambda rng: container("mov", 1, 2, 9000),
    lambda rng: container("mov", 1, 9000, 1),
    lambda rng: png(1, 1),
    lambda rng: container("mjpeg", 1, 4320, 7680),
    lambda rng: container("mp4", 40),
    lambda rng: container("matroska", 40),
    patched(b"mdhd", 12, 0),
    patched(b"mvhd", 12, 0),
    patched(b"stts", 12, 0),
    patched(b"stts", 8, 10**9),
    patched(b"stsz", 8, 10**9),
    patched(b"stsz", 4, HUGE),
    patched(b"stco", 8, HUGE),
    patched(b"stsc", 12, HUGE),
    patched(b"mdhd", 16, 2**32 - 1),
    patched(b"tkhd", 40, HUGE),
    patched(b"tkhd", 44, 2**31),
    patched(b"pasp", 0, HUGE),
    patched(b"pasp", 4, HUGE),
    patched(b"pasp", 4, 0),
    patched(b"mdat", -8, 1),
    patched(b"moov", -8, 0),
    patched(b"moov", -8, HUGE),
    lambda rng: container("h264") + container("h264", 1, 48, 64),
    lambda rng: container("mjpeg") + container("mjpeg", 1, 48, 64),
    lambda rng: png(60_000, 60_000),
    lambda rng: png(32, 24, (b"zTXt", b"a\0\0" + zlib.compress(bytes(80 * 2**20), 9))),
    lambda rng: png(32, 24, (b"iCCP", b"a\0\0" + zlib.compress(bytes(80 * 2**20), 9))),
    lambda rng: png(32, 24, (b"eXIf", rng.randbytes(60))),
    lambda rng: still("JPEG").replace(b"\x12\x01", b"\x12\x01" + rng.randbytes(2), 1),
    lambda rng: gif_of(20_000),
    lambda rng: b"GIF89a\xff\xff\xff\xff\0\0\0" + gif_of(2)[13:],
    lambda rng: b"RIFF\0\1\0\0WEBPVP8X\x0a\0\0\0\2\0\0\0\xff\xff\xff\xff\xff\xff" + still("WEBP")[12:],
    lambda rng: struct.pack("<2sHI", b"II", 42, 8) + struct.pack("<HI", 0, 8),
    nested,
)


def take_in(folder: Path, cases: Mapping[int, Random]) -> None:
    """A folder of videos of which two are good, one with a title that is not UTF-8."""
    good = {"good.mp4": good_video(), "latin.mp4": container("mp4").replace(b"caf~", b"caf\xe9")}
    assert good["latin.mp4"] != container("mp4")
    for name, data in good.items():
        _write(folder, name, data)
    for number, rng in cases.items():
        make = NAMED[number] if number < len(NAMED) else rng.choice((mutated, mutated, mutated, *NAMED))
        _write(folder, f"bad{number}{rng.choice(SUFFIXES)}", make(rng))
    reasons = assert_taken_in(folder, good, cut=True, format="folder", path="videos")
    assert [told for told in reasons.values() if told.startswith(UNFORESEEN)] == []
    for path in sorted((folder / "videos").glob("bad*[!t]")):
        if path.suffix != ".txt":
            _look(path)


def _look(path: Path) -> None:
    """As the real side of a benchmark is read."""
    try:
        frames = read_frames(str(path), limit=8)
    except UserError:
        return
    assert frames.ndim == 4 and len(frames) > 0


def _write(folder: Path, name: str, data: bytes) -> None:
    path = folder / "videos" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    path.with_suffix(".txt").write_text(f"caption of {name}")
