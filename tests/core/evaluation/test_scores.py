"""Scoring an experiment: what is computed, what is reused, what is counted as missing."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from onaspr_core import generation
from onaspr_core.compute import Outcome
from onaspr_core.evaluation import extractors
from onaspr_core.evaluation.arithmetic import shuffled_inception_score
from onaspr_core.evaluation.benchmarks import ingest_benchmark, real_videos
from onaspr_core.evaluation.clipsim import clipsim
from onaspr_core.evaluation.extractors import load
from onaspr_core.evaluation.features import feature_sets
from onaspr_core.evaluation.frechet import frechet_distance
from onaspr_core.evaluation.real_frames import crop_to_aspect
from onaspr_core.evaluation.score_layout import footnotes, format_value, markdown_table
from onaspr_core.evaluation.scores import prompt_scores_of, score_experiment, scores_of
from onaspr_core.media.video import read_frames
from onaspr_core.prompts import ingest_prompts, load_prompts
from onaspr_core.stored_kinds import VIDEO
from onaspr_core.variants import VARIANTS
from tests.tiny_networks import save_c3d

METRICS = ["fid", "clip_fid", "clipsim", "fvd", "is", "right:colour", "right:motion", "right:all"]


def run(bench: Any, ingest: bool = True) -> Outcome:
    if ingest:
        ingest_benchmark(bench.workspace(), bench.experiment())
    return score_experiment(bench.workspace(), bench.experiment())


def test_every_variant_has_every_metric_with_its_n_and_features(bench: Any) -> None:
    outcome = run(bench)
    table: Any = scores_of(bench.workspace(), bench.experiment())
    assert outcome.failures == ()
    assert [metric.key for metric in table.metrics] == METRICS
    assert table.variants == tuple(VARIANTS)
    assert len(table.scores) == 32
    for score in table.scores:
        assert (score.n, score.missing, score.label) == (5, 0, "tiny")
        assert score.n_real == (6 if score.metric in ("fid", "clip_fid", "fvd") else 0)
        paired = score.variant != "baseline"
        assert (score.difference is not None) == paired
        if paired:
            base = table.get("baseline", score.metric)
            assert score.low <= score.high
            assert score.difference == pytest.approx(score.value - base.value, abs=1e-9)
            assert score.n_paired == 5


def test_the_numbers_are_those_of_features_taken_by_hand(bench: Any) -> None:
    run(bench)
    workspace, e = bench.workspace(), bench.experiment()
    sets = feature_sets(workspace, e)
    prompts = load_prompts(workspace, e)
    made = [generation.read_video(workspace, bench.keys["ona", prompt.id]) for prompt in prompts]
    real = [crop_to_aspect(read_frames(one.path), 16, 16) for one in real_videos(workspace, e)]
    image, clip, video = (load(one, "cpu") for one in sets)
    table: Any = scores_of(workspace, e)

    ours = np.concatenate([image.features([one[[0, 1, 2, 2, 3]]])[0]["features"] for one in made])
    theirs = np.concatenate([image.features([one[[0, 3, 6, 8, 11]]])[0]["features"] for one in real])
    assert table.get("ona", "fid").value == pytest.approx(frechet_distance(ours, theirs), rel=1e-4)

    ours = np.stack([video.features([one])[0]["features"] for one in made])
    theirs = np.stack([video.features([one[[0, 4, 7, 11]]])[0]["features"] for one in real])
    assert table.get("ona", "fvd").value == pytest.approx(frechet_distance(ours, theirs), rel=1e-4)

    words = clip.texts([prompt.text for prompt in prompts])
    values = [
        clipsim(clip.features([one])[0]["features"], text["features"])
        for one, text in zip(made, words, strict=True)
    ]
    assert table.get("ona", "clipsim").value == pytest.approx(np.mean(values), abs=1e-5)
    kept = prompt_scores_of(workspace, e)["ona"]["clipsim"]
    assert [kept[prompt.id] for prompt in prompts] == pytest.approx(values, abs=1e-5)

    found = [video.features([one])[0]["probabilities/colour"].argmax() for one in made]
    right = [
        ("red", "blue")[i] == prompt.attributes["colour"] for i, prompt in zip(found, prompts, strict=True)
    ]
    assert table.get("ona", "right:colour").value == pytest.approx(np.mean(right))


def test_a_second_run_computes_nothing_and_loads_nothing(bench: Any) -> None:
    first = run(bench)
    workspace = bench.workspace()
    second = score_experiment(workspace, bench.experiment())
    assert (second.computed, second.models, workspace.models.loaded) == (0, (), ())
    assert second.reused == first.total == second.total
    assert second.version == first.version


def test_one_changed_video_is_the_only_one_encoded_again(bench: Any, put_new: Any) -> None:
    first = run(bench)
    put_new("ona", "p2")
    second = run(bench, ingest=False)
    assert second.facts["features_computed"] == 3
    assert second.computed == 3 + len(METRICS)
    assert second.version != first.version


def test_videos_that_are_equal_are_encoded_once(bench: Any) -> None:
    for prompt in ("p0", "p1", "p2", "p3", "p4"):
        bench.keys["ona", prompt] = bench.keys["baseline", prompt]
    outcome = run(bench)
    assert outcome.facts["features_computed"] == 3 * 15 + 5 + 3 * 6
    score: Any = scores_of(bench.workspace(), bench.experiment()).get("ona", "fid")
    assert (score.difference, score.low, score.high) == (0.0, 0.0, 0.0)
    assert not scores_of(bench.workspace(), bench.experiment()).supported(score)
    assert (score.prompts_needed, score.wins) == (None, None)


def test_only_differences_of_per_prompt_metrics_are_ever_supported(bench: Any) -> None:
    run(bench)
    table: Any = scores_of(bench.workspace(), bench.experiment())
    scores = [replace(one, difference=1.0, low=0.5, high=1.5, p_value=0.01) for one in table.scores]
    found = replace(table, scores=tuple(scores))
    per_prompt = [score.metric == "clipsim" or score.metric.startswith("right:") for score in scores]
    assert [found.supported(score) for score in scores] == per_prompt


def test_a_missing_and_a_damaged_video_are_counted_and_named_and_the_rest_is_scored(bench: Any) -> None:
    store = bench.workspace().store
    bench.keys["spr", "p1"] = "0" * 40
    store.write(VIDEO, "f" * 40, ".mp4", b"no video at all", {})
    bench.keys["spr", "p3"] = "f" * 40
    outcome = run(bench)
    assert {failure.item for failure in outcome.failures} == {"spr p1", "spr p3"}
    assert "spr_videos" in outcome.failures[0].reason
    table: Any = scores_of(bench.workspace(), bench.experiment())
    for metric in METRICS:
        score = table.get("spr", metric)
        assert (score.n, score.missing, score.n_paired) == (3, 2, 3)
        assert table.get("ona", metric).n == 5
    assert any("missing" in note for note in table.notes)


def test_a_variant_without_videos_is_a_failure_and_no_number(bench: Any) -> None:
    for i in range(5):
        bench.keys["ona", f"p{i}"] = f"{i}" * 40
    outcome = run(bench)
    table: Any = scores_of(bench.workspace(), bench.experiment())
    assert table.get("ona", "fid") is None
    assert table.get("spr", "fid") is not None
    assert {"ona FID", "ona CLIPSIM"} <= {failure.item for failure in outcome.failures}


def test_without_a_real_side_only_what_needs_none_is_scored(bench: Any) -> None:
    bench.benchmark = False
    outcome = run(bench)
    table: Any = scores_of(bench.workspace(), bench.experiment())
    assert [metric.key for metric in table.metrics] == METRICS[2:3] + METRICS[4:]
    assert "CLIP-FID" in outcome.facts["notes"]


def test_prompts_without_attributes_have_no_accuracies(bench: Any) -> None:
    (bench.folder / "prompts.jsonl").write_text('{"id": "p0", "prompt": "a"}\n{"id": "p1", "prompt": "b"}\n')
    ingest_prompts(bench.workspace(), bench.experiment())
    run(bench)
    table: Any = scores_of(bench.workspace(), bench.experiment())
    assert not any(metric.key.startswith("right:") for metric in table.metrics)
    assert table.prompts == 2


def test_counts_tell_videos_from_the_frames_that_are_compared(bench: Any) -> None:
    run(bench)
    table: Any = scores_of(bench.workspace(), bench.experiment())
    rows = {
        metric: (s.n, s.rows, s.n_real, s.rows_real) for metric in METRICS for s in [table.get("ona", metric)]
    }
    assert rows["fid"] == rows["clip_fid"] == (5, 25, 6, 30)
    assert rows["fvd"] == (5, 5, 6, 6)
    assert rows["is"] == rows["clipsim"] == rows["right:all"] == (5, 5, 0, 0)
    assert "Samples of FID, CLIP-FID: 5 generated × 5 frames, 6 real × 5 frames." in footnotes(table)


def test_the_inception_score_says_its_splits_and_what_it_is_over(bench: Any) -> None:
    outcome = run(bench)
    table: Any = scores_of(bench.workspace(), bench.experiment())
    assert table.get("ona", "is").splits == 2
    assert {score.splits for score in table.scores if score.metric != "is"} == {None}
    told = "IS: over the joint distribution of colour × motion (6 classes); 2 splits, mean ± deviation."
    assert told in table.notes
    assert told in outcome.facts["notes"]
    assert "±" in format_value(table.get("ona", "is"))


def test_one_split_has_no_deviation(bench: Any) -> None:
    bench.splits = 1
    run(bench)
    table: Any = scores_of(bench.workspace(), bench.experiment())
    assert table.get("ona", "is").spread is None
    assert "±" not in format_value(table.get("ona", "is"))
    assert any(note.endswith("(6 classes); 1 split, so without a deviation.") for note in table.notes)


def test_the_version_follows_all_that_is_published_and_a_new_label_computes_nothing(bench: Any) -> None:
    first = run(bench)
    bench.label = "other"
    second = run(bench, ingest=False)
    table = scores_of(bench.workspace(), bench.experiment())
    assert second.computed == 0
    assert second.version != first.version
    assert {score.label for score in table.scores} == {"other"}
    bench.label = "tiny"
    assert run(bench, ingest=False).version == first.version


def test_the_preview_is_the_table_that_reports_write(bench: Any) -> None:
    outcome = run(bench)
    assert outcome.preview is not None
    assert outcome.preview.markdown == markdown_table(scores_of(bench.workspace(), bench.experiment()))


def test_what_is_comparable_is_decided_by_the_networks_and_not_by_their_label(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.label = "miniature"
    run(bench)
    assert not any("comparable" in note for note in scores_of(bench.workspace(), bench.experiment()).notes)
    bench.label = "paper"
    monkeypatch.setitem(extractors.SHIPPED, "video classifier", str(bench.models / "video-classifier"))
    run(bench, ingest=False)
    (note,) = [one for one in scores_of(bench.workspace(), bench.experiment()).notes if "comparable" in one]
    assert "serve as video classifier:" in note


def test_scores_kept_with_other_columns_are_replaced(bench: Any) -> None:
    workspace, e = bench.workspace(), bench.experiment()
    with workspace.catalog.write() as connection:
        connection.execute("create table scores (experiment text, position integer, variant text)")
        connection.execute("insert into scores values ('e', 0, 'ona')")
    assert scores_of(workspace, e).scores == ()
    run(bench)
    assert len(scores_of(bench.workspace(), e).scores) == 32


def test_the_inception_score_may_be_on_a_network_of_its_own(bench: Any) -> None:
    run(bench)
    before: Any = scores_of(bench.workspace(), bench.experiment())
    c3d = save_c3d(bench.folder / "c3d.safetensors")
    bench.more_networks = f'inception_score_network = "{c3d}"\n'
    outcome = run(bench)
    assert outcome.facts["features_computed"] == 4 * 5
    workspace, e = bench.workspace(), bench.experiment()
    table: Any = scores_of(workspace, e)
    assert [metric.key for metric in table.metrics] == ["fid", "clip_fid", "clipsim", "fvd", "is"]
    assert table.get("ona", "fvd") == before.get("ona", "fvd")
    score = table.get("ona", "is")
    assert (score.extractor, score.n, score.splits) == ("tiny C3D", 5, 2)
    assert "IS: over the 101 classes; 2 splits, mean ± deviation." in table.notes
    network = load(feature_set := feature_sets(workspace, e).classifier, "cpu")
    assert feature_set.fingerprint == score.fingerprint
    made = [generation.read_video(workspace, bench.keys["ona", one.id]) for one in load_prompts(workspace, e)]
    likely = np.stack([one["probabilities/class"] for one in network.features(made)]).astype(np.float64)
    value, spread = shuffled_inception_score(likely, None, 2, e.evaluation.seed)
    assert (score.value, score.spread) == pytest.approx((value, spread), rel=1e-6)
    bench.more_networks = f'inception_score_network = "{bench.models}/video-classifier"\n'
    assert (run(bench).computed, scores_of(workspace, bench.experiment())) == (0, before)
