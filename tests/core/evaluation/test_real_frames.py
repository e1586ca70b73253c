"""Real videos are decoded in a process that is killed over one that does not end."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onaspr_core.errors import UserError
from onaspr_core.evaluation import real_frames
from onaspr_core.evaluation.benchmarks import ingest_benchmark, real_videos
from onaspr_core.evaluation.features import reference_features
from onaspr_core.evaluation.real_frames import RealFrames, crop_to_aspect, read_real
from onaspr_core.media.video import encode_mp4, read_frames
from onaspr_core.paths import file_sha256


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is given up after five seconds."""
    monkeypatch.setattr(real_frames, "SECONDS_PER_FILE", 5.0)


def never_ending(path: Path) -> Path:
    """Put a file that whoever opens it waits for."""
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    return path


def test_frames_come_in_order_and_a_file_that_does_not_end_is_lost_alone(tmp_path: Path, soon: None) -> None:
    videos = [tmp_path / f"{seed}.mp4" for seed in range(3)]
    for seed, path in enumerate(videos):
        frames = np.random.default_rng(seed).integers(0, 256, (5, 16, 24, 3), np.uint8)
        path.write_bytes(encode_mp4(frames, 8.0))
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    noted = file_sha256(videos[2])
    found = list(
        read_real(
            [
                RealFrames(str(videos[0]), 3),
                RealFrames(str(tmp_path / "broken.mp4"), 3),
                RealFrames(str(never_ending(tmp_path / "pipe.mp4")), 3),
                RealFrames(str(videos[1]), 5, shape=(16, 16)),
                RealFrames(str(videos[1]), 5, sha256=noted),
                RealFrames(str(videos[2]), 5, sha256=noted),
            ]
        )
    )
    np.testing.assert_array_equal(found[0], read_frames(str(videos[0]), limit=3))
    np.testing.assert_array_equal(found[3], crop_to_aspect(read_frames(str(videos[1])), 16, 16))
    np.testing.assert_array_equal(found[5], read_frames(str(videos[2])))
    reasons = [str(one) for one in found if isinstance(one, UserError)]
    assert reasons[0].startswith(f"{tmp_path}/broken.mp4: unreadable video")
    assert reasons[1] == f"{tmp_path}/pipe.mp4: reading it took longer than 5 s"
    assert "has changed since" in reasons[2]
    assert len(reasons) == 3


def test_a_benchmark_video_that_does_not_end_is_a_failure_and_the_others_are_kept(
    bench: Any, soon: None
) -> None:
    never_ending(bench.folder / "real/d0/r2.mp4")
    outcome = ingest_benchmark(bench.workspace(), bench.experiment())
    assert [failure.item for failure in outcome.failures] == ["r2"]
    assert "r2.mp4: reading it took longer than 5 s" in outcome.failures[0].reason
    assert len(real_videos(bench.workspace(), bench.experiment())) == 5


def test_so_is_one_that_came_in_its_place_after_it_was_noted(bench: Any, soon: None) -> None:
    ingest_benchmark(bench.workspace(), bench.experiment())
    never_ending(bench.folder / "real/d0/r2.mp4")
    outcome = reference_features(bench.workspace(), bench.experiment())
    assert [failure.item for failure in outcome.failures] == ["r2"]
    assert "reading it took longer than 5 s" in outcome.failures[0].reason
    assert outcome.computed == 3 * 5
