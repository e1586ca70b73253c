"""VBench's results among an experiment's scores: whose they are, what is counted, what is told."""

import json
import shutil
from typing import Any

import numpy as np
import pytest

from onaspr_core.compute import Outcome
from onaspr_core.errors import UserError
from onaspr_core.evaluation.benchmarks import ingest_benchmark
from onaspr_core.evaluation.metrics import metric_named
from onaspr_core.evaluation.score_layout import footnotes, markdown_table
from onaspr_core.evaluation.scores import Made, prompt_scores_of, score_experiment, score_made, scores_of
from onaspr_core.stored_kinds import SCORE, VIDEO
from onaspr_core.variants import VARIANTS

SMOOTH = "vbench:motion_smoothness"
DEGREE = "vbench:dynamic_degree"


def name_results(bench: Any, *files: str) -> None:
    bench.metrics = f'metrics = ["clipsim"]\nvbench = {list(files)}'


def write(bench: Any, name: str, **dimensions: dict[str, float | bool]) -> None:
    """A results file of VBench's form: results by path; no dimension's score is their mean."""
    content = {
        dimension: [0.123, [{"video_path": path, "video_results": value} for path, value in results.items()]]
        for dimension, results in dimensions.items()
    }
    (bench.folder / name).write_text(json.dumps(content))


def results_of(bench: Any, variants: Any = tuple(VARIANTS)) -> dict[str, float]:
    """A result of each video, under the path that a report's copy has."""
    return {
        f"reports/e/videos/{key}.mp4": 0.5 + 0.01 * int(prompt[1:]) + 0.1 * list(VARIANTS).index(variant)
        for (variant, prompt), key in bench.keys.items()
        if variant in variants
    }


def run(bench: Any) -> Outcome:
    ingest_benchmark(bench.workspace(), bench.experiment())
    return score_experiment(bench.workspace(), bench.experiment())


def table_of(bench: Any) -> Any:
    return scores_of(bench.workspace(), bench.experiment())


def told(bench: Any) -> list[str]:
    return [note for note in table_of(bench).notes if note.startswith("VBench")]


def test_one_results_file_gives_every_variant_a_per_prompt_metric(bench: Any) -> None:
    write(
        bench,
        "a.json",
        motion_smoothness=results_of(bench),
        dynamic_degree=dict.fromkeys(results_of(bench), True),
    )
    name_results(bench, "a.json")
    outcome = run(bench)
    table = table_of(bench)
    assert not outcome.failures
    assert [one.key for one in table.metrics][-2:] == [SMOOTH, DEGREE]
    for i, variant in enumerate(VARIANTS):
        score = table.get(variant, SMOOTH)
        assert (score.n, score.missing, score.rows, score.n_real) == (5, 0, 5, 0)
        assert score.value == pytest.approx(0.52 + 0.1 * i)
        assert table.get(variant, DEGREE).value == 1.0
    score = table.get("spr", SMOOTH)
    base = table.get("baseline", SMOOTH)
    assert score.difference == pytest.approx(score.value - base.value)
    assert (score.low, score.high, score.n_paired) == pytest.approx((score.difference, score.difference, 5))
    assert score.p_value is not None and score.wins == 1.0
    assert prompt_scores_of(bench.workspace(), bench.experiment())["ona"][SMOOTH]["p3"] == pytest.approx(
        0.53 + 0.1 * list(VARIANTS).index("ona")
    )
    assert "VBench motion smoothness ↑" in markdown_table(table)
    assert any("VBench's own results (" in note for note in footnotes(table))
    (note,) = told(bench)
    assert "mean over the videos" in note and "not computed again" in note


def test_a_set_of_a_study_has_the_results_of_its_own_videos(bench: Any) -> None:
    write(bench, "a.json", motion_smoothness=results_of(bench, ("ona", "spr")))
    name_results(bench, "a.json")
    workspace, e = bench.workspace(), bench.experiment()
    sets = {label: Made(e, variant) for label, variant in (("first", "ona"), ("second", "baseline"))}
    table, outcome = score_made(workspace, e, sets)
    assert not outcome.failures
    found: Any = table.get("first", SMOOTH)
    assert (found.n, table.get("second", SMOOTH)) == (5, None)
    notes = [note for note in table.notes if note.startswith("VBench")]
    assert "VBench motion smoothness: 5 of 10 different videos have no result." in notes
    assert "VBench: files of its results that are none of the videos compared here: 5." in notes
    table, _ = score_made(workspace, e, {"first": Made(e, "baseline")})
    assert "VBench: its results are of none of the videos compared here." in table.notes


def test_what_has_no_result_is_missing_and_what_is_unknown_is_counted(bench: Any) -> None:
    results = results_of(bench)
    for prompt in ("p0", "p4"):
        del results[f"reports/e/videos/{bench.keys['ona', prompt]}.mp4"]
    results |= {"elsewhere/a dog running-0.mp4": 0.9, f"videos/{'a' * 40}.mp4": 0.9}
    write(bench, "a.json", motion_smoothness=results)
    name_results(bench, "a.json")
    run(bench)
    score = table_of(bench).get("ona", SMOOTH)
    assert (score.n, score.missing, score.n_paired) == (3, 2, 3)
    assert score.difference == pytest.approx(0.1 * list(VARIANTS).index("ona"))
    assert table_of(bench).get("ona", "clipsim").n == 5
    assert told(bench)[1:] == [
        "VBench motion smoothness: 2 of 20 different videos have no result.",
        "VBench: files of its results that are none of the videos compared here: 2.",
    ]


def test_a_renamed_copy_is_known_by_its_bytes(bench: Any) -> None:
    store = bench.workspace().store
    copy = bench.folder / "copies" / "my favourite.mp4"
    copy.parent.mkdir()
    copy.write_bytes(store.read(VIDEO, bench.keys["ona", "p2"]))
    shutil.copy(copy, bench.folder / "again.mp4")
    write(bench, "a.json", motion_smoothness={str(copy): 0.7, "again.mp4": 0.7, "gone.mp4": 0.1})
    name_results(bench, "a.json")
    run(bench)
    assert prompt_scores_of(bench.workspace(), bench.experiment())["ona"][SMOOTH] == {"p2": 0.7}
    assert told(bench)[-1].endswith("compared here: 1.")


def test_files_are_read_together_and_two_results_of_one_video_are_refused(bench: Any) -> None:
    results = results_of(bench)
    first, *_ = results
    write(bench, "a.json", motion_smoothness=results)
    write(bench, "b.json", motion_smoothness={first: results[first]}, dynamic_degree={first: False})
    name_results(bench, "a.json", "b.json")
    run(bench)
    assert table_of(bench).get("baseline", DEGREE).n == 1
    assert table_of(bench).get("baseline", SMOOTH).n == 5
    write(bench, "b.json", motion_smoothness={first: results[first] + 0.25})
    with pytest.raises(UserError, match=r"b\.json, dimension motion_smoothness: .* before it the same"):
        run(bench)


def test_a_changed_results_file_changes_what_it_must_and_nothing_else(bench: Any) -> None:
    name_results(bench)
    plain = run(bench)
    before = table_of(bench)
    results = results_of(bench)
    write(bench, "a.json", motion_smoothness=results)
    name_results(bench, "a.json")
    first = run(bench)
    assert (first.facts["features_computed"], first.computed) == (0, 4)
    assert first.version != plain.version
    assert run(bench).computed == 0
    results[f"reports/e/videos/{bench.keys['ona', 'p1']}.mp4"] = 0.9
    write(bench, "a.json", motion_smoothness=results)
    assert run(bench).computed == 1
    assert [one for one in table_of(bench).scores if one.metric != SMOOTH] == list(before.scores)
    name_results(bench)
    assert run(bench).version == plain.version


def test_its_items_hold_every_prompts_own_number_exactly(bench: Any) -> None:
    value = float(np.nextafter(0.7, 1.0))
    write(bench, "a.json", motion_smoothness=dict.fromkeys(results_of(bench), value))
    name_results(bench, "a.json")
    run(bench)
    kept = bench.workspace().store.read_json(SCORE, table_of(bench).get("ona", SMOOTH).key)["per_prompt"]
    assert set(kept.values()) == {value}


def test_a_dimension_is_a_metric_by_name() -> None:
    metric = metric_named("vbench:subject_consistency")
    assert (metric.title, metric.arrow, metric.per_prompt) == ("VBench subject consistency", "↑", True)


def test_files_that_are_not_there_are_told_with_all_other_mistakes(bench: Any) -> None:
    name_results(bench, "gone.json", "lost.json")
    (bench.folder / "prompts.jsonl").unlink()
    with pytest.raises(UserError) as raised:
        bench.workspace()
    for line in (
        "experiments.e.evaluation.vbench.0: 'gone.json' does not exist",
        "experiments.e.evaluation.vbench.1: 'lost.json' does not exist",
        "experiments.e.prompts: 'prompts.jsonl' does not exist",
    ):
        assert line in str(raised.value)
