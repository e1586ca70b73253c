"""A change to eta, gamma or the pool recomputes exactly what depends on it: the contract, row by row."""

from collections.abc import Callable

import dagster as dg
import pytest
from dagster._core.definitions.declarative_automation.automation_condition_evaluator import (
    AutomationConditionEvaluator,
)

from onaspr_assets import build
from onaspr_core import code_versions, generation
from tests.assets.automation.platform import Platform, Ran, assets, computed
from tests.small_project import UNUSED, write_video

EVERYTHING = 18
AFTER_VIDEOS = ["figures", "gallery", "report", "scores", "tables"]
NEXT_TO_PROMPTS = ["inverted_latents", "neighbours", "rewritten_prompts"]
VIDEOS = ["baseline_videos", "ona_spr_videos", "ona_videos", "spr_videos"]


def test_everything_is_made_once_and_then_nothing(first: list[Ran], settled: Platform) -> None:
    assert len(assets(first)) == len(set(assets(first))) == EVERYTHING
    assert settled.settle() == []


@pytest.mark.parametrize(
    "save",
    [
        lambda text: text,
        lambda text: text.replace("eta = 0.5", "eta = 0.50  # the share of inverted noise"),
        lambda text: text.replace("eta = 0.5\ngamma = 0.5", "gamma = 0.5\neta = 0.5"),
        lambda text: text.replace("guidance_scale = 2.0 }", "guidance_scale = 2.0, batch_size = 2 }"),
    ],
    ids=["saved again", "0.50 and a comment", "keys reordered", "batch size"],
)
def test_equal_values_make_nothing(settled: Platform, save: Callable[[str], str]) -> None:
    settled.save(save(settled.settings))
    assert settled.look() == 0
    assert settled.settle() == []


def test_eta_makes_the_videos_of_two_variants_and_going_back_finds_them_again(settled: Platform) -> None:
    settled.edit("eta = 0.5", "eta = 0.7")
    ran = settled.settle()
    assert assets(ran) == sorted(["ona_videos", "ona_spr_videos", *AFTER_VIDEOS])
    assert {name: count for name, count in computed(ran).items() if "videos" in name} == {
        "ona_videos": 3,
        "ona_spr_videos": 3,
    }
    settled.edit("eta = 0.7", "eta = 0.5")
    back = settled.settle()
    assert assets(back) == assets(ran)
    assert not {name for name in computed(back) if "videos" in name or name == "scores"}


def test_gamma_makes_the_videos_of_two_variants(settled: Platform) -> None:
    settled.edit("gamma = 0.5", "gamma = 1.0")
    ran = settled.settle()
    assert assets(ran) == sorted(["spr_videos", "ona_spr_videos", *AFTER_VIDEOS])
    assert {name: count for name, count in computed(ran).items() if "videos" in name} == {
        "spr_videos": 3,
        "ona_spr_videos": 3,
    }


def test_a_gamma_of_as_many_steps_computes_nothing(settled: Platform) -> None:
    settled.edit("gamma = 0.5", "gamma = 0.6")
    ran = settled.settle()
    assert assets(ran) == ["ona_spr_videos", "spr_videos"], "equal versions move nothing"
    assert computed(ran) == {}


def test_a_new_caption_of_a_used_clip_makes_what_it_touches(settled: Platform) -> None:
    settled.write_captions(dog="a pair of dogs run and bark")
    ran = settled.settle()
    assert "baseline_videos" not in assets(ran)
    assert len(assets(ran)) == len(set(assets(ran)))
    made = computed(ran)
    assert made["caption_embeddings"] == 1
    assert "pool_clips" not in made
    assert made.get("inverted_latents", 0) == 0, "the clip is the same, and so is its noise"
    assert 1 <= made["rewritten_prompts"] < 3
    assert made["spr_videos"] == made["rewritten_prompts"]


def test_clips_that_no_prompt_uses_stop_at_the_neighbours(settled: Platform) -> None:
    shared = ["caption_embeddings", "neighbours", "pool_clips", "pool_manifest"]
    settled.write_captions(**{UNUSED: None})
    assert assets(settled.settle()) == shared
    write_video(settled.folder / "videos" / "bus.mp4", 9)
    settled.write_captions(bus="empty buses wait under heavy fog")
    ran = settled.settle()
    assert assets(ran) == shared
    assert {name: count for name, count in computed(ran).items() if name != "neighbours"} == {
        "pool_manifest": 1,
        "pool_clips": 1,
        "caption_embeddings": 1,
    }


def test_a_new_prompt_is_one_of_everything(settled: Platform) -> None:
    with (settled.folder / "prompts.txt").open("a") as file:
        file.write("old cars drive\n")
    ran = settled.settle()
    assert sorted({"prompts", *NEXT_TO_PROMPTS, *VIDEOS, *AFTER_VIDEOS}) == assets(ran)
    made = computed(ran)
    for name in ("prompts", *NEXT_TO_PROMPTS, *VIDEOS):
        assert made[name] == 1, name


def test_other_references_or_another_rewriter_make_rewrites_and_what_uses_them(settled: Platform) -> None:
    after = sorted(["rewritten_prompts", "spr_videos", "ona_spr_videos", *AFTER_VIDEOS])
    for old, new in (("references.k = 2", "references.k = 1"), ('"stand-in"', '"stand-in-2"')):
        settled.edit(old, new)
        ran = settled.settle()
        assert computed(ran)["rewritten_prompts"] == 3
        assert set(assets(ran)) <= {*after, "neighbours"}
        assert computed(ran).get("inverted_latents", 0) == computed(ran).get("ona_videos", 0) == 0


def test_steps_make_inversions_and_every_variant(settled: Platform) -> None:
    settled.edit("steps = 4", "steps = 5")
    ran = settled.settle()
    assert assets(ran) == sorted(["inverted_latents", *VIDEOS, *AFTER_VIDEOS])
    assert {name: computed(ran)[name] for name in ("inverted_latents", *VIDEOS)} == dict.fromkeys(
        ("inverted_latents", *VIDEOS), 3
    )


def test_guidance_makes_every_variant_and_no_inversion(settled: Platform) -> None:
    settled.edit("guidance_scale = 2.0", "guidance_scale = 3.0")
    assert assets(settled.settle()) == sorted([*VIDEOS, *AFTER_VIDEOS])


def test_other_code_makes_its_items_and_what_is_made_from_them(
    settled: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A code version is read when the process starts; here one is raised as a new process would see it.
    monkeypatch.setattr(code_versions, "VIDEO", code_versions.VIDEO + 1)
    raised = str(code_versions.VIDEO)

    def as_coded(spec: dg.AssetSpec) -> dg.AssetSpec:
        return spec.replace_attributes(code_version=raised) if spec.key.path[-1] in VIDEOS else spec

    monkeypatch.setattr(build, "ASSETS", list(dg.map_asset_specs(as_coded, build.ASSETS)))
    settled.defs = build.build_defs(settled.folder / "settings.toml")
    ran = settled.settle()
    assert assets(ran) == sorted([*VIDEOS, *AFTER_VIDEOS])
    assert {name: computed(ran)[name] for name in VIDEOS} == dict.fromkeys(VIDEOS, 3)
    event = settled.instance.get_latest_materialization_event(dg.AssetKey("ona_videos"))
    assert event is not None
    assert event.asset_materialization is not None
    assert f"| code | {int(raised) - 1} | {raised} |" in str(
        event.asset_materialization.metadata["what_moved"].value
    )


def test_eta_and_the_pool_at_once_make_every_asset_once_and_no_video_twice(settled: Platform) -> None:
    settled.edit("eta = 0.5", "eta = 0.7")
    settled.write_captions(dog="a pair of dogs run and bark")
    ran = settled.settle()
    assert len(assets(ran)) == len(set(assets(ran)))
    assert computed(ran)["ona_videos"] == computed(ran)["ona_spr_videos"] == 3


def test_a_new_experiment_is_made_whole_and_the_others_stay(settled: Platform) -> None:
    start = settled.settings.index("[experiments.one]")
    settled.save(settled.settings + settled.settings[start:].replace("experiments.one", "experiments.two"))
    ran = settled.settle()
    assert {one.partition for one in ran} == {"two", None}
    assert [one.asset for one in ran if one.partition is None] == ["report"]
    assert len(assets(ran)) == EVERYTHING - 3
    assert not {name for name in computed(ran) if name in VIDEOS}, "its videos are those of the first one"


def test_an_experiment_that_is_gone_is_asked_for_no_more(settled: Platform) -> None:
    start = settled.settings.index("[experiments.one]")
    both = settled.settings + settled.settings[start:].replace("experiments.one", "experiments.two")
    settled.save(both)
    settled.settle()
    settled.save(both[: both.rindex("[experiments.two]")])
    settled.write_captions(dog="a pair of dogs run and bark")
    assert {one.partition for one in settled.settle()} == {None, "one"}


def test_a_change_during_a_run_is_seen_after_it(settled: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    asked_meanwhile: list[object] = []
    make = generation._make_batch

    def make_while_eta_changes(*words: object) -> object:
        if "eta = 0.7" in settled.settings:
            settled.edit("eta = 0.7", "eta = 0.9")
            settled.look()
            asked_meanwhile.append(settled.evaluate())
        return make(*words)  # type: ignore[arg-type]

    monkeypatch.setattr(generation, "_make_batch", make_while_eta_changes)
    settled.edit("eta = 0.5", "eta = 0.7")
    ran = settled.settle()
    assert asked_meanwhile == [{}], "while it runs nothing is asked for"
    assert assets(ran).count("ona_videos") == 2
    last = settled.instance.get_latest_materialization_event(dg.AssetKey("ona_videos"))
    assert last is not None
    assert last.asset_materialization is not None
    assert last.asset_materialization.metadata["eta"].value == 0.9


def test_a_run_that_ends_while_a_tick_looks_is_waited_for(
    settled: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The daemon looks at events up to the start of its tick, and at runs as they are some seconds later."""
    monkeypatch.setenv("DAGSTER_AUTOMATION_TICK_SETTLE_SECONDS", "0.5")
    settled.edit("eta = 0.5", "eta = 0.7")
    settled.look()
    (asked,) = settled.evaluate().values()
    of_ona = {key for key in asked if "ona_videos" in key.to_user_string()}
    assert dg.AssetKey("ona_videos") in of_ona
    settled.run("one", asked - of_ona)
    with monkeypatch.context() as late:
        evaluate = AutomationConditionEvaluator.evaluate

        def evaluate_after_a_run(evaluator: AutomationConditionEvaluator) -> object:
            settled.run("one", of_ona)
            return evaluate(evaluator)

        late.setattr(AutomationConditionEvaluator, "evaluate", evaluate_after_a_run)
        assert settled.evaluate() == {}, "scores wait until the other videos are seen too"
    assert assets(settled.settle()) == AFTER_VIDEOS


def test_a_failure_is_tried_once_more_and_then_waits(
    settled: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []

    def fail(*_: object, **__: object) -> None:
        tried.append("ona")
        raise RuntimeError("the machine is on fire")

    with monkeypatch.context() as broken:
        broken.setattr(generation, "_make_batch", fail)
        settled.edit("eta = 0.5", "eta = 0.7")
        settled.settle()
        assert len(tried) == 4, "two assets, each twice"
        assert settled.settle() == []
    assert settled.settle() == []
    settled.edit("eta = 0.7", "eta = 0.8")
    assert assets(settled.settle()) == sorted(["ona_videos", "ona_spr_videos", *AFTER_VIDEOS])


def test_a_settings_file_with_mistakes_changes_nothing_until_it_is_mended(settled: Platform) -> None:
    good = settled.settings
    settled.save(good.replace("eta = 0.5", "eta = -1"))
    with pytest.raises(Exception, match=r"experiments\.one\.eta"):
        settled.look()
    assert settled.evaluate() == {}
    settled.save(good)
    assert settled.settle() == []
