"""The world on disk: WebVid's layout, the same from the same seed, finished after an interruption."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from onaspr_core.errors import UserError
from onaspr_core.media.video import read_frames
from onaspr_core.miniature import world as miniature_world
from onaspr_core.miniature.attributes import Scene, held_out_combinations
from onaspr_core.miniature.world import benchmark_sources, main, pool_sources, render_world
from tests.core.miniature.looking import look


@pytest.fixture(scope="module", autouse=True)
def fewer_prompts() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(miniature_world, "PROMPTS_PER_COMBINATION", 1)
        yield


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, fewer_prompts: None) -> Path:
    return render_world(tmp_path_factory.mktemp("world"), pool_size=20, seed=3)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_tables_have_webvids_columns_and_name_files_that_exist(world: Path) -> None:
    for table, count in (("pool.csv", 20), ("benchmark.csv", 40)):
        found = rows(world / table)
        assert len(found) == count
        for row in found:
            assert list(row) == ["videoid", "contentUrl", "duration", "page_dir", "name"]
            assert (world / "videos" / row["page_dir"] / f"{row['videoid']}.mp4").is_file()


def test_prompts_are_the_benchmarks_captions_of_held_out_combinations(world: Path) -> None:
    prompts = [json.loads(line) for line in (world / "prompts.jsonl").read_text().splitlines()]
    benchmark = rows(world / "benchmark.csv")
    assert [(p["id"], p["prompt"]) for p in prompts] == [(r["videoid"], r["name"]) for r in benchmark]
    held_out = set(held_out_combinations())
    assert {(p["colour"], p["shape"], p["motion"], p["background"]) for p in prompts} == held_out


def test_the_pool_shows_no_held_out_combination() -> None:
    assert not {source.scene.combination for source in pool_sources(3000)} & set(held_out_combinations())


def test_sources_show_what_their_scene_says_after_the_clip_is_cut(world: Path) -> None:
    for source in benchmark_sources(3)[:6]:
        frames = read_frames(str(world / "videos" / source.page_dir / f"{source.id}.mp4"))
        assert frames.shape == (64, 32, 48, 3)
        seen = look(frames[::8, :, 8:40])
        assert (seen.colour, seen.motion, seen.background) == _visible(source.scene)


def test_the_same_seed_gives_the_same_files_and_a_larger_pool_only_more(world: Path, tmp_path: Path) -> None:
    render_world(tmp_path, pool_size=24, seed=3, processes=1)
    assert (tmp_path / "pool.csv").read_bytes().startswith((world / "pool.csv").read_bytes())
    assert (tmp_path / "prompts.jsonl").read_bytes() == (world / "prompts.jsonl").read_bytes()
    for first in sorted((world / "videos").rglob("*.mp4"))[::8]:
        again = read_frames(str(tmp_path / first.relative_to(world))).astype(float)
        # x264 is not deterministic to the last bit on every machine; the picture is.
        assert np.abs(again - read_frames(str(first))).mean() < 0.5
    assert pool_sources(5, seed=3) != pool_sources(5, seed=4)


def test_a_finished_world_is_left_alone_and_a_missing_file_is_made_again(world: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in world.rglob("*.*")}
    render_world(world, pool_size=20, seed=3)
    assert {p: p.stat().st_mtime_ns for p in world.rglob("*.*")} == before
    victim = world / "videos" / "pool0000" / "0000007.mp4"
    victim.unlink()
    render_world(world, pool_size=20, seed=3, processes=1)
    assert read_frames(str(victim)).shape == (64, 32, 48, 3)
    assert {p: p.stat().st_mtime_ns for p in world.rglob("*.*") if p != victim} == {
        p: t for p, t in before.items() if p != victim
    }


def test_impossible_requests_are_told_in_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UserError, match="at least 1"):
        render_world(tmp_path, pool_size=0)
    (tmp_path / "file").write_text("in the way")
    assert main([str(tmp_path / "file"), "--pool-size", "1"]) == 1
    assert "cannot be written" in capsys.readouterr().err


def _visible(scene: Scene) -> tuple[str, str, str]:
    return scene.colour, scene.motion, scene.background
