"""Scoring images: one row each, no video network, and an inception score as it was first defined."""

from typing import Any

import numpy as np
import pytest
from PIL import Image

from onaspr_core import generation
from onaspr_core.checks.features import every_real_video_has_features
from onaspr_core.evaluation.arithmetic import shuffled_inception_score
from onaspr_core.evaluation.benchmarks import ingest_benchmark, real_videos
from onaspr_core.evaluation.extractors import load
from onaspr_core.evaluation.features import feature_sets, reference_features
from onaspr_core.evaluation.frechet import frechet_distance
from onaspr_core.evaluation.inception_score import joint_probabilities
from onaspr_core.evaluation.real_frames import crop_to_aspect
from onaspr_core.evaluation.score_layout import footnotes
from onaspr_core.evaluation.scores import score_experiment, scores_of
from onaspr_core.media.video import encode_mp4, read_frames
from onaspr_core.prompts import load_prompts
from onaspr_core.variants import VARIANTS
from tests.core.evaluation.conftest import noise_video


def scored(bench: Any) -> Any:
    ingest_benchmark(bench.workspace(), bench.experiment())
    outcome = score_experiment(bench.workspace(), bench.experiment())
    assert not outcome.failures
    return scores_of(bench.workspace(), bench.experiment())


def test_images_have_all_metrics_but_fvd_and_no_video_network(images: Any) -> None:
    table = scored(images)
    keys = [metric.key for metric in table.metrics]
    assert keys[:4] == ["fid", "clip_fid", "clipsim", "is"]
    assert all(key.startswith("right:") for key in keys[4:])
    assert {score.extractor for score in table.scores} == {
        "tiny ResNetForImageClassification",
        "tiny CLIPModel",
    }
    assert len(table.scores) == len(keys) * len(VARIANTS)
    assert any("FVD needs videos and is left out" in note for note in table.notes)


def test_the_numbers_are_those_of_features_taken_by_hand(images: Any) -> None:
    table = scored(images)
    workspace, e = images.workspace(), images.experiment()
    made = [generation.read_video(workspace, images.keys["ona", p.id]) for p in load_prompts(workspace, e)]
    assert {one.shape for one in made} == {(1, 16, 16, 3)}
    image, clip = (load(one, "cpu") for one in feature_sets(workspace, e))
    real = [crop_to_aspect(read_frames(one.path, stride=12), 16, 16) for one in real_videos(workspace, e)]
    for metric, network in (("fid", image), ("clip_fid", clip)):
        ours, theirs = (
            np.concatenate([network.features([one])[0]["features"] for one in side]) for side in (made, real)
        )
        score = table.get("ona", metric)
        assert score.value == pytest.approx(frechet_distance(ours, theirs), rel=1e-4)
        assert (score.n, score.rows, score.n_real, score.rows_real) == (5, 5, 6, len(theirs))
    found = [image.features([one])[0] for one in made]
    names = sorted(name for name in found[0] if name.startswith("probabilities/"))
    rows = joint_probabilities([np.concatenate([one[name] for one in found]) for name in names])
    expected = shuffled_inception_score(rows, None, splits=2, seed=0)[0]
    assert table.get("ona", "is").value == pytest.approx(expected, rel=1e-6)


def test_a_real_video_gives_every_twelfth_frame_and_a_real_image_itself(images: Any) -> None:
    path = images.folder / "real" / "d0" / "r0.mp4"
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (16, 24, 3), dtype=np.uint8)).save(path, "PNG")
    long = images.folder / "real" / "d1" / "r1.mp4"
    long.write_bytes(encode_mp4(noise_video(500, frames=26, width=24), 8))
    table = scored(images)
    score = table.get("ona", "fid")
    assert (score.n_real, score.rows_real) == (6, 8)
    assert "Samples of FID, CLIP-FID: 5 generated, 8 frames of 6 real." in footnotes(table)


def test_the_real_side_is_complete_with_two_networks(images: Any) -> None:
    workspace, e = images.workspace(), images.experiment()
    ingest_benchmark(workspace, e)
    facts = reference_features(workspace, e).facts
    assert facts["real_videos"] == 6 and "fvd_frames" not in facts
    found = every_real_video_has_features(images.workspace(), e)
    assert found.passed and found.facts["looked_at"] == 12


def test_the_real_side_may_be_a_folder_of_images(images: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = images.folder / "photographs"
    folder.mkdir()
    rng = np.random.default_rng(1)
    for i in range(4):
        pixels = rng.integers(0, 256, (20, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
        (folder / f"{i}.txt").write_text(f"photograph {i}")
    benchmark = '[experiments.e.evaluation.benchmark]\nformat = "folder"\npath = "photographs"\n'
    monkeypatch.setattr("tests.core.evaluation.conftest.BENCHMARK", benchmark)
    table = scored(images)
    assert (table.get("ona", "fid").n_real, table.get("ona", "fid").rows_real) == (4, 4)
    assert [one.caption for one in real_videos(images.workspace(), images.experiment())] == [
        f"photograph {i}" for i in range(4)
    ]
