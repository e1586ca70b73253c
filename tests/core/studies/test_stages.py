"""Every study on a small project: its files, its rows, what is reused, what is resumed, what is refused."""

import csv
import json
import math
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from onaspr_core import generation
from onaspr_core.compute import Outcome
from onaspr_core.errors import UserError
from onaspr_core.evaluation.scores import scores_of
from onaspr_core.generation import video_items
from onaspr_core.pool.manifest import pool_pairs
from onaspr_core.retrieval.neighbours import neighbours_of, noise_neighbours_of
from onaspr_core.rewriting.stage import rewrites_of
from onaspr_core.stored_kinds import INVERTED_LATENT, VIDEO
from onaspr_core.studies.files import place, study_views
from onaspr_core.studies.plans import ALL, OF_ONE, SWEEPS, Row
from onaspr_core.studies.stages import variant_table
from onaspr_core.studies.timings import STAGES
from onaspr_core.workspace import Workspace
from tests.core.studies.conftest import EVERY, edit, open_in, swept
from tests.small_project import PROMPTS

Studied = tuple[Path, dict[str, Outcome]]
LABELS = {
    "table_1": ["baseline", "ona", "spr", "ona_spr"],
    "table_2a": ["N = 2", "N = 6"],
    "table_2b": ["γ = 0", "γ = 0.5"],
    "table_2c": ["k = 0", "k = 2"],
    "table_2d": ["ChatGPT", "90 % | <b>_$"],
    "table_3": ["baseline", "ona", "spr", "ona_spr"],
    "figure_4": ["η = 0", "η = 0.5", "η = ∞"],
}
METRICS = {"fid", "clip_fid", "clipsim", "fvd", "is"}


def numbers(folder: Path, name: str) -> dict[tuple[str, str], dict[str, str]]:
    """The rows of a study's CSV by label and metric."""
    file = folder / "store/reports" / f"{place(name, 'one' if name in OF_ONE else '')}.csv"
    with file.open(newline="") as lines:
        return {(row["row"], row["metric"]): row for row in csv.DictReader(lines)}


def rows_of(folder: Path, name: str) -> tuple[Workspace, dict[str, Row]]:
    """A sweep's rows by label."""
    workspace = open_in(folder)
    rows = SWEEPS[name].rows(workspace.settings, workspace.settings.experiment("one"), 6)
    return workspace, {row.label: row for row in rows}


def keys_of(folder: Path, name: str, label: str) -> list[str]:
    workspace, rows = rows_of(folder, name)
    return [one.key for one in video_items(workspace, rows[label].made.experiment, rows[label].made.variant)]


@pytest.mark.parametrize("name", ALL)
def test_every_study_comes_out_with_all_its_files(studied: Studied, name: str) -> None:
    folder, outcomes = studied
    assert outcomes[name].failures == ()
    stem = folder / "store/reports" / place(name, "one" if name in OF_ONE else "")
    starts = {"csv": None, "md": b"## ", "tex": b"% needs", "json": b"{", "png": b"\x89PNG", "svg": b"<?xml"}
    for form, start in starts.items():
        data = stem.with_name(f"{stem.name}.{form}").read_bytes()
        assert data.startswith(start) if start else data.count(b"\n") > 1
    preview = outcomes[name].preview
    assert preview is not None
    assert preview.png == stem.with_name(f"{stem.name}.png").read_bytes()
    assert preview.markdown.startswith("## ")


@pytest.mark.parametrize("name", ALL)
def test_a_second_call_computes_nothing_and_loads_no_model(studied: Studied, name: str) -> None:
    folder, outcomes = studied
    workspace = open_in(folder)
    again = EVERY[name](workspace)
    assert (again.computed, again.models, workspace.models.loaded) == (0, (), ())
    assert (again.version, again.total) == (outcomes[name].version, outcomes[name].total)


@pytest.mark.parametrize("name", LABELS)
def test_rows_are_those_of_the_plan_under_every_metric(studied: Studied, name: str) -> None:
    found = numbers(studied[0], name)
    metrics = METRICS - {"fvd"} if name == "table_3" else METRICS
    assert list(dict.fromkeys(row for row, _ in found)) == LABELS[name]
    assert {metric for _, metric in found} == metrics
    assert len(found) == len(LABELS[name]) * len(metrics)
    assert {(row["n"], row["missing"]) for row in found.values()} == {("3", "0")}


def test_the_pictures_of_a_study_are_found_from_its_markdown(studied: Studied) -> None:
    folder = studied[0] / "store/reports/studies"
    found = 0
    for file in folder.rglob("*.md"):
        for link in file.read_text().split("](")[1:]:
            assert (file.parent / link.split(")")[0]).is_file(), (file, link)
            found += 1
    assert found >= 4


@pytest.mark.parametrize("name", ALL)
def test_latex_needs_no_letter_that_it_does_not_know(studied: Studied, name: str) -> None:
    stem = place(name, "one" if name in OF_ONE else "")
    text = (studied[0] / "store/reports" / f"{stem}.tex").read_text(encoding="utf-8")
    assert {letter for letter in text if ord(letter) > 255} == set()


def test_pure_random_noise_and_no_rewritten_step_are_the_baseline_bit_for_bit(studied: Studied) -> None:
    table: Any = scores_of(open_in(studied[0]), open_in(studied[0]).settings.experiment("one"))
    for name, label in (("figure_4", "η = 0"), ("table_2b", "γ = 0")):
        found = numbers(studied[0], name)
        for metric in METRICS:
            assert float(found[label, metric]["value"]) == table.get("baseline", metric).value
    assert numbers(studied[0], "figure_4")["η = ∞", "fid"]["value"] != found["γ = 0", "fid"]["value"]


@pytest.mark.parametrize(
    ("name", "label", "variant"),
    [("figure_4", "η = 0.5", "ona"), ("table_2b", "γ = 0.5", "spr"), ("table_2d", "ChatGPT", "ona_spr")],
)
def test_the_row_that_the_experiment_is_itself_reuses_its_videos(
    made: Path, name: str, label: str, variant: str
) -> None:
    workspace, rows = rows_of(made, name)
    items = video_items(workspace, workspace.settings.experiment("one"), variant)
    assert keys_of(made, name, label) == [item.key for item in items]
    before = set(workspace.store.keys(VIDEO))
    swept(name)(workspace)
    new = set(workspace.store.keys(VIDEO)) - before
    others = {key for other in rows if other != label for key in keys_of(made, name, other)}
    assert new == others - before
    assert not new & {item.key for item in items}


def test_another_eta_of_the_experiment_leaves_figure_4_as_it_is(made: Path) -> None:
    first = swept("figure_4")(open_in(made))
    text = (made / "settings.toml").read_text()
    (made / "settings.toml").write_text(text.replace("eta = 0.5", "eta = 0.7", 1))
    second = swept("figure_4")(open_in(made))
    assert open_in(made).settings.experiment("one").eta == 0.7
    assert (second.version, second.computed) == (first.version, 0)


def test_no_reference_rewrites_without_examples_and_more_with_as_many(studied: Studied) -> None:
    workspace, rows = rows_of(studied[0], "table_2c")
    none = rewrites_of(workspace, rows["k = 0"].made.experiment)
    assert {rewrite.references for rewrite in none.values()} == {()}
    assert none[next(iter(none))].text == "A red cat sleeps near stand-in."
    two = rewrites_of(workspace, rows["k = 2"].made.experiment)
    assert {len(rewrite.references) for rewrite in two.values()} == {2}
    for label in rows:
        items = video_items(workspace, rows[label].made.experiment, "spr")
        assert {item.rewritten_steps for item in items} == {4}, "rewriting alone"


def test_a_part_of_the_pool_lends_neighbours_of_small_rank_alone(studied: Studied, made: Path) -> None:
    workspace, rows = rows_of(studied[0], "table_2a")
    ranks = sorted(
        {
            one.rank_in_pool
            for found in neighbours_of(workspace, rows["N = 6"].made.experiment).values()
            for one in found
        }
    )
    part = neighbours_of(workspace, rows["N = 2"].made.experiment)
    assert len({one.clip_key for found in part.values() for one in found}) == 2
    assert max(one.rank_in_pool for found in part.values() for one in found) < max(ranks)
    own = neighbours_of(open_in(made), open_in(made).settings.experiment("one"))
    assert neighbours_of(workspace, workspace.settings.experiment("one")) == own, "a study leaves them alone"
    assert neighbours_of(workspace, rows["N = 6"].made.experiment) == own


@pytest.mark.parametrize("name", SWEEPS)
def test_a_sweep_needs_no_experiment_and_leaves_its_scores_alone(
    project: Path, studied: Studied, name: str
) -> None:
    outcome = swept(name)(open_in(project))
    assert outcome.failures == ()
    assert outcome.version == studied[1][name].version
    assert scores_of(open_in(project), open_in(project).settings.experiment("one")).scores == ()


def inverted(workspace: Workspace) -> set[str]:
    """The clips whose noise is stored."""
    keys = workspace.store.keys(INVERTED_LATENT)
    return {workspace.store.record(INVERTED_LATENT, key)["clip_key"] for key in keys}


@pytest.mark.parametrize("name", ["figure_4", "table_2a"])
def test_a_sweep_whose_settings_invert_the_whole_pool_comes_out_the_same(
    project: Path, studied: Studied, name: str
) -> None:
    edit(project, "[experiments.one]", '[experiments.one]\ninversion.scope = "pool"')
    outcome = swept(name)(open_in(project))
    assert (outcome.failures, outcome.version) == ((), studied[1][name].version)
    workspace = open_in(project)
    pool = {pair.clip_key for pair in pool_pairs(workspace, "clips")}
    borrowed = noise_neighbours_of(workspace, workspace.settings.experiment("one")).values()
    assert inverted(workspace) == pool > {one.clip_key for own in borrowed for one in own}
    again = swept(name)(workspace)
    assert (again.computed, again.models, again.version) == (0, (), outcome.version)


def test_a_row_of_a_smaller_pool_inverts_that_pool_alone(project: Path) -> None:
    edit(project, "[experiments.one]", '[experiments.one]\ninversion.scope = "pool"')
    edit(project, "pool_sizes = [2, 6, 60]", "pool_sizes = [2]")
    assert not swept("table_2a")(open_in(project)).failures
    workspace = open_in(project)
    assert inverted(workspace) == {pair.clip_key for pair in pool_pairs(workspace, "clips")[:2]}


def test_a_sweep_that_is_killed_half_way_resumes(
    project: Path, studied: Studied, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, made = generation._make_batch, 0

    def broken(*words: Any) -> Any:
        nonlocal made
        if made == 4:
            raise KeyboardInterrupt
        made += 1
        return list(make(*words))

    with monkeypatch.context() as killed:
        killed.setattr(generation, "_make_batch", broken)
        with pytest.raises(KeyboardInterrupt):
            swept("figure_4")(open_in(project))
    kept = set(open_in(project).store.keys(VIDEO))
    assert len(kept) == 4
    written = {key: open_in(project).store.record(VIDEO, key) for key in kept}
    outcome = swept("figure_4")(open_in(project))
    assert outcome.version == studied[1]["figure_4"].version
    assert len(set(open_in(project).store.keys(VIDEO))) == 3 * len(PROMPTS)
    assert {key: open_in(project).store.record(VIDEO, key) for key in kept} == written


def test_a_video_that_cannot_be_made_shows_in_n_and_notes(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = generation._initial_noise

    def failing(workspace: Workspace, e: Any, backbone: Any, item: Any) -> Any:
        if math.isinf(item.eta) and item.prompt.text == PROMPTS[0]:
            raise UserError("its noise is gone")
        return noise(workspace, e, backbone, item)

    monkeypatch.setattr(generation, "_initial_noise", failing)
    outcome = swept("figure_4")(open_in(made))
    assert "its noise is gone" in {failure.reason for failure in outcome.failures}
    assert any(failure.item.startswith("η = ∞ ") for failure in outcome.failures)
    found = numbers(made, "figure_4")
    for metric in METRICS:
        assert (found["η = ∞", metric]["n"], found["η = ∞", metric]["missing"]) == ("2", "1")
        assert (found["η = 0", metric]["n"], found["η = 0", metric]["missing"]) == ("3", "0")
    view = json.loads((made / "store/reports/studies/one/figure_4.json").read_text())
    assert "1 of 9 videos are missing." in view["notes"]


def test_studies_are_shown_in_the_papers_order_and_a_damaged_one_is_not(studied: Studied, made: Path) -> None:
    assert [view.name for view in study_views(open_in(studied[0]))] == list(ALL)
    assert study_views(open_in(made)) == []
    swept("table_2b")(open_in(made))
    assert [view.name for view in study_views(open_in(made))] == ["table_2b"]
    (made / "store/reports/studies/one/table_2b.json").write_text('{"name": "table_2b"}')
    assert study_views(open_in(made)) == []


@pytest.mark.parametrize(
    ("old", "new", "name", "told"),
    [
        ("pool_sizes = [2, 6, 60]", "pool_sizes = [7, 60]", "table_2a", "none is within the 6 captioned"),
        ('experiments = ["one", "images"]', 'experiments = ["one"]', "table_3", "none that makes images"),
        ('experiments = ["one", "images"]', "experiments = []", "table_1", "none that makes videos"),
        ('experiments = ["one", "images"]', 'experiments = ["images"]', "figure_3", "none that makes videos"),
    ],
)
def test_a_study_that_has_nothing_to_compare_says_so(
    project: Path, old: str, new: str, name: str, told: str
) -> None:
    edit(project, old, new)
    outcome = EVERY[name](open_in(project))
    assert outcome.total == 0 and told in outcome.facts["left_out"]


def test_a_study_without_rewriters_or_pool_says_what_to_do(project: Path) -> None:
    text = (project / "settings.toml").read_text()
    start, end = text.index("[studies.rewriters]"), text.index("[experiments.images]")
    (project / "settings.toml").write_text(text[:start] + text[end:])
    assert "studies.rewriters: none is set" in swept("table_2d")(open_in(project)).facts["left_out"]
    edit(project, 'root = "store"', 'root = "empty"')
    for name in ("table_2b", "table_4"):
        with pytest.raises(UserError, match="materialize"):
            EVERY[name](open_in(project))


def test_a_table_of_experiments_groups_them_and_takes_the_missing_ones_along(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (made / "settings.toml").read_text()
    second = text[text.index("[experiments.one]") : text.index("[backbones.of-images]")]
    second = second.replace("experiments.one", "experiments.two").replace("eta = 0.5", "eta = 2.0")
    (made / "settings.toml").write_text(text.replace('["one", "images"]', '["one", "two"]') + second)
    workspace = open_in(made)
    before = set(workspace.store.keys(VIDEO))
    variant_table(workspace, "table_1")
    assert len(set(workspace.store.keys(VIDEO)) - before) == 2 * len(PROMPTS), "those of another eta"
    view = json.loads((made / "store/reports/studies/table_1.json").read_text())
    groups = [row["group"] for row in view["rows"]]
    beside = ": backbone tiny, beside the paper's ModelScope"
    assert groups[:8] == [f"one{beside}"] * 4 + [f"two{beside}"] * 4
    assert set(groups[8:]) == {"in the paper alone"}


def test_times_are_positive_and_what_could_not_be_timed_is_said_and_tried_again(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from onaspr_core.rewriting import client

    def down(_: object) -> Any:
        raise UserError("no endpoint")

    time_stages = partial(EVERY["table_4"])
    with monkeypatch.context() as patch:
        patch.setattr(client, "open_language_model", down)
        outcome = time_stages(open_in(made))
    assert [(one.item, one.reason) for one in outcome.failures] == [("rewriting", "no endpoint")]
    view = json.loads((made / "store/reports/studies/one/table_4.json").read_text())
    assert "Not measured: Rewriting." in view["notes"]
    assert len(view["rows"]) == len(STAGES) - 1
    outcome = time_stages(open_in(made))
    assert (outcome.failures, outcome.reused) == ((), len(STAGES) - 1)
    lines = (made / "store/reports/studies/one/table_4.csv").read_text().splitlines()
    found = {row["stage"]: row for row in csv.DictReader(lines)}
    assert list(found) == list(STAGES)
    assert all(float(row["cold_ms"]) > 0 and float(row["warm_ms"]) > 0 for row in found.values())
    papers = {stage: row["paper_ms"] for stage, row in found.items()}
    assert (papers["denoising"], papers["latent_read"]) == ("8,481", "")


def test_times_are_of_one_machine_and_one_device(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from onaspr_core.studies import timings

    workspace = open_in(made)
    e = workspace.settings.experiment("one")
    key = timings.stage_key(workspace, e, "denoising")
    monkeypatch.setattr(timings, "machine", lambda: "another")
    assert timings.stage_key(workspace, e, "denoising") != key
    monkeypatch.undo()
    assert timings.stage_key(open_in(made), e, "denoising") == key
    text = (made / "settings.toml").read_text()
    (made / "settings.toml").write_text(text.replace('device = "cpu"', 'device = "auto"', 1))
    assert timings.stage_key(open_in(made), e, "denoising") != key
