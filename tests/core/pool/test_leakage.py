"""Pool items that a benchmark has too: found, told, and left out where the settings say so."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onaspr_core.checks.pool import no_benchmark_is_borrowed_from
from onaspr_core.errors import UserError
from onaspr_core.pool import leakage
from onaspr_core.pool.clips import make_clips
from onaspr_core.pool.leakage import (
    BenchmarkItem,
    Leak,
    benchmark_items,
    near_captions,
    near_pairs,
    note_near_captions,
    noted_leaks,
)
from onaspr_core.pool.manifest import build_manifest, listed_pairs
from onaspr_core.settings import (
    BenchmarkSettings,
    CheckSettings,
    EvaluationSettings,
    Experiment,
    FeatureSettings,
)
from onaspr_core.workspace import Workspace
from tests.published import msr_vtt, write_json

Write = Callable[..., Path]
Open = Callable[..., Workspace]

CAPTIONS = {"a.mp4": "A dog  RUNS", "b.mp4": "a cat sits", "c.mp4": "a bird"}


@pytest.fixture
def open_world(
    open_pools: Callable[..., Workspace], write_video: Write, tmp_path: Path
) -> Callable[..., Workspace]:
    """A pool of three, and a benchmark with the caption of one and the video of another."""
    for seed, name in enumerate(CAPTIONS):
        write_video(name, seed=seed)
    (tmp_path / "videos/test").mkdir()
    (tmp_path / "videos/test/1.mp4").write_bytes(write_video("other.mp4", seed=7).read_bytes())
    (tmp_path / "videos/test/2.mp4").write_bytes((tmp_path / "videos/b.mp4").read_bytes())
    (tmp_path / "benchmark.csv").write_text(
        "videoid,contentUrl,duration,page_dir,name\n"
        "1,,,test,a dog runs\n2,,,test,not a word\n3,,,test,nowhere\n"
    )

    def open_(pool: str = "small", **told: Any) -> Workspace:
        workspace = open_pools(CAPTIONS, told=told)
        features = FeatureSettings(label="x", image_classifier="x", image_text="x", video_classifier="x")
        benchmark = BenchmarkSettings(path="benchmark.csv", videos="videos")
        experiment = Experiment(
            name="e",
            pool=pool,
            backbone="b",
            prompts="p",
            eta=0.5,
            gamma=0.2,
            evaluation=EvaluationSettings(features=features, benchmark=benchmark),
        )
        settings = workspace.settings.model_copy(update={"experiments": {"e": experiment}})
        return Workspace(settings)

    return open_


def test_equal_captions_and_videos_are_told_and_kept(open_world: Open) -> None:
    workspace = open_world()
    outcome = build_manifest(workspace)
    assert (outcome.computed, outcome.failures) == (3, ())
    assert (outcome.facts["benchmark_captions"], outcome.facts["benchmark_videos"]) == (1, 1)
    assert noted_leaks(workspace) == [
        Leak("small", "a.mp4", "caption", "benchmark.csv", "1"),
        Leak("small", "b.mp4", "video", "benchmark.csv", "2"),
    ]


def test_where_the_settings_refuse_them_they_are_out_with_the_reason(
    open_world: Open,
) -> None:
    workspace = open_world(benchmark_items="refuse")
    outcome = build_manifest(workspace)
    assert {failure.item: failure.reason for failure in outcome.failures} == {
        "small/a.mp4": "item 1 of the benchmark benchmark.csv has its caption or video",
        "small/b.mp4": "item 2 of the benchmark benchmark.csv has its caption or video",
    }
    assert [pair.id for pair in listed_pairs(workspace, "small") if pair.clip_key] == ["c.mp4"]


def test_the_check_names_the_pairs_that_prompts_may_borrow_from(open_world: Open) -> None:
    workspace = open_world()
    build_manifest(workspace)
    make_clips(workspace)
    found = no_benchmark_is_borrowed_from(workspace)
    assert not found.passed and 'set its benchmark_items = "refuse"' in found.summary
    assert found.facts["leaks_by_kind"] == {"caption": 1, "video": 1}
    assert found.facts["leaked_share_by_pool"] == {"small": 2 / 3}
    assert found.rows == [
        ("small/a.mp4", "caption", "benchmark.csv/1"),
        ("small/b.mp4", "video", "benchmark.csv/2"),
    ]
    item = BenchmarkItem("benchmark.csv", "3", "a birdie", None)
    vectors = np.eye(2, dtype=np.float32)
    note_near_captions(workspace, "small", [(["a bird", "a cat sits"], vectors)], [item], vectors[:1])
    assert no_benchmark_is_borrowed_from(workspace).facts["leaks_by_kind"]["near caption"] == 1
    patient = workspace.settings.model_copy(update={"checks": CheckSettings(leaked_share=1.0)})
    assert no_benchmark_is_borrowed_from(Workspace(patient)).passed


def test_the_check_passes_where_no_such_pair_can_be_borrowed_from(open_world: Open) -> None:
    for workspace in (open_world(pool="elsewhere"), open_world(benchmark_items="refuse")):
        build_manifest(workspace)
        make_clips(workspace)
        assert no_benchmark_is_borrowed_from(workspace).passed


def test_a_benchmark_of_another_pools_experiments_does_not_count(
    open_world: Open,
) -> None:
    workspace = open_world(pool="elsewhere")
    assert build_manifest(workspace).facts["benchmark_captions"] == 0
    assert noted_leaks(workspace) == []


def test_benchmarks_of_one_list_with_other_videos_are_two(open_world: Open, tmp_path: Path) -> None:
    (tmp_path / "others/test").mkdir(parents=True)
    (tmp_path / "others/test/3.mp4").write_bytes((tmp_path / "videos/c.mp4").read_bytes())
    settings = open_world().settings
    one = settings.experiments["e"]
    elsewhere = BenchmarkSettings(path="benchmark.csv", videos="others")
    evaluation = one.evaluation.model_copy(update={"benchmark": elsewhere})
    two = one.model_copy(update={"name": "f", "evaluation": evaluation})
    workspace = Workspace(settings.model_copy(update={"experiments": {"e": one, "f": two}}))
    assert build_manifest(workspace).facts["benchmark_videos"] == 2


def test_a_published_benchmark_is_compared_with_by_the_caption_that_it_was_given(
    open_world: Open, tmp_path: Path
) -> None:
    settings = open_world().settings
    listed = msr_vtt(7010, 2, captions=1)
    listed["sentences"] = [
        {"caption": "A cat  sits", "video_id": "video7010", "sen_id": 0},
        {"caption": "nothing like it", "video_id": "video7011", "sen_id": 1},
    ]
    write_json(tmp_path / "test_videodatainfo.json", listed)
    (tmp_path / "TestVideo").mkdir()
    (tmp_path / "TestVideo/video7011.mp4").write_bytes((tmp_path / "videos/c.mp4").read_bytes())
    benchmark = BenchmarkSettings(format="msr-vtt", path="test_videodatainfo.json", videos="TestVideo")
    e = settings.experiments["e"]
    evaluation = e.evaluation.model_copy(update={"benchmark": benchmark})
    e = e.model_copy(update={"evaluation": evaluation})
    workspace = Workspace(settings.model_copy(update={"experiments": {"e": e}}))
    build_manifest(workspace)
    assert {(leak.pair_id, leak.kind, leak.item) for leak in noted_leaks(workspace)} == {
        ("b.mp4", "caption", "video7010"),
        ("c.mp4", "video", "video7011"),
    }


def test_a_benchmark_that_cannot_be_read_is_told_and_stops_only_a_pool_that_refuses_its_items(
    open_world: Open, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "benchmark.csv").unlink()
    assert build_manifest(open_world()).computed == 3
    assert "the pool small is not compared with a benchmark" in caplog.text
    with pytest.raises(UserError, match=r"benchmark\.csv"):
        build_manifest(open_world(benchmark_items="refuse"))


@pytest.mark.parametrize("at_once", [1, 3, 4096])
def test_captions_that_mean_the_same_are_found_from_a_cosine_on(
    monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(leakage, "ITEMS_AT_ONCE", at_once)
    draw = np.random.default_rng(0)
    theirs = draw.standard_normal((4, 16)).astype(np.float32)
    theirs /= np.linalg.norm(theirs, axis=1, keepdims=True)
    aside = draw.standard_normal(16).astype(np.float32)
    aside -= (aside @ theirs[2]) * theirs[2]
    aside /= np.linalg.norm(aside)

    blocks = [
        (["far", "near"], np.stack([c * theirs[2] + np.sqrt(1 - c**2) * aside for c in (0.979, 0.981)])),
        (["same"], theirs[1:2]),
    ]
    found = list(near_captions(blocks, theirs))
    assert [(id_, row) for id_, row, _ in found] == [("near", 2), ("same", 1)]
    assert [round(cosine, 3) for _, _, cosine in found] == [0.981, 1.0]


def test_a_near_caption_is_told_with_its_pairs_and_goes_with_its_item(open_world: Open) -> None:
    workspace = open_world()
    build_manifest(workspace)
    items = [BenchmarkItem("benchmark.csv", "1", "x", None), BenchmarkItem("benchmark.csv", "2", "y", None)]
    basis = np.eye(4, dtype=np.float32)
    blocks = [(["a cat sits", "a bird"], basis[[0, 3]])]
    assert note_near_captions(workspace, "small", blocks, items, basis[:2])
    assert not note_near_captions(workspace, "small", blocks, items, basis[:2])
    leak = Leak("small", "b.mp4", "near caption", "benchmark.csv", "1", 1.0)
    assert near_pairs(workspace) == [leak]
    build_manifest(workspace)
    assert near_pairs(workspace) == [leak], "the manifest leaves them alone"
    assert not note_near_captions(workspace, "small", [(["a bird"], basis[3:])], items, basis[:2])
    assert near_pairs(workspace) == [leak], "one that is refused is not among those that are looked at"
    assert note_near_captions(workspace, "small", [(["a bird"], basis[3:])], items[1:], basis[1:2])
    assert near_pairs(workspace) == []


def test_a_near_caption_whose_nearest_item_is_another_is_told_with_that(open_world: Open) -> None:
    workspace = open_world()
    build_manifest(workspace)
    items = [BenchmarkItem("benchmark.csv", "1", "x", None), BenchmarkItem("benchmark.csv", "2", "y", None)]
    basis = np.eye(4, dtype=np.float32)
    blocks = [(["a cat sits"], basis[:1])]
    assert note_near_captions(workspace, "small", blocks, items, basis[:2])
    assert not note_near_captions(workspace, "small", blocks, items, basis[1::-1]), "none came, none went"
    assert near_pairs(workspace) == [Leak("small", "b.mp4", "near caption", "benchmark.csv", "2", 1.0)]


def test_items_of_a_benchmark_have_the_hash_of_their_video_where_there_is_one(
    open_world: Open,
) -> None:
    items = benchmark_items(open_world(), "small")
    assert [(item.id, item.caption, item.sha256 is None) for item in items] == [
        ("1", "a dog runs", False),
        ("2", "not a word", False),
        ("3", "nowhere", True),
    ]
