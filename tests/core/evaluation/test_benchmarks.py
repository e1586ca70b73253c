"""The real side: found, hashed, counted, and encoded once."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onaspr_core.errors import UserError
from onaspr_core.evaluation import encoding
from onaspr_core.evaluation.benchmarks import ingest_benchmark, real_videos
from onaspr_core.evaluation.encoding import video_item
from onaspr_core.evaluation.extractors import describe
from onaspr_core.evaluation.features import reference_features
from onaspr_core.evaluation.frame_sampling import FID_GENERATED
from onaspr_core.evaluation.real_frames import RealFrames, crop_to_aspect, read_one
from onaspr_core.paths import file_sha256


def test_real_videos_are_listed_in_order_with_the_hash_of_their_bytes(bench: Any) -> None:
    outcome = ingest_benchmark(bench.workspace(), bench.experiment())
    videos = real_videos(bench.workspace(), bench.experiment())
    assert (outcome.total, outcome.computed, outcome.failures) == (6, 6, ())
    assert [video.id for video in videos] == [f"r{i}" for i in range(6)]
    assert all(file_sha256(Path(video.path)) == video.sha256 for video in videos)
    assert not any(path.suffix == ".mp4" for path in (bench.folder / "data" / "store").rglob("*real*"))


def test_a_second_ingestion_computes_nothing_and_a_touched_file_moves_no_version(bench: Any) -> None:
    first = ingest_benchmark(bench.workspace(), bench.experiment())
    second = ingest_benchmark(bench.workspace(), bench.experiment())
    os.utime(bench.folder / "real/d0/r0.mp4", (1, 1))
    third = ingest_benchmark(bench.workspace(), bench.experiment())
    assert (second.computed, third.computed) == (0, 1)
    assert first.version == second.version == third.version


def test_a_row_that_comes_before_the_others_is_read_alone_and_stands_first(bench: Any) -> None:
    ingest_benchmark(bench.workspace(), bench.experiment())
    table = bench.folder / "real.csv"
    header, *rows = table.read_text().splitlines()
    table.write_text("\n".join([header, *rows[:-1]]) + "\n")
    ingest_benchmark(bench.workspace(), bench.experiment())
    table.write_text("\n".join([header, rows[-1], *rows[:-1]]) + "\n")
    assert ingest_benchmark(bench.workspace(), bench.experiment()).computed == 1
    ids = [video.id for video in real_videos(bench.workspace(), bench.experiment())]
    assert ids == ["r5", "r0", "r1", "r2", "r3", "r4"]


def test_missing_and_broken_files_are_failures_and_the_others_are_kept(bench: Any) -> None:
    (bench.folder / "real/d0/r2.mp4").unlink()
    (bench.folder / "real/d1/r3.mp4").write_bytes(b"no video")
    outcome = ingest_benchmark(bench.workspace(), bench.experiment())
    assert [failure.item for failure in outcome.failures] == ["r2", "r3"]
    assert outcome.facts["real_videos"] == 4
    assert outcome.facts["missing"] == 2
    assert "r2.mp4" in outcome.failures[0].reason


def test_a_row_that_left_the_list_leaves_the_catalog(bench: Any) -> None:
    ingest_benchmark(bench.workspace(), bench.experiment())
    table = bench.folder / "real.csv"
    table.write_text("\n".join(table.read_text().splitlines()[:-1]) + "\n")
    ingest_benchmark(bench.workspace(), bench.experiment())
    assert len(real_videos(bench.workspace(), bench.experiment())) == 5


def test_without_a_benchmark_there_is_nothing_and_the_facts_say_so(bench: Any) -> None:
    bench.benchmark = False
    for stage in (ingest_benchmark, reference_features):
        outcome = stage(bench.workspace(), bench.experiment())
        assert outcome.total == 0
        assert "evaluation.benchmark" in outcome.facts["benchmark"]


def test_features_of_the_real_side_are_made_once_and_then_load_no_model(bench: Any) -> None:
    ingest_benchmark(bench.workspace(), bench.experiment())
    first = reference_features(bench.workspace(), bench.experiment())
    assert (first.total, first.computed, len(first.models)) == (18, 18, 3)
    workspace = bench.workspace()
    second = reference_features(workspace, bench.experiment())
    assert (second.computed, second.reused, second.models, workspace.models.loaded) == (0, 18, (), ())
    assert second.version == first.version


def test_features_before_ingestion_name_the_remedy(bench: Any) -> None:
    with pytest.raises(UserError, match="materialize benchmark_videos"):
        reference_features(bench.workspace(), bench.experiment())


def test_a_file_that_changed_after_ingestion_is_a_failure_and_never_stored_under_the_old_content(
    bench: Any,
) -> None:
    ingest_benchmark(bench.workspace(), bench.experiment())
    path = bench.folder / "real/d0/r2.mp4"
    path.write_bytes((bench.folder / "real/d1/r3.mp4").read_bytes())
    (bench.folder / "real/d0/r4.mp4").unlink()
    outcome = reference_features(bench.workspace(), bench.experiment())
    assert [failure.item for failure in outcome.failures] == ["r2", "r4"]
    assert all("materialize benchmark_videos" in failure.reason for failure in outcome.failures)
    assert outcome.computed == 3 * 4
    noted = real_videos(bench.workspace(), bench.experiment())[2].sha256
    records = (bench.folder / "data/store/artifacts/features").rglob("*.record.json")
    assert not any(noted in record.read_text() for record in records)

    ingest_benchmark(bench.workspace(), bench.experiment())
    again = reference_features(bench.workspace(), bench.experiment())
    assert (again.failures, again.total, again.computed) == ((), 12, 0)


def test_a_video_is_read_once_for_all_networks(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ingest_benchmark(bench.workspace(), bench.experiment())
    read: list[str] = []

    def counted(wanted: Sequence[RealFrames]) -> Any:
        for one in wanted:
            read.append(Path(one.path).stem)
            yield read_one(one)

    monkeypatch.setattr(encoding, "read_real", counted)
    reference_features(bench.workspace(), bench.experiment())
    assert sorted(read) == [f"r{i}" for i in range(6)]


def test_of_a_video_only_the_frames_that_its_rule_takes_are_kept(models: Path) -> None:
    network = describe("image classifier", str(models / "image-classifier"), "tiny", Path("/"))
    video = np.random.default_rng(0).integers(0, 255, (16, 8, 8, 3)).astype(np.uint8)
    item = video_item("v", "content", network, FID_GENERATED, lambda: video)
    (found,) = encoding._sampled([item])
    assert isinstance(found, encoding._Sampled)
    np.testing.assert_array_equal(found.frames, video[[0, 4, 8, 12, 15]])
    assert not np.shares_memory(found.frames, video)


def test_real_frames_are_cropped_in_the_centre_to_the_generated_shape() -> None:
    frames = np.arange(2 * 4 * 6 * 3, dtype=np.uint8).reshape(2, 4, 6, 3)
    np.testing.assert_array_equal(crop_to_aspect(frames, 16, 16), frames[:, :, 1:5])
    np.testing.assert_array_equal(crop_to_aspect(frames, 8, 24), frames[:, 1:3])
    np.testing.assert_array_equal(crop_to_aspect(frames, 16, 24), frames)
