"""What a video's key says: equal videos share it, and whatever enters one moves it."""

import math

import pytest

from onaspr_core import generation
from onaspr_core.generation import generate_videos, video_items
from onaspr_core.prompts import Prompt
from onaspr_core.rewriting.stored import Rewrite
from onaspr_core.settings import Experiment
from onaspr_core.variants import VARIANTS
from onaspr_core.workspace import Workspace
from tests.core.generation.inputs import PROMPTS, UNCHANGED, RecordingBackbone, changed, keys


def test_eta_zero_and_gamma_zero_are_the_baselines_own_videos(
    tiny_workspace: Workspace, experiment: Experiment
) -> None:
    plain = keys(tiny_workspace, experiment, "baseline")
    assert len(set(plain)) == 5
    assert keys(tiny_workspace, changed(experiment, eta=0.0), "ona") == plain
    assert keys(tiny_workspace, changed(experiment, gamma=0.0), "spr") == plain
    assert keys(tiny_workspace, changed(experiment, gamma=0.1), "spr") == plain
    assert keys(tiny_workspace, changed(experiment, eta=0.0, gamma=0.0), "ona_spr") == plain
    assert keys(tiny_workspace, changed(experiment, eta=0.0), "ona_spr") == keys(
        tiny_workspace, experiment, "spr"
    )
    assert keys(tiny_workspace, changed(experiment, gamma=0.0), "ona_spr") == keys(
        tiny_workspace, experiment, "ona"
    )


def test_baseline_follows_neither_eta_nor_gamma_ona_eta_alone_and_spr_gamma_alone(
    tiny_workspace: Workspace, experiment: Experiment
) -> None:
    eta, gamma = changed(experiment, eta=1.0), changed(experiment, gamma=1.0)
    moved = {
        variant: (
            keys(tiny_workspace, eta, variant) != keys(tiny_workspace, experiment, variant),
            keys(tiny_workspace, gamma, variant) != keys(tiny_workspace, experiment, variant),
        )
        for variant in VARIANTS
    }
    assert moved == {
        "baseline": (False, False),
        "ona": (True, False),
        "spr": (False, True),
        "ona_spr": (True, True),
    }


def test_a_gamma_with_an_equal_step_count_recomputes_nothing(
    tiny_workspace: Workspace, experiment: Experiment, recording: RecordingBackbone
) -> None:
    generate_videos(tiny_workspace, experiment, "spr")
    outcome = generate_videos(tiny_workspace, changed(experiment, gamma=0.6), "spr")
    assert (outcome.computed, outcome.reused) == (0, 5)


def test_a_rewrite_that_fell_back_reuses_the_baselines_video(
    tiny_workspace: Workspace, experiment: Experiment, recording: RecordingBackbone
) -> None:
    generate_videos(tiny_workspace, experiment, "baseline")
    outcome = generate_videos(tiny_workspace, experiment, "spr")
    assert (outcome.computed, outcome.reused) == (4, 1)
    assert outcome.facts["prompts_without_rewrite"] == 1


def test_keys_follow_everything_that_enters_a_video(
    tiny_workspace: Workspace, experiment: Experiment
) -> None:
    first = keys(tiny_workspace, experiment, "baseline")
    for change in ({"steps": 5}, {"guidance_scale": 3.0}, {"seed": 4}):
        assert not set(first) & set(keys(tiny_workspace, changed(experiment, **change), "baseline"))
    assert keys(tiny_workspace, changed(experiment, batch_size=9), "baseline") == first
    endless = changed(experiment, eta=math.inf)
    assert keys(tiny_workspace, changed(endless, seed=4), "ona") == keys(tiny_workspace, endless, "ona")
    assert keys(tiny_workspace, changed(experiment, seed=4), "ona") != keys(tiny_workspace, experiment, "ona")


def test_where_a_rewrite_lies_moves_no_key_as_long_as_it_says_the_same(
    tiny_workspace: Workspace, experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = keys(tiny_workspace, experiment, "spr")
    said = {id_: text if id_ == UNCHANGED else f"{text} in the sun" for id_, text in PROMPTS.items()}
    elsewhere = {
        id_: Rewrite(said[id_], text, (), None, (), "other", "a" * 40) for id_, text in PROMPTS.items()
    }
    monkeypatch.setattr(generation, "rewrites_of", lambda *_: elsewhere)
    assert keys(tiny_workspace, experiment, "spr") == before
    assert {item.rewrite_key for item in video_items(tiny_workspace, experiment, "spr")} == {"a" * 40}
    assert {item.rewrite_key for item in video_items(tiny_workspace, experiment, "ona")} == {None}


@pytest.mark.parametrize("variant", VARIANTS)
def test_items_of_some_prompts_are_those_of_all(
    variant: str, tiny_workspace: Workspace, experiment: Experiment
) -> None:
    every = video_items(tiny_workspace, experiment, variant)
    some = video_items(tiny_workspace, experiment, variant, {"00002", "00004"})
    assert some == [every[1], every[3]]


def test_the_same_text_under_two_ids_is_two_videos(
    tiny_workspace: Workspace, experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    twins = [Prompt("00001", "a red cat"), Prompt("00002", "a red cat")]
    monkeypatch.setattr(generation, "load_prompts", lambda workspace, e: twins)
    assert len(set(keys(tiny_workspace, experiment, "baseline"))) == 2
