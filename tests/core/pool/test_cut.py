import io
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import fsspec
import numpy as np
import pytest
from PIL import Image

from onaspr_core.media.video import read_frames
from onaspr_core.pool import cut
from onaspr_core.pool.cut import CutClip, CutJob, cut_all, cut_clip
from onaspr_core.pool.media import Media, file_stamp
from tests.core.media.odd_files import numbered, numbers, texture, write_av
from tests.core.pool.packed import write_parquet, write_tar


def job_for(path: Path, key: str = "key") -> CutJob:
    return CutJob(key, Media(str(path)), file_stamp(str(path)), 16, 2, 3, 8.0, 4)


def crash_on_bad(job: CutJob) -> CutClip:
    """What a decoder does that ends its process on one file."""
    if job.key == "bad":
        os._exit(3)
    return CutClip(job.key, b"mp4", 1)


def hang_on_slow(job: CutJob) -> CutClip:
    """What a decoder does that never comes back from one file."""
    if job.key == "slow":
        time.sleep(600)
    return CutClip(job.key, b"mp4", 1)


def test_a_clip_is_every_nth_frame_cropped_and_resized(
    write_video: Callable[..., Path],
) -> None:
    path = write_video("a.mp4", frames=9)
    clip = cut_clip(job_for(path))
    kept = read_frames(str(path))[[0, 2, 4]][:, :, 8:40]
    small = [Image.fromarray(frame).resize((16, 16), Image.Resampling.LANCZOS) for frame in kept]
    expected = np.stack([np.asarray(image) for image in small])
    back = read_frames(io.BytesIO(clip.mp4))
    assert clip.frames == len(back) == 3
    assert np.abs(back.astype(int) - expected).max() <= 3


def test_a_one_frame_file_is_a_clip_of_one_frame(write_video: Callable[..., Path]) -> None:
    assert cut_clip(job_for(write_video("a.mp4", frames=1))).frames == 1


def test_a_broken_file_is_a_lasting_reason(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"not a video")
    clip = cut_clip(job_for(path))
    assert (clip.mp4, clip.lasting) == (b"", True)
    assert clip.reason.startswith("unreadable video")


def test_a_file_that_changed_or_vanished_since_the_manifest_is_a_passing_reason(
    write_video: Callable[..., Path],
) -> None:
    path = write_video("a.mp4", seed=1)
    job = job_for(path)
    write_video("a.mp4", seed=2, frames=3)
    assert "changed" in cut_clip(job).reason
    path.unlink()
    assert "cannot be opened" in cut_clip(job).reason
    assert not cut_clip(job).lasting


@pytest.mark.parametrize("member", ["", "a.mp4"])
def test_a_file_that_vanishes_before_it_is_opened_is_a_passing_reason(
    tmp_path: Path, member: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_tar(tmp_path / "0.tar", {"a.mp4": b"media"})
    job = replace(job_for(path), media=Media(str(path), member))

    def vanishing(path: str) -> str:
        Path(path).unlink()
        return job.stamp

    monkeypatch.setattr(cut, "file_stamp", vanishing)
    assert cut_clip(job) == CutClip(job.key, reason="no such file")


class NetworkError(Exception):
    """What a network library raises: no OSError."""


@pytest.mark.parametrize(("member", "broken"), [("", "_open"), ("a.mp4", "cat_file")])
def test_what_a_network_library_raises_is_a_passing_reason(
    tmp_path: Path, member: str, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_tar(tmp_path / f"{broken}.tar", {"a.mp4": b"media"})
    memory = fsspec.filesystem("memory")
    memory.pipe_file(f"/cut/{path.name}", path.read_bytes())
    media = Media(f"memory://cut/{path.name}", member)
    job = replace(job_for(path), media=media, stamp=file_stamp(media.path))
    assert cut_clip(job).lasting

    def fail(*_: object, **__: object) -> None:
        raise NetworkError("503")

    monkeypatch.setattr(type(memory), broken, fail)
    clip = cut_clip(job)
    assert clip.reason.endswith("cannot be read: NetworkError: 503")
    assert not clip.lasting and not clip.suspect


def test_a_refusal_that_may_pass_is_not_a_lasting_reason(
    write_video: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise av.error.PermissionError(13, "Permission denied", "a.mp4")

    job = job_for(write_video("a.mp4"))
    monkeypatch.setattr(av, "open", refuse)
    clip = cut_clip(job)
    assert "Permission denied" in clip.reason
    assert not clip.lasting


def test_a_file_that_ends_its_process_costs_no_other_clip() -> None:
    jobs = [CutJob(key, Media(""), "", 8, 1, 1, 8.0, 20) for key in ["a", "b", "bad", "c", "d", "e", "f"]]
    clips = {clip.key: clip for clip in cut_all(jobs, 2, crash_on_bad) if clip}
    assert {key for key, clip in clips.items() if clip.mp4} == {"a", "b", "c", "d", "e", "f"}
    assert "crashed" in clips["bad"].reason
    assert not clips["bad"].lasting


def test_a_file_that_hangs_its_process_costs_no_other_clip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cut, "SECONDS_PER_FILE", 4.0)
    jobs = [CutJob(key, Media(""), "", 8, 1, 1, 8.0, 20) for key in ["a", "slow", "b"]]
    clips = {clip.key: clip for clip in cut_all(jobs, 2, hang_on_slow) if clip}
    assert {key for key, clip in clips.items() if clip.mp4} == {"a", "b"}
    assert clips["slow"].reason == "decoding took longer than 4 s"
    assert (clips["slow"].suspect, clips["slow"].lasting) == (True, False)


def test_a_span_of_a_long_video_is_its_own_clip(tmp_path: Path) -> None:
    path = write_av(tmp_path / "a.mp4", numbered(58), codec="libx264", pix_fmt="yuv420p", options={"g": "12"})
    job = replace(job_for(path), media=Media(str(path), start=0.8, stop=1.2), max_frames=16)
    clip = cut_clip(job)
    assert numbers(read_frames(io.BytesIO(clip.mp4))) == [20, 22, 24, 26, 28]
    behind = cut_clip(replace(job, media=Media(str(path), start=30.0, stop=31.0)))
    assert behind.reason.startswith("the span lies outside the video: ")
    assert behind.lasting


def test_media_in_tars_and_parquet_files_are_cut_like_files(tmp_path: Path) -> None:
    video = write_av(tmp_path / "a.mp4", texture(9, 32, 48), codec="libx264", pix_fmt="yuv420p").read_bytes()
    tar = write_tar(tmp_path / "0.tar", {"a.mp4": video})
    parquet = write_parquet(tmp_path / "0.parquet", [b"", video])
    plain = cut_clip(job_for(tmp_path / "a.mp4"))
    for packed, member in ((tar, "a.mp4"), (parquet, "video/1")):
        job = replace(job_for(packed), media=Media(str(packed), member))
        assert cut_clip(job) == plain
    empty = cut_clip(replace(job_for(parquet), media=Media(str(parquet), "video/0")))
    assert empty.reason == "unreadable video: the file is empty"


def test_a_still_image_is_a_clip_of_one_frame_close_to_it(tmp_path: Path) -> None:
    image = texture(1, 64, 96)[0]
    Image.fromarray(image).save(tmp_path / "a.png")
    clip = cut_clip(replace(job_for(tmp_path / "a.png"), resolution=64))
    (frame,) = read_frames(io.BytesIO(clip.mp4))
    assert clip.frames == 1
    assert np.abs(frame.astype(int) - image[:, 16:80]).mean() < 6


def test_a_clip_plays_in_a_browser(tmp_path: Path) -> None:
    path = write_av(tmp_path / "a.mkv", texture(9, 45, 61), aspect=Fraction(4, 3))
    clip = cut_clip(replace(job_for(path), fps=12.5))
    assert 0 < clip.mp4.find(b"moov") < clip.mp4.find(b"mdat")
    with av.open(io.BytesIO(clip.mp4), "r") as container:
        (stream,) = container.streams
        assert isinstance(stream, av.VideoStream)
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert (stream.width, stream.height, stream.frames) == (16, 16, 3)
        assert stream.average_rate == Fraction(25, 2)
        assert stream.sample_aspect_ratio in (None, 1)
        assert [frame.time for frame in container.decode(stream)] == [0.0, 0.08, 0.16]


def test_equal_sources_give_equal_bytes(tmp_path: Path) -> None:
    path = write_av(tmp_path / "a.mkv", texture(24, 90, 160))
    job = replace(job_for(path), resolution=64, max_frames=12)
    clips = {cut_clip(job).mp4 for _ in range(8)} | {clip.mp4 for clip in cut_all([job], 1) if clip}
    assert len(clips) == 1


def test_all_frames_are_kept_where_no_limit_is_set(tmp_path: Path) -> None:
    path = write_av(tmp_path / "a.mkv", numbered(50))
    assert cut_clip(replace(job_for(path), max_frames=None)).frames == 25


def test_a_clip_that_cannot_be_written_is_not_the_files_fault(
    write_video: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_for(write_video("a.mp4"))
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    clip = cut_clip(job)
    assert clip.reason.startswith("the clip cannot be written: ")
    assert not clip.lasting
    assert not clip.suspect


def test_worker_processes_start_without_what_they_do_not_need() -> None:
    code = "import sys, onaspr_core.pool.cut; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    heavy = {"duckdb", "pyarrow", "pydantic", "torch", "lancedb", "PIL", "dagster"}
    assert not heavy & set(loaded.stdout.split())
