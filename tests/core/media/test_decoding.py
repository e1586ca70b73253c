import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from onaspr_core.errors import PassingError, UserError
from onaspr_core.media import decoding, frame_reader
from onaspr_core.media.decoding import Orientation, pictures
from onaspr_core.media.video import encode_mp4, read_frames
from tests.core.media.odd_files import Frames, numbered, numbers, texture, write_av, write_sound


def kept(source: object, **how: object) -> list[int]:
    """Which of the numbered frames a file gives."""
    found = pictures(str(source), "file", **how)  # type: ignore[arg-type]
    return numbers(np.stack([picture.frame.to_ndarray(format="rgb24") for picture in found]))


def refusal(source: object, **how: object) -> str:
    with pytest.raises(UserError) as raised:
        list(pictures(source if hasattr(source, "read") else str(source), "file", **how))  # type: ignore[arg-type]
    assert not isinstance(raised.value, PassingError)
    return str(raised.value)


H264 = {"codec": "libx264", "pix_fmt": "yuv420p"}
HEVC = Path(__file__).with_name("hevc.mp4")
"""Forty frames by ffmpeg and x265: the encoder in PyAV's wheel spoils its own memory."""

CODINGS: dict[str, dict[str, object]] = {
    "pyramid.mp4": H264 | {"options": {"bf": "5", "b-pyramid": "normal", "g": "30"}},
    "open.mkv": H264 | {"options": {"bf": "3", "g": "12", "x264-params": "open-gop=1"}},
    "stream.ts": H264 | {"options": {"bf": "3", "g": "25"}},
    "fields.mp4": H264 | {"options": {"bf": "2", "flags": "+ildct+ilme", "x264-params": "tff=1"}},
    "old.avi": {"codec": "mpeg4", "pix_fmt": "yuv420p", "options": {"bf": "2"}},
    "plain.avi": {"codec": "mpeg4", "pix_fmt": "yuv420p", "options": {"qmax": "2"}},
    "vp9.webm": {"codec": "libvpx-vp9", "pix_fmt": "yuv420p", "options": {"cpu-used": "8"}},
}


@pytest.mark.parametrize("name", [*CODINGS, "hevc.mp4"])
def test_the_frames_kept_are_those_of_decoding_everything(name: str, tmp_path: Path) -> None:
    path = HEVC
    if name in CODINGS:
        path = write_av(tmp_path / name, texture(75, 64, 96), **CODINGS[name])  # type: ignore[arg-type]
    with av.open(str(path)) as container:
        every = [frame.to_ndarray() for frame in container.decode(video=0)]
    for stride, limit in ((1, None), (8, None), (8, 4), (7, None)):
        found = [p.frame.to_ndarray() for p in pictures(str(path), name, stride=stride, limit=limit)]
        assert len(found) == len(every[::stride][:limit])
        for one, expected in zip(found, every[::stride], strict=False):
            assert np.array_equal(one, expected)


def test_frames_that_are_not_kept_and_not_referred_to_are_not_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_av(tmp_path / "a.mp4", texture(75, 64, 96), **CODINGS["pyramid.mp4"])  # type: ignore[arg-type]
    decoded: list[int] = []
    decode = frame_reader.FrameReader._decode

    def counted(self: frame_reader.FrameReader, start: float) -> object:
        for frame in decode(self, start):
            decoded.append(frame.pts or 0)
            yield frame

    monkeypatch.setattr(frame_reader.FrameReader, "_decode", counted)
    list(pictures(str(path), "file", stride=8))
    assert len(decoded) < 0.8 * 75


def test_every_nth_frame_of_a_variable_rate_counts_frames_and_not_time(tmp_path: Path) -> None:
    ticks = [0, 40, 41, 42, 500, 510, 511, 512, 900, 901, 902, 903, 2000, 2001, 2002, 2003, 2004, 9000]
    path = write_av(tmp_path / "a.mkv", numbered(18), ticks=ticks)
    assert kept(path, stride=8) == [0, 8, 16]
    assert kept(path, stride=2, start=0.5, stop=2.01) == [4, 6, 8, 10, 12, 14, 16]


@pytest.mark.parametrize("name", ["pyramid.mp4", "open.mkv", "stream.ts", "fields.mp4", "plain.avi"])
def test_a_span_is_exact_to_the_frame_wherever_its_keyframes_lie(name: str, tmp_path: Path) -> None:
    path = write_av(tmp_path / name, numbered(58), **CODINGS[name])  # type: ignore[arg-type]
    for first in (1, 12, 13, 26, 31, 57):
        assert kept(path, start=first / 25, stop=(first + 3) / 25) == list(range(58))[first : first + 3]
    assert kept(path, start=10 / 25, stride=8) == [10, 18, 26, 34, 42, 50]
    assert kept(path, stop=3 / 25) == [0, 1, 2]


def test_a_spans_ends_may_be_rounded_to_milliseconds(tmp_path: Path) -> None:
    path = write_av(tmp_path / "a.mp4", numbered(40), rate=30, **H264)  # type: ignore[arg-type]
    assert kept(path, start=0.334, stop=0.667) == list(range(10, 20))
    assert kept(path, start=0.333, stop=0.666) == list(range(10, 20))


def test_a_span_behind_the_end_is_refused(tmp_path: Path) -> None:
    path = write_av(tmp_path / "a.mp4", numbered(20), **H264)  # type: ignore[arg-type]
    assert "the span lies outside the video: nothing is shown from 9 s on" in refusal(
        path, start=9.0, stop=12.0
    )


def test_sound_beside_the_picture_changes_nothing(tmp_path: Path) -> None:
    path = write_av(tmp_path / "a.mp4", numbered(20), sound_seconds=5, **H264)  # type: ignore[arg-type]
    assert kept(path) == list(range(20))


@pytest.mark.parametrize(("name", "held"), [("a.m4a", "audio"), ("a.mp3", "a cover, audio")])
def test_sound_alone_is_refused_even_with_a_cover(name: str, held: str, tmp_path: Path) -> None:
    path = write_sound(tmp_path / name, cover="cover" in held)
    assert refusal(path) == f"file: no video stream in the file: it holds {held}"


@pytest.mark.parametrize(
    ("turn", "expected"),
    [
        ((90, False, False), lambda f: np.rot90(f, 1)),
        ((180, False, False), lambda f: np.rot90(f, 2)),
        ((270, False, False), lambda f: np.rot90(f, 3)),
        ((0, True, False), lambda f: f[:, ::-1]),
        ((0, False, True), lambda f: f[::-1]),
        ((90, True, False), lambda f: np.rot90(f, 1)[:, ::-1]),
        ((270, False, True), lambda f: np.rot90(f, 3)[::-1]),
    ],
)
def test_a_video_is_turned_as_its_display_matrix_says(
    turn: tuple[float, bool, bool], expected: Callable[[Frames], Frames], tmp_path: Path
) -> None:
    frames = texture(2, 32, 48)
    exact = {"codec": "libx264rgb", "pix_fmt": "rgb24", "options": {"crf": "0"}}
    path = write_av(tmp_path / "a.mp4", frames, rotation=turn, **exact)  # type: ignore[arg-type]
    upright = read_frames(str(path))
    assert np.array_equal(upright, np.stack([expected(frame) for frame in frames]))


def test_a_video_without_a_matrix_stands_upright(tmp_path: Path) -> None:
    path = write_av(tmp_path / "a.mp4", texture(2, 32, 48), **H264)  # type: ignore[arg-type]
    assert next(pictures(str(path), "file")).orientation == Orientation()


def test_odd_sizes_are_read_as_they_are(tmp_path: Path) -> None:
    frames = texture(4, 23, 37)
    assert np.array_equal(read_frames(str(write_av(tmp_path / "a.mkv", frames))), frames)


def test_transparent_videos_lie_on_white(tmp_path: Path) -> None:
    frames = np.full((2, 16, 32, 4), 40, np.uint8)
    frames[:, :, :16, 3], frames[:, :, 16:, 3] = 255, 0
    shown = read_frames(str(write_av(tmp_path / "a.mov", frames, codec="qtrle", pix_fmt="argb")))
    assert (shown[:, :, :16] == 40).all()
    assert (shown[:, :, 16:] == 255).all()


def test_a_truncated_file_without_a_list_of_frames_ends_before_its_header_says(tmp_path: Path) -> None:
    path = write_av(tmp_path / "a.mkv", texture(100, 32, 48))
    assert len(list(pictures(str(path), "file"))) == 100
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert "truncated: it ends at" in refusal(path)
    assert len(list(pictures(str(path), "file", limit=10))) == 10


def test_a_still_picture_with_long_sound_is_whole(tmp_path: Path) -> None:
    path = write_av(tmp_path / "a.mkv", texture(1, 32, 48), sound_seconds=10)
    assert len(list(pictures(str(path), "file"))) == 1


def test_a_span_of_a_truncated_file_is_refused_where_frames_are_missing(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (100, 32, 32, 3), np.uint8)
    path = tmp_path / "a.mp4"
    path.write_bytes(encode_mp4(noise, 25.0))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert len(list(pictures(str(path), "file", start=0.4, stop=1.2))) == 20
    assert "truncated" in refusal(path, start=1.6, stop=3.2)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "unreadable video: the file is empty"),
        (b"\0" * 4096, "unreadable video"),
        (b"<html><body>404 Not Found</body></html>" * 50, "unreadable video"),
        (b"\xff\xd8\xff" + b"no picture" * 9, "unreadable image"),
        (b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n/etc/passwd\n#EXT-X-ENDLIST\n", "unreadable video"),
        (b"ffconcat version 1.0\nfile other.mp4\n", "unreadable video"),
    ],
)
def test_what_is_no_video_is_refused_and_names_no_other_file(
    data: bytes, reason: str, tmp_path: Path
) -> None:
    write_av(tmp_path / "other.mp4", texture(2, 16, 16), **H264)  # type: ignore[arg-type]
    (tmp_path / "a.mp4").write_bytes(data)
    assert reason in refusal(tmp_path / "a.mp4")
    assert reason in refusal(io.BytesIO(data))


def test_a_codec_that_is_not_known_is_told() -> None:
    data = encode_mp4(texture(3, 16, 16), 25.0).replace(b"avc1", b"none")
    assert refusal(io.BytesIO(data)) == "file: unreadable video: its codec is not known"


def test_bytes_decide_and_not_the_name(tmp_path: Path) -> None:
    video = write_av(tmp_path / "a.mkv", numbered(3))
    assert kept(video.rename(tmp_path / "a.mp4")) == [0, 1, 2]
    assert kept(video.with_suffix(".mp4").rename(tmp_path / "a.jpg")) == [0, 1, 2]


def test_a_missing_file_is_refused_until_it_comes(tmp_path: Path) -> None:
    for path in (str(tmp_path / "none.mp4"), "memory://none.mp4"):
        with pytest.raises(PassingError, match="file: no such file"):
            list(pictures(path, "file"))


def test_damage_gives_a_reason_or_frames_and_never_another_error(tmp_path: Path) -> None:
    whole = encode_mp4(texture(30, 48, 64), 25.0)
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(60):
        data = bytearray(whole)
        start = int(rng.integers(0, len(data) - 40))
        data[start : start + 40] = rng.bytes(40)
        try:
            assert 1 <= len(list(pictures(io.BytesIO(bytes(data)), "file", limit=30))) <= 30
        except UserError:
            refused += 1
    assert 5 < refused < 60


def test_a_frame_that_can_only_be_guessed_is_refused(tmp_path: Path) -> None:
    path = write_av(tmp_path / "a.mp4", texture(30, 64, 96), **H264)  # type: ignore[arg-type]
    with av.open(str(path)) as container:
        places = [(packet.pos or 0, packet.size) for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    # The second half of the first picture: its header still stands.
    position, size = places[0]
    data[position + size // 2 + 400 : position + size] = b"\x55" * (size - size // 2 - 400)
    reason = refusal(io.BytesIO(bytes(data)))
    assert "damaged" in reason or "unreadable" in reason


def png_header(width: int, height: int) -> bytes:
    chunks = [
        b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0),
        b"IDAT" + zlib.compress(b"none"),
    ]
    framed = [struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


def test_more_pixels_than_anybody_films_are_refused_by_the_header_alone() -> None:
    assert "too many pixels: 9000 × 9000" in refusal(io.BytesIO(png_header(9000, 9000)))
    assert "too many pixels" in refusal(io.BytesIO(png_header(65536, 65536)))
    vp8x = b"VP8X" + struct.pack("<I", 10) + b"\x02\0\0\0" + b"\xff\x3f\0" * 2
    webp = b"RIFF" + struct.pack("<I", 1000) + b"WEBP" + vp8x + b"\0" * 960
    assert "too many pixels: 16384 × 16384" in refusal(io.BytesIO(webp))


def test_more_pixels_in_the_picture_than_in_its_container_are_refused_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_av(tmp_path / "a.mp4", texture(3, 64, 96), **H264)  # type: ignore[arg-type]
    monkeypatch.setattr(decoding, "check_pixels", lambda *_: None)
    monkeypatch.setitem(decoding._OPTIONS, "max_pixels", str(64 * 95))
    assert "unreadable video" in refusal(path)


def test_a_file_of_too_many_frames_is_refused_by_its_header_or_when_they_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = write_av(tmp_path / "a.mp4", numbered(40), **H264)  # type: ignore[arg-type]
    unlisted = write_av(tmp_path / "a.mkv", numbered(40))
    monkeypatch.setattr(decoding, "MOST_FRAMES", 20)
    assert "too many frames: 40 would be kept, at most 20 can be" in refusal(listed)
    assert "too many frames: 21 would be kept" in refusal(unlisted)
    for path in (listed, unlisted):
        assert len(kept(path, stride=2)) == 20
        assert len(kept(path, limit=16)) == 16
        assert len(kept(path, stop=0.8)) == 20


def test_a_header_that_claims_a_billion_frames_costs_nothing(tmp_path: Path) -> None:
    data = bytearray(encode_mp4(texture(20, 32, 32), 25.0))
    times = data.find(b"stts")
    data[times + 12 : times + 16] = struct.pack(">I", 10**9)
    sizes = data.find(b"stsz")
    data[sizes + 8 : sizes + 16] = struct.pack(">II", 100, 10**9)
    assert "too many frames: 1000000000 would be kept" in refusal(io.BytesIO(bytes(data)))
