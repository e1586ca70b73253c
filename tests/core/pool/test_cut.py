import io
import os
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from onaspr_core.pool.cut import CutClip, CutJob, cut_all, cut_clip
from onaspr_core.pool.media import Media, file_stamp
from onaspr_core.video import read_frames


def job_for(path: Path, key: str = "key") -> CutJob:
    return CutJob(key, Media(str(path)), file_stamp(str(path)), 16, 2, 3, 8.0, 4)


def crash_on_bad(job: CutJob) -> CutClip:
    """What a decoder does that ends its process on one file."""
    if job.key == "bad":
        os._exit(3)
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
    clips = {clip.key: clip for clip in cut_all(jobs, 2, crash_on_bad)}
    assert {key for key, clip in clips.items() if clip.mp4} == {"a", "b", "c", "d", "e", "f"}
    assert "crashed" in clips["bad"].reason
    assert not clips["bad"].lasting
