"""Scores of videos of 16 frames, each worked by hand from the networks' own outputs."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from math import exp, floor, log
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.linalg import sqrtm  # type: ignore[import-untyped]

from onaspr_core import generation
from onaspr_core.evaluation.benchmarks import ingest_benchmark, real_videos
from onaspr_core.evaluation.extractors import load
from onaspr_core.evaluation.features import feature_sets
from onaspr_core.evaluation.real_frames import crop_to_aspect
from onaspr_core.evaluation.scores import score_experiment, scores_of
from onaspr_core.media.video import Frames, encode_mp4, read_frames
from onaspr_core.prompts import load_prompts

Array = npt.NDArray[Any]
PROMPTS, RESAMPLES, SEED = 5, 50, 0
GENERATED, REAL = [0, 4, 8, 12, 15], [0, 12, 24, 36, 48]
REAL_FVD = [floor(i * 49 / 15 + 0.5) for i in range(16)]


def moving(seed: int, frames: int, width: int = 16) -> Frames:
    """Blocks that move to the right, one pixel a frame: no two frames are equal."""
    still = np.random.default_rng(seed).integers(0, 255, (4, width // 4, 3)).repeat(4, 0).repeat(4, 1)
    return np.stack([np.roll(still, i, axis=1) for i in range(frames)]).astype(np.uint8)


def frechet(a: Array, b: Array) -> float:
    """Heusel et al.'s formula as clean-fid writes it."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    cross = np.trace(sqrtm(cov_a @ cov_b)).real
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(cov_a) + np.trace(cov_b) - 2 * cross)


def inception(colours: Array, motions: Array, splits: int = 2) -> tuple[float, float]:
    """Salimans et al.'s score over colour × motion, in loops."""
    joint = [
        [float(c) * float(m) for c in one for m in other] for one, other in zip(colours, motions, strict=True)
    ]
    rows = [joint[i] for i in np.random.default_rng(SEED).permutation(len(joint))]
    half = len(rows) // splits
    scores = []
    for part in (rows[:half], rows[half:]):
        marginal = [sum(row[k] for row in part) / len(part) for k in range(6)]
        divergences = [sum(p * log(p / q) for p, q in zip(row, marginal, strict=True)) for row in part]
        scores.append(exp(sum(divergences) / len(part)))
    return float(np.mean(scores)), float(np.std(scores))


def bounds(draws: Sequence[float]) -> Any:
    low, high = np.quantile(draws, [0.025, 0.975])
    return pytest.approx((low, high), rel=1e-3, abs=1e-6)


def resamples() -> npt.NDArray[np.int64]:
    return np.sort(np.random.default_rng(SEED).integers(0, PROMPTS, (RESAMPLES, PROMPTS)), axis=1)


@dataclass
class Worked:
    """The table, and of the variants baseline and ona one row or block of rows a video, by metric."""

    table: Any
    own: dict[str, dict[str, Array]]
    real: dict[str, Array]


@pytest.fixture
def worked(bench: Any) -> Worked:
    bench.frames = 16
    for i in range(6):
        path = bench.folder / "real" / f"d{i % 2}" / f"r{i}.mp4"
        path.write_bytes(encode_mp4(moving(100 + i, frames=50, width=24), 8))
    for (variant, prompt), seed in zip(list(bench.keys), range(100), strict=False):
        bench.put(variant, prompt, moving(seed, frames=16))
    workspace, e = bench.workspace(), bench.experiment()
    ingest_benchmark(workspace, e)
    assert score_experiment(workspace, e).failures == ()
    image, clip, video = (load(one, "cpu") for one in feature_sets(workspace, e))
    prompts = load_prompts(workspace, e)
    words = [one["features"] for one in clip.texts([prompt.text for prompt in prompts])]
    own: dict[str, dict[str, Array]] = {}
    for variant in ("baseline", "ona"):
        made = [generation.read_video(workspace, bench.keys[variant, prompt.id]) for prompt in prompts]
        frames = [clip.features([one])[0]["features"].astype(np.float64) for one in made]
        whole = [video.features([one])[0] for one in made]
        cosines = [
            np.mean([f @ w / np.linalg.norm(f) / np.linalg.norm(w) for f in some])
            for some, w in zip(frames, words, strict=True)
        ]
        own[variant] = {
            "fid": np.stack([image.features([one[GENERATED]])[0]["features"] for one in made]),
            "clip_fid": np.stack([some[GENERATED] for some in frames]),
            "fvd": np.stack([one["features"] for one in whole])[:, None],
            "clipsim": np.array(cosines),
            "colour": np.stack([one["probabilities/colour"] for one in whole]),
            "motion": np.stack([one["probabilities/motion"] for one in whole]),
        }
    there = [crop_to_aspect(read_frames(one.path), 16, 16) for one in real_videos(workspace, e)]
    real = {
        "fid": np.concatenate([image.features([one[REAL]])[0]["features"] for one in there]),
        "clip_fid": np.concatenate([clip.features([one[REAL]])[0]["features"] for one in there]),
        "fvd": np.stack([video.features([one[REAL_FVD]])[0]["features"] for one in there]),
    }
    return Worked(scores_of(workspace, e), own, real)


def test_the_frechet_distances_are_of_protocols_frames(worked: Worked) -> None:
    for metric in ("fid", "clip_fid", "fvd"):
        expected = frechet(np.concatenate(worked.own["ona"][metric]), worked.real[metric])
        assert worked.table.get("ona", metric).value == pytest.approx(expected, rel=1e-3), metric


def test_the_inception_score_is_over_joint_classes_in_shuffled_splits(worked: Worked) -> None:
    ona, base = worked.own["ona"], worked.own["baseline"]
    score = worked.table.get("ona", "is")
    assert (score.value, score.spread) == pytest.approx(inception(ona["colour"], ona["motion"]), rel=1e-5)
    draws = [
        inception(ona["colour"][drawn], ona["motion"][drawn])[0]
        - inception(base["colour"][drawn], base["motion"][drawn])[0]
        for drawn in resamples()
    ]
    assert (score.low, score.high) == bounds(draws)


def test_the_interval_of_a_frechet_distance_leaves_out_prompts_with_all_their_frames(worked: Worked) -> None:
    ona, base, real = (
        worked.own["ona"]["clip_fid"],
        worked.own["baseline"]["clip_fid"],
        worked.real["clip_fid"],
    )
    left = np.array(
        [
            frechet(np.concatenate(np.delete(ona, i, 0)), real)
            - frechet(np.concatenate(np.delete(base, i, 0)), real)
            for i in range(PROMPTS)
        ]
    )
    score = worked.table.get("ona", "clip_fid")
    # Student's 97.5 % quantile with 4 degrees of freedom is 2.7764.
    margin = 2.7764 * np.sqrt((PROMPTS - 1) / PROMPTS * np.square(left - left.mean()).sum())
    assert PROMPTS == 5
    assert (score.low, score.high) == pytest.approx(
        (score.difference - margin, score.difference + margin), rel=2e-3
    )
    assert score.interval == "set metric, 5 groups of prompts left out in turn"
    assert score.low < score.high


def test_the_interval_and_the_p_value_of_a_per_prompt_metric_are_of_its_differences(worked: Worked) -> None:
    differences = worked.own["ona"]["clipsim"] - worked.own["baseline"]["clipsim"]
    score = worked.table.get("ona", "clipsim")
    assert score.difference == pytest.approx(differences.mean(), abs=1e-6)
    assert (score.low, score.high) == bounds([float(differences[drawn].mean()) for drawn in resamples()])
    flipped = [
        abs(sum(s * d for s, d in zip(signs, differences, strict=True)))
        for signs in product((1, -1), repeat=5)
    ]
    assert score.p_value == np.mean([one >= abs(differences.sum()) - 1e-9 for one in flipped])
