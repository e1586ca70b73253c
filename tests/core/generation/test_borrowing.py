"""Noise of several neighbours, and the similarity gate: the first latent, keys and records."""

from itertools import pairwise
from typing import Any

import pytest
import torch

from onaspr_core import code_versions, generation
from onaspr_core.diffusion.noise import blend_noises, mix_noise
from onaspr_core.generation import generate_videos, video_items
from onaspr_core.parameters import PER_EXPERIMENT
from onaspr_core.retrieval.neighbours import Neighbour
from onaspr_core.settings import Experiment
from onaspr_core.stored_kinds import VIDEO
from onaspr_core.workspace import Workspace
from tests.core.generation.inputs import PROMPTS, RecordingBackbone, inverted_of, keys, random_of, using

COSINES = dict(zip(PROMPTS, (0.9, 0.6, 0.5, 0.4, 0.2), strict=True))


def reference(prompt: str, similarity: float = 0.9) -> Neighbour:
    return Neighbour(f"pair-{prompt}", f"clip-{prompt}", "caption", similarity, 1)


@pytest.fixture
def lent(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[Neighbour, ...]]:
    """Each prompt's neighbours: its own clip and that of the prompt after it."""
    ids = [*PROMPTS, "00001"]
    found: dict[str, tuple[Neighbour, ...]] = {
        own: (reference(own, COSINES[own]), reference(after, 0.1)) for own, after in pairwise(ids)
    }
    monkeypatch.setattr(generation, "noise_neighbours_of", lambda *_: found)
    return found


@pytest.mark.usefixtures("lent")
def test_the_noises_of_all_neighbours_enter_the_first_latent(
    tiny_workspace: Workspace, experiment: Experiment, recording: RecordingBackbone
) -> None:
    outcome = generate_videos(tiny_workspace, using(experiment, neighbours=2), "ona")
    assert (outcome.failures, outcome.facts["neighbours"]) == ((), 2)
    noises = [torch.from_numpy(inverted_of(prompt)).float() for prompt in ("00002", "00003")]
    expected = mix_noise(random_of("00002"), blend_noises(noises), 0.5)
    assert torch.allclose(recording.first["two dogs"], expected, atol=1e-6)


@pytest.mark.usefixtures("lent", "recording")
def test_the_record_names_all_neighbours_and_their_noises(
    tiny_workspace: Workspace, experiment: Experiment
) -> None:
    e = using(experiment, neighbours=2)
    generate_videos(tiny_workspace, e, "ona")
    item = video_items(tiny_workspace, e, "ona")[0]
    record = tiny_workspace.store.record(VIDEO, item.key)
    assert (record["neighbour"]["pair_id"], record["inverted_key"]) == ("pair-00001", item.inverted_keys[0])
    [other] = record["blended_with"]
    assert (other["pair_id"], other["inverted_key"]) == ("pair-00002", item.inverted_keys[1])
    assert "similarity_gate" not in record and "eta_before_gate" not in record


def test_the_order_of_equal_weights_makes_no_other_video_and_another_clip_does(
    tiny_workspace: Workspace, experiment: Experiment, lent: dict[str, tuple[Neighbour, ...]]
) -> None:
    e = using(experiment, neighbours=2)
    before = keys(tiny_workspace, e, "ona")
    lent["00001"] = lent["00001"][::-1]
    assert keys(tiny_workspace, e, "ona") == before
    lent["00001"] = (reference("00001"), reference("00005"))
    assert [new == old for new, old in zip(keys(tiny_workspace, e, "ona"), before, strict=True)] == [
        False,
        *[True] * 4,
    ]


def test_a_single_clip_found_is_the_papers_own_video(
    tiny_workspace: Workspace, experiment: Experiment
) -> None:
    assert keys(tiny_workspace, using(experiment, neighbours=3), "ona") == keys(
        tiny_workspace, experiment, "ona"
    )


def test_the_version_of_blending_moves_videos_of_several_noises_and_no_others(
    tiny_workspace: Workspace,
    experiment: Experiment,
    lent: dict[str, tuple[Neighbour, ...]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lent["00005"] = lent["00005"][:1]
    several = using(experiment, neighbours=2)

    def told() -> list[Any]:
        _, eta = PER_EXPERIMENT["eta"]
        return [
            *(eta(tiny_workspace.settings, e) for e in (experiment, several)),
            *keys(tiny_workspace, several, "baseline"),
            *keys(tiny_workspace, several, "ona"),
        ]

    before = told()
    monkeypatch.setattr(code_versions, "BLEND", 99)
    stayed = [old == new for old, new in zip(before, told(), strict=True)]
    assert stayed == [True, False, *[True] * 5, *[False] * 4, True]


@pytest.mark.usefixtures("lent", "recording")
def test_a_noise_that_is_missing_among_several_fails_its_prompt(
    tiny_workspace: Workspace, experiment: Experiment
) -> None:
    e = using(experiment, neighbours=2)
    gone = video_items(tiny_workspace, e, "ona")[0].inverted_keys[1]
    tiny_workspace.store.delete("inverted-latent", gone)
    failed = generate_videos(tiny_workspace, e, "ona").failures
    assert {failure.item for failure in failed} == {"00001", "00002"}
    assert all("pair-00002" in failure.reason for failure in failed)


@pytest.fixture
def gated(experiment: Experiment, lent: dict[str, tuple[Neighbour, ...]]) -> Experiment:
    lent.update({own: found[:1] for own, found in lent.items()})
    return using(experiment, similarity_gate=[0.4, 0.6])


def test_the_gate_lowers_eta_by_the_similarity(tiny_workspace: Workspace, gated: Experiment) -> None:
    items = video_items(tiny_workspace, gated, "ona")
    assert [item.eta for item in items] == pytest.approx([0.5, 0.5, 0.25, 0, 0])
    assert [item.shut for item in items] == [None, None, None, 0.4, 0.2]


def test_a_shut_gate_is_the_baselines_own_video_and_half_a_gate_that_of_half_eta(
    tiny_workspace: Workspace, experiment: Experiment, gated: Experiment
) -> None:
    found = keys(tiny_workspace, gated, "ona")
    baseline, whole = (keys(tiny_workspace, experiment, variant) for variant in ("baseline", "ona"))
    half = keys(tiny_workspace, experiment.changed(eta=0.25), "ona")
    assert found == [*whole[:2], half[2], *baseline[3:]]
    assert keys(tiny_workspace, gated, "ona_spr")[3:] == keys(tiny_workspace, experiment, "spr")[3:]
    assert keys(tiny_workspace, gated, "baseline") == baseline


@pytest.mark.usefixtures("recording")
def test_the_record_tells_of_the_gate_and_the_facts_what_it_did(
    tiny_workspace: Workspace, gated: Experiment
) -> None:
    outcome = generate_videos(tiny_workspace, gated, "ona")
    assert outcome.facts["similarity_gate"] == [0.4, 0.6]
    assert (outcome.facts["videos_with_less_eta"], outcome.facts["videos_without_inverted_noise"]) == (3, 2)
    records = [
        tiny_workspace.store.record(VIDEO, item.key) for item in video_items(tiny_workspace, gated, "ona")
    ]
    assert [record["eta"] for record in records] == pytest.approx([0.5, 0.5, 0.25, 0, 0])
    assert {record["eta_before_gate"] for record in records} == {0.5}
    assert records[2]["similarity_gate"] == [0.4, 0.6] and records[4]["neighbour"] is None
