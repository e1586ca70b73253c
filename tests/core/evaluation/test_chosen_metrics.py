"""Which metrics an experiment is scored by: what the choice computes, what it leaves alone, what is told."""

from collections import Counter
from functools import partial
from typing import Any

import numpy as np
import pytest

from onaspr_core import code_versions, generation
from onaspr_core.compute import Outcome
from onaspr_core.evaluation.arithmetic import Tensors
from onaspr_core.evaluation.benchmarks import ingest_benchmark, real_videos
from onaspr_core.evaluation.extractors import load
from onaspr_core.evaluation.extrapolation import frechet_infinity
from onaspr_core.evaluation.features import feature_sets, reference_features
from onaspr_core.evaluation.frechet import ReferenceGaussian
from onaspr_core.evaluation.jackknife import jackknife, prompt_groups
from onaspr_core.evaluation.kernel_distance import cmmd, jedi_distance, kernel_distance
from onaspr_core.evaluation.metrics import METRICS, metric_named, metrics_of
from onaspr_core.evaluation.real_frames import crop_to_aspect
from onaspr_core.evaluation.score_layout import footnotes
from onaspr_core.evaluation.scores import prompt_scores_of, score_experiment, scores_of
from onaspr_core.evaluation.scoring import Measured, ScoreItem, Scorer, Side
from onaspr_core.evaluation.settings import PAPER
from onaspr_core.evaluation.temporal import flicker, frame_consistency
from onaspr_core.media.video import Frames, read_frames
from onaspr_core.prompts import ingest_prompts, load_prompts
from onaspr_core.variants import VARIANTS
from tests.core.evaluation.test_values import moving

BEYOND = ["kid", "kvd", "cmmd", "jedi", "temporal_flicker", "frame_consistency"]
ACCURACIES = ["right:colour", "right:motion", "right:all"]
GOLDEN = {
    "fid": "2ffb3951603b701910e52b2f842947940c4926e2",
    "clip_fid": "1491bd54d78221f72a016a7ae48f939d3c5d2353",
    "clipsim": "0a3fb99a45287ebd58af1e299f33769ce22f137b",
    "fvd": "513c98efdc50f99af91b1ccda6c084bbb7616d15",
    "is": "da3f9ea06c9f7679c7b0554c551ba005b9c22d35",
    "right:colour": "24f211f7764ede439aceb684c8ba2905f15820e0",
}
"""Keys of score items as they were before metrics could be chosen, of code version 2."""


def choose(*keys: str) -> str:
    return f"metrics = {list(keys)}"


def run(bench: Any) -> Outcome:
    ingest_benchmark(bench.workspace(), bench.experiment())
    return score_experiment(bench.workspace(), bench.experiment())


def table_of(bench: Any) -> Any:
    return scores_of(bench.workspace(), bench.experiment())


@pytest.mark.parametrize("key", GOLDEN)
def test_the_keys_of_the_papers_scores_are_what_they_always_were_but_for_the_version(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(code_versions, "SCORES", 2)
    metric = metric_named(key)
    item = ScoreItem(
        metric=metric,
        variant="ona",
        own=Side(("p0", "p1"), ("a", "b")),
        baseline=Side(("p0", "p1"), ("c", "d")),
        real=("r",) if metric.needs_real else (),
        texts={"p0": "t", "p1": "u"} if key == "clipsim" else {},
        attributes={"p0": {"colour": "red"}, "p1": {"colour": "blue"}} if key.startswith("right:") else {},
        groups=(),
        splits=10,
        samples=2000,
        seed=0,
    )
    assert item.key == GOLDEN[key]


def test_the_papers_metrics_come_first_and_are_the_default() -> None:
    assert tuple(metric.key for metric in METRICS)[: len(PAPER)] == PAPER
    assert [one.key for one in metrics_of(False, PAPER)] == list(PAPER)
    assert [one.key for one in metrics_of(True, PAPER)] == ["fid", "clip_fid", "clipsim", "is"]
    assert len({metric.key for metric in METRICS}) == len(METRICS)


def test_more_metrics_read_the_features_that_are_there_and_move_no_other_score(bench: Any) -> None:
    run(bench)
    before = table_of(bench)
    bench.metrics = choose(*PAPER, *BEYOND)
    outcome = run(bench)
    after = table_of(bench)
    assert outcome.facts["features_computed"] == 4 * 5
    assert outcome.computed == 4 * 5 + 4 * len(BEYOND)
    assert [one.key for one in after.metrics] == [*PAPER, *BEYOND, *ACCURACIES]
    assert [one for one in after.scores if one.metric not in BEYOND] == list(before.scores)


@pytest.mark.parametrize(
    ("metrics", "attributes", "roles", "computed"),
    [
        (["clipsim"], False, ["image-text model"], 20 + 5),
        (["clipsim"], True, ["image-text model", "video classifier"], 40 + 5),
        (["frame_consistency"], False, ["image-text model"], 20),
        (["fid"], False, ["image classifier"], 20 + 6),
        (["cmmd", "fvd"], False, ["image-text model", "video classifier"], 40 + 12),
    ],
)
def test_only_networks_that_a_metric_reads_are_shown_a_video(
    bench: Any, metrics: list[str], attributes: bool, roles: list[str], computed: int
) -> None:
    if not attributes:
        (bench.folder / "prompts.jsonl").write_text(
            "".join(f'{{"id": "p{i}", "prompt": "ball {i}"}}\n' for i in range(5))
        )
        ingest_prompts(bench.workspace(), bench.experiment())
    bench.metrics = choose(*metrics)
    outcome = run(bench)
    assert not outcome.failures
    sets = feature_sets(bench.workspace(), bench.experiment())
    assert outcome.facts["feature_sets"] == ", ".join(one.name for one in sets if one.role in roles)
    assert len(outcome.models) == len(roles)
    assert outcome.facts["features_computed"] == computed
    bench.metrics = ""
    run(bench)
    assert {one.metric for one in table_of(bench).scores} >= set(PAPER)


def test_no_real_video_is_shown_to_a_network_that_no_metric_compares(bench: Any) -> None:
    bench.metrics = choose("clipsim", "fvd")
    ingest_benchmark(bench.workspace(), bench.experiment())
    outcome = reference_features(bench.workspace(), bench.experiment())
    assert (outcome.computed, outcome.facts["feature_sets"]) == (6, "tiny VideoMAEForVideoClassification")
    bench.metrics = choose("clipsim")
    outcome = reference_features(bench.workspace(), bench.experiment())
    assert (outcome.total, outcome.facts["feature_sets"], "fvd_frames" in outcome.facts) == (0, "", False)


def test_no_video_is_read_twice_for_any_metric(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: Counter[str] = Counter()
    original = generation.read_video

    def counted(workspace: Any, key: str) -> Frames:
        seen[key] += 1
        return original(workspace, key)

    monkeypatch.setattr(generation, "read_video", counted)
    bench.metrics = choose(*PAPER, *BEYOND)
    run(bench)
    assert set(seen) == set(bench.keys.values())
    assert set(seen.values()) == {1}


def test_every_number_beyond_the_papers_is_that_of_features_taken_by_hand(bench: Any) -> None:
    for (variant, prompt), seed in zip(list(bench.keys), range(100), strict=False):
        bench.put(variant, prompt, moving(seed, frames=4))
    bench.metrics = choose(*BEYOND)
    run(bench)
    table, workspace, e = table_of(bench), bench.workspace(), bench.experiment()
    prompts = load_prompts(workspace, e)
    made = [generation.read_video(workspace, bench.keys["ona", prompt.id]) for prompt in prompts]
    real = [crop_to_aspect(read_frames(one.path), 16, 16) for one in real_videos(workspace, e)]
    image, clip, video, pixels = (load(one, "cpu") for one in feature_sets(workspace, e))
    assert pixels.feature_set.role == "pixels"
    owners = [np.repeat(np.arange(n), 5) for n in (5, 6)]
    fid = [
        np.concatenate([image.features([one[rule]])[0]["features"] for one in side])
        for side, rule in ((made, [0, 1, 2, 2, 3]), (real, [0, 3, 6, 8, 11]))
    ]
    embedded = [clip.features([one])[0]["features"] for one in made]
    of_real = np.concatenate([clip.features([one[[0, 3, 6, 8, 11]]])[0]["features"] for one in real])
    of_made = np.concatenate([one[[0, 1, 2, 2, 3]] for one in embedded])
    clips = [
        np.stack([video.features([one])[0]["features"] for one in side])
        for side in (made, [one[[0, 4, 7, 11]] for one in real])
    ]
    expected = {
        "kid": kernel_distance(*fid, owners_a=owners[0], owners_b=owners[1]),
        "kvd": kernel_distance(*clips),
        "cmmd": cmmd(of_made, of_real),
        "jedi": jedi_distance(*clips),
        "temporal_flicker": np.mean([flicker(one) for one in made]),
        "frame_consistency": np.mean([frame_consistency(one) for one in embedded]),
    }
    for key, value in expected.items():
        assert table.get("ona", key).value == pytest.approx(value, rel=1e-3, abs=1e-6), key
        assert table.get("ona", key).low < table.get("ona", key).difference < table.get("ona", key).high, key
    assert table.get("ona", "temporal_flicker").value > 1.0
    assert "8-bit pixel differences" in table.get("ona", "temporal_flicker").extractor
    assert any("5 groups of prompts left out in turn" in note for note in footnotes(table))


def test_an_extrapolation_of_too_few_videos_is_a_failure_that_says_so(bench: Any) -> None:
    bench.metrics = choose("clipsim", "fvd_infinity")
    outcome = run(bench)
    assert {one.item for one in outcome.failures} == {f"{variant} FVD∞" for variant in VARIANTS}
    assert "generate more videos" in outcome.failures[0].reason
    assert any(note.startswith("Not computed: baseline FVD∞") for note in table_of(bench).notes)


def test_win_rates_and_prompts_needed_are_of_the_kept_values(bench: Any) -> None:
    bench.metrics = choose("clipsim", "fid", "temporal_flicker")
    for (variant, prompt), seed in zip(list(bench.keys), range(100), strict=False):
        bench.put(variant, prompt, moving(seed, frames=4))
    run(bench)
    table, kept = table_of(bench), prompt_scores_of(bench.workspace(), bench.experiment())
    for key, sign in (("clipsim", 1.0), ("temporal_flicker", -1.0)):
        score = table.get("ona", key)
        gains = np.array([kept["ona"][key][p] - kept["baseline"][key][p] for p in kept["ona"][key]])
        assert score.wins == np.mean(sign * gains > 0)
        assert score.wins_low <= score.wins <= score.wins_high
        z = 1.959964 + 0.841621
        needed = (z * gains.std(ddof=1) / gains.mean()) ** 2 + 1.959964**2 / 2
        assert score.prompts_needed == max(2, int(np.ceil(needed)))
        assert table.get("baseline", key).wins is None
    assert table.get("ona", "fid").wins is None
    assert any(note.startswith("CLIPSIM by prompt: ona ") for note in footnotes(table))


def test_what_images_cannot_have_is_left_out_and_told(images: Any) -> None:
    images.metrics = choose(*(metric.key for metric in METRICS if "infinity" not in metric.key))
    outcome = run(images)
    table = table_of(images)
    assert not outcome.failures
    assert [one.key for one in table.metrics][:6] == ["fid", "clip_fid", "clipsim", "is", "kid", "cmmd"]
    told = "FVD, KVD, JEDi, flicker and frame consistency need videos and are left out."
    assert any(
        note.startswith("Images: FID, CLIP-FID, KID and CMMD see") and told in note for note in table.notes
    )


def test_what_needs_a_benchmark_is_left_out_and_told(bench: Any) -> None:
    bench.benchmark = False
    bench.metrics = choose("clipsim", "kid", "jedi")
    run(bench)
    table = table_of(bench)
    assert [one.key for one in table.metrics] == ["clipsim", *ACCURACIES]
    assert "Without a benchmark KID and JEDi are left out as well." in table.notes


def test_a_short_real_side_stands_among_the_notes(bench: Any) -> None:
    bench.metrics = choose("fid")
    run(bench)
    assert not any("usable" in note for note in table_of(bench).notes)
    (bench.folder / "real/d0/r0.mp4").unlink()
    run(bench)
    told = "5 of the 6 real videos of real.csv are usable, and its list has 6."
    assert told in table_of(bench).notes
    (bench.folder / "real.csv").unlink()
    (bench.folder / "real.csv").write_text("nothing that is a list\n")
    score_experiment(bench.workspace(), bench.experiment())
    assert any("usable is not known" in note for note in table_of(bench).notes)


def measured(key: str, prompts: int, width: int) -> tuple[Measured, dict[str, Any]]:
    """A set metric of random rows against random real ones, and the rows by side."""
    rng = np.random.default_rng(0)
    names = [
        *(f"{side}{i}" for side in ("own", "base") for i in range(prompts)),
        *(f"r{i}" for i in range(50)),
    ]
    kept: dict[str, Tensors] = {
        name: {"features": rng.normal(size=width).astype(np.float32) + name.startswith("own")}
        for name in names
    }
    ids = tuple(f"p{i}" for i in range(prompts))
    own, base = (Side(ids, tuple(f"{side}{i}" for i in range(prompts))) for side in ("own", "base"))
    real = tuple(f"r{i}" for i in range(50))
    item = ScoreItem(metric_named(key), "ona", own, base, real, {}, {}, (), 1, 100, 3)
    rows = {
        side: np.stack([kept[name]["features"] for name in keys]).astype(np.float64)
        for side, keys in (("own", own.keys), ("base", base.keys), ("real", real))
    }
    return Scorer(partial(map, kept.__getitem__)).measure(item), rows


@pytest.mark.parametrize(("width", "caution"), [(8, ""), (32, "too low")])
def test_an_extrapolation_has_its_error_and_says_when_it_is_too_low(width: int, caution: str) -> None:
    found, rows = measured("fvd_infinity", 40, width)
    reference = ReferenceGaussian(rows["real"])
    own, base = (frechet_infinity(reference, rows[side], np.arange(40), seed=3) for side in ("own", "base"))
    assert (found.value, found.spread) == pytest.approx((own.estimate, own.standard_error))
    assert found.difference == pytest.approx(own.estimate - base.estimate)
    assert (found.low, found.interval) == (None, "none: ± is the standard error of the fit")
    assert caution in found.caution and bool(found.caution) == bool(caution)


def test_the_interval_of_a_kernel_distance_leaves_out_groups_of_prompts_on_both_sides() -> None:
    found, rows = measured("kvd", 110, 6)
    groups = prompt_groups(110, seed=3)
    assert len(set(groups.tolist())) == 100
    left = [
        kernel_distance(rows["own"][groups != g], rows["real"])
        - kernel_distance(rows["base"][groups != g], rows["real"])
        for g in range(100)
    ]
    difference = kernel_distance(rows["own"], rows["real"]) - kernel_distance(rows["base"], rows["real"])
    expected = jackknife(difference, left).interval
    assert (found.difference, found.low, found.high) == pytest.approx(
        (expected.estimate, expected.low, expected.high)
    )


def test_two_prompts_have_a_kernel_distance_and_no_interval() -> None:
    found, _ = measured("kvd", 2, 6)
    assert found.difference is not None and (found.low, found.interval) == (
        None,
        "none: fewer than 3 prompts",
    )
