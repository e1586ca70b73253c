import io
import struct
import wave
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from onaspr_core.errors import UserError
from onaspr_core.media.video import encode_mp4, read_frames
from onaspr_core.miniature.rendering import FPS, source_frames
from onaspr_core.miniature.world import benchmark_sources

WHITE = (235, 235, 235)


def gradient(frames: int = 20, height: int = 48, width: int = 64) -> np.ndarray:
    """A soft moving gradient, which H.264 keeps well."""
    y, x = np.mgrid[:height, :width]
    shades = [np.stack([x * 3, y * 4, np.full_like(x, 6 * i)], axis=-1) for i in range(frames)]
    return np.stack(shades).clip(0, 255).astype(np.uint8)


def test_encoding_twice_gives_the_same_bytes_with_the_index_before_the_pictures() -> None:
    data = encode_mp4(gradient(), 8.0)
    assert encode_mp4(gradient(), 8.0) == data
    assert 0 < data.find(b"moov") < data.find(b"mdat")


def test_bytes_do_not_depend_on_what_lies_in_memory() -> None:
    rng = np.random.default_rng(0)
    kept: list[np.ndarray] = []
    for source in benchmark_sources()[:24]:
        frames = source_frames(source.scene, np.random.default_rng(source.seed))
        encoded = set()
        for _ in range(6):
            kept = kept[-100:] + [np.full(size, 255, np.uint8) for size in rng.integers(100, 130_000, 30)]
            rng.shuffle(kept)  # type: ignore[arg-type]
            encoded.add(encode_mp4(frames, FPS, crf=8))
        assert len(encoded) == 1, source.id


def test_what_is_encoded_is_read_back_within_the_codecs_error() -> None:
    frames = gradient()
    back = read_frames(io.BytesIO(encode_mp4(frames, 8.0, crf=4)))
    assert back.shape == frames.shape
    assert back.dtype == np.uint8
    assert np.abs(back.astype(int) - frames).mean() < 2.0


def test_the_file_says_its_rate_and_that_it_is_h264_with_420_chroma() -> None:
    with av.open(io.BytesIO(encode_mp4(gradient(), 29.97)), "r") as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert stream.average_rate is not None
        assert float(stream.average_rate) == pytest.approx(29.97, abs=1e-3)


@pytest.mark.parametrize("colour", [(255, 0, 0), (0, 128, 0), (20, 40, 220), WHITE])
def test_plain_colours_survive(colour: tuple[int, int, int]) -> None:
    frames = np.zeros((2, 32, 32, 3), np.uint8) + np.array(colour, np.uint8)
    back = read_frames(io.BytesIO(encode_mp4(frames, 8.0)))
    assert np.abs(back.astype(int) - frames).max() <= 2


def test_odd_sizes_grow_by_the_repeated_last_row_and_column() -> None:
    frames = np.zeros((2, 33, 47, 3), np.uint8)
    frames[:, -1:, :] = WHITE
    back = read_frames(io.BytesIO(encode_mp4(frames, 8.0, crf=0)))
    assert back.shape == (2, 34, 48, 3)
    assert np.abs(back[:, 33].astype(int) - back[:, 32]).max() <= 3


def test_a_single_frame_is_a_video() -> None:
    assert read_frames(io.BytesIO(encode_mp4(gradient(1), 8.0))).shape[0] == 1


def test_stride_and_limit_keep_the_frames_that_slicing_would() -> None:
    data = encode_mp4(gradient(), 8.0)
    every = read_frames(io.BytesIO(data))
    assert np.array_equal(read_frames(io.BytesIO(data), stride=8), every[::8])
    assert np.array_equal(read_frames(io.BytesIO(data), stride=3, limit=4), every[::3][:4])
    assert np.array_equal(read_frames(io.BytesIO(data), stride=50), every[:1])


def test_a_path_and_a_url_are_read_alike(write_video: Callable[..., Path]) -> None:
    path = write_video("a.mp4")
    assert np.array_equal(read_frames(str(path)), read_frames(f"file://{path}"))


def test_a_truncated_file_is_refused_with_the_count_of_its_frames() -> None:
    data = encode_mp4(np.random.default_rng(0).integers(0, 255, (40, 32, 32, 3), np.uint8), 8.0)
    with pytest.raises(UserError, match=r"truncated: \d+ of 40 frames"):
        read_frames(io.BytesIO(data[: len(data) * 2 // 3]))


def test_a_file_that_ends_between_two_frames_is_truncated_too() -> None:
    data = encode_mp4(gradient(40), 8.0)
    with av.open(io.BytesIO(data), "r") as container:
        ends = sorted((packet.pos or 0) + packet.size for packet in container.demux(video=0) if packet.size)
    with pytest.raises(UserError, match=r"truncated: \d+ of 40 frames"):
        read_frames(io.BytesIO(data[: ends[20]]))


def test_a_truncated_file_is_good_enough_for_the_frames_before_the_cut() -> None:
    data = encode_mp4(np.random.default_rng(0).integers(0, 255, (40, 32, 32, 3), np.uint8), 8.0)
    assert len(read_frames(io.BytesIO(data[: len(data) * 2 // 3]), limit=10)) == 10


@pytest.mark.parametrize("data", [b"", b"not a video at all " * 100])
def test_what_is_no_video_is_refused(data: bytes) -> None:
    with pytest.raises(UserError, match="unreadable"):
        read_frames(io.BytesIO(data))


def test_a_missing_file_is_named() -> None:
    with pytest.raises(UserError, match=r"/nowhere/a\.mp4: no such file"):
        read_frames("/nowhere/a.mp4")


def test_a_file_with_only_sound_is_refused() -> None:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(b"\0\0" * 8000)
    buffer.seek(0)
    with pytest.raises(UserError, match=r"no video stream .*audio"):
        read_frames(buffer)


def test_a_video_filmed_on_its_side_is_turned_upright() -> None:
    frames = np.zeros((3, 32, 64, 3), np.uint8)
    frames[:, :, :32] = WHITE
    data = bytearray(encode_mp4(frames, 8.0))
    # The display matrix of the track header: 90 degrees clockwise, as telephones write it.
    matrix = data.find(b"tkhd") + 4 + 40
    data[matrix : matrix + 36] = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    upright = read_frames(io.BytesIO(bytes(data)))
    assert upright.shape == (3, 64, 32, 3)
    assert np.abs(upright.astype(int) - np.rot90(frames, -1, axes=(1, 2))).mean() < 3


@pytest.mark.parametrize("shape", [(0, 8, 8, 3), (2, 8, 8, 4), (2, 8, 8)])
def test_arrays_that_are_no_video_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="uint8"):
        encode_mp4(np.zeros(shape, np.uint8), 8.0)
