"""Options beyond the paper: what each makes, moves and records, and what a default leaves alone."""

from typing import Any

import numpy as np
import pytest
import torch

from onaspr_core import generation, inversion
from onaspr_core.backbones.registry import open_backbone
from onaspr_core.diffusion.noise import random_noise
from onaspr_core.diffusion.whitening import whiten
from onaspr_core.errors import UserError
from onaspr_core.inversion import clip_items, invert_clips, inverted_latent_key, read_inverted
from onaspr_core.parameters import PER_EXPERIMENT, version
from onaspr_core.prompts import Prompt
from onaspr_core.retrieval import neighbours
from onaspr_core.retrieval.neighbours import Neighbour
from onaspr_core.retrieval.versions import CaptionState
from onaspr_core.sampling import invert_latents
from onaspr_core.settings import Experiment
from onaspr_core.stored_kinds import INVERTED_LATENT
from onaspr_core.workspace import Workspace
from tests.core.generation.inputs import using

GOLDEN_NOISE = "646e2aeb2b772fe61b44755df78a726aa00ba5f9"
GOLDEN_VIDEOS = {
    "baseline": "0b8cd1925f15535380ddcba9ffa389ef27f93d3d",
    "ona": "24faa7eb45a6092476d438c4899e2281d5eaf103",
    "ona_spr": "24faa7eb45a6092476d438c4899e2281d5eaf103",
}
GOLDEN_SEARCHES = {
    2: "d0fb96980715bc252e00d24aa7367dfb994813d3",
    7: "8cb8907b6d8d94a9ffd7b3dd92cf296e107dc1bb",
}
GOLDEN_VERSIONS = {
    "eta": "5ce8a6fb4406657f6aa4b49bed404ee5c8f22ea7",
    "inversion": "787876b684f7d5b40b82c3340b8b4bf87d6e5ea2",
    "references": "c40d5db1ab318800690af9c87180c6f41abd39d7",
    "sampling": "a308b26ee7e0d1150258e368ef89a4a7b9001d52",
}
RECORD = {
    *("clip_key", "pair_id", "caption", "pool", "backbone", "backbone_fingerprint", "steps", "shape"),
    *("fixed_point_iterations", "libraries", "repeated_frames", "round_trip_error", "diagnostics"),
    *("suffix", "bytes", "sha256"),
}
"""What the record of an inverted latent held before there were options."""


def clip_of(key: str) -> np.ndarray:
    """Three frames of blocks that grow brighter."""
    start = np.random.default_rng(int(key[-1])).integers(0, 200, (1, 4, 4, 3))
    brighter = start + 10 * np.arange(3)[:, None, None, None]
    return brighter.repeat(4, 1).repeat(4, 2).astype(np.uint8)


@pytest.fixture(autouse=True)
def clips(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two clips for five prompts, and neither of them read from anywhere."""

    found = {f"{i:05}": (Neighbour(f"pair-{i}", f"clip-{i % 2}", "c", 0.9, 1),) for i in range(1, 6)}
    found["00001"] = (Neighbour("pair-1", "clip-1", "c", 0.9, 1),)
    for room in (inversion, generation):
        monkeypatch.setattr(room, "noise_neighbours_of", lambda *_: found)
    monkeypatch.setattr(inversion, "read_clip", lambda _, key: clip_of(key))
    monkeypatch.setattr(inversion, "read_clip_at", lambda _, key, place: clip_of(key))


def versions(workspace: Workspace, e: Experiment) -> dict[str, str]:
    return {name: version(made_of(workspace.settings, e)) for name, (_, made_of) in PER_EXPERIMENT.items()}


def test_defaults_leave_every_key_and_version_as_it_was_before_there_were_options(
    tiny_workspace: Workspace, experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    for room in (inversion, generation):
        monkeypatch.setattr(room, "backbone_fingerprint", lambda *_: "golden")
    monkeypatch.setattr(generation, "rewrites_of", lambda *_: {})
    experiment = using(experiment, similarity_gate=None, neighbours=1, whitening="none")
    assert inverted_latent_key(tiny_workspace, experiment, "clip-1") == GOLDEN_NOISE
    for variant, key in GOLDEN_VIDEOS.items():
        assert generation.video_items(tiny_workspace, experiment, variant)[0].key == key
    found = versions(tiny_workspace, experiment)
    del found["backbone"], found["evaluation"]
    assert {name: found[name] for name in GOLDEN_VERSIONS} == GOLDEN_VERSIONS


@pytest.mark.parametrize("k", GOLDEN_SEARCHES)
def test_a_search_for_one_neighbour_keeps_its_key(experiment: Experiment, k: int) -> None:
    state = CaptionState("s", "s", "s", "s", "s")  # type: ignore[arg-type]
    keys = neighbours._search_keys(experiment.changed(references={"k": k}), [Prompt("1", "a cat")], state)
    assert keys == {"1": GOLDEN_SEARCHES[k]}


@pytest.mark.parametrize(
    ("options", "moved"),
    [
        ({"forward_diffusion_steps": 1}, {"inversion"}),
        ({"whitening": "standardize"}, {"inversion"}),
        ({"whitening": "spatial"}, {"inversion"}),
        ({"neighbours": 2}, {"inversion", "eta", "references"}),
        ({"similarity_gate": [0.2, 0.8]}, {"eta"}),
    ],
)
def test_an_option_moves_the_settings_that_it_belongs_to(
    tiny_workspace: Workspace, experiment: Experiment, options: dict[str, Any], moved: set[str]
) -> None:
    before, after = (versions(tiny_workspace, e) for e in (experiment, using(experiment, **options)))
    assert {name for name in after if after[name] != before[name]} == moved


def test_more_neighbours_than_references_ask_for_a_longer_search_and_no_other_do(
    tiny_workspace: Workspace, experiment: Experiment
) -> None:
    many = experiment.changed(references={"k": 20})
    before, after = (versions(tiny_workspace, e) for e in (many, using(many, neighbours=3)))
    assert {name for name in after if after[name] != before[name]} == {"inversion", "eta"}


def test_inversion_options_give_noise_another_key_and_mixing_options_do_not(
    tiny_workspace: Workspace, experiment: Experiment
) -> None:
    def key(**options: Any) -> str:
        return inverted_latent_key(tiny_workspace, using(experiment, **options), "clip-1")

    keys = [
        key(),
        key(forward_diffusion_steps=1),
        key(forward_diffusion_steps=2),
        key(whitening="standardize"),
        key(whitening="spatial"),
        key(whitening="spatial", forward_diffusion_steps=1),
    ]
    assert len(set(keys)) == 6
    assert key(neighbours=2) == key(similarity_gate=(0.1, 0.2)) == key()


def test_without_options_a_record_holds_what_it_always_held(
    tiny_workspace: Workspace, experiment: Experiment
) -> None:
    outcome = invert_clips(tiny_workspace, experiment)
    key = clip_items(tiny_workspace, experiment)[0].key
    assert set(tiny_workspace.store.record(INVERTED_LATENT, key)) == RECORD
    assert not {"whitening", "forward_diffusion_steps", "neighbours", "similarity_gate"} & set(outcome.facts)


def test_the_paper_is_bit_for_bit_what_no_forward_diffusion_gives(tiny_workspace: Workspace) -> None:
    backbone = open_backbone(tiny_workspace, "tiny")
    clean, gaussian = torch.ones(2, *backbone.latent_shape) / 3, torch.randn(2, *backbone.latent_shape)
    plain = invert_latents(backbone, clean, steps=4)
    assert not torch.equal(plain, invert_latents(backbone, clean, steps=4, forward=(1, gaussian)))
    levels = backbone.levels(4)
    diffused = float(levels.signal[4]) * clean + float(levels.noise[4]) * gaussian
    assert torch.equal(invert_latents(backbone, clean, steps=4, forward=(4, gaussian)), diffused)


@pytest.mark.parametrize("batch_size", [1, 2])
def test_what_is_diffused_forward_draws_its_noise_by_the_clips_key(
    tiny_workspace: Workspace, experiment: Experiment, batch_size: int
) -> None:
    e = using(experiment, forward_diffusion_steps=4, batch_size=batch_size)
    outcome = invert_clips(tiny_workspace, e)
    assert outcome.facts["forward_diffusion_steps"] == 4
    backbone = open_backbone(tiny_workspace, "tiny")
    levels = backbone.levels(4)
    for name in ("clip-0", "clip-1"):
        drawn = random_noise(backbone.latent_shape, seed=0, prompt_id=name, sample_index=0)
        key = inverted_latent_key(tiny_workspace, e, name)
        frames = torch.from_numpy(clip_of(name))
        clean = backbone.encode(frames.permute(3, 0, 1, 2)[None] / 127.5 - 1)[0]
        expected = levels.signal[4] * clean + levels.noise[4] * drawn
        assert torch.allclose(read_inverted(tiny_workspace, key), expected.float(), rtol=2e-3, atol=1e-3)
        assert tiny_workspace.store.record(INVERTED_LATENT, key)["forward_diffusion_steps"] == 4


def test_whitened_noise_is_stored_and_the_record_tells_of_it_before_and_after(
    tiny_workspace: Workspace, experiment: Experiment
) -> None:
    e = using(experiment, whitening="spatial")
    invert_clips(tiny_workspace, experiment)
    outcome = invert_clips(tiny_workspace, e)
    assert (outcome.computed, outcome.facts["whitening"]) == (2, "spatial")
    plain = read_inverted(tiny_workspace, inverted_latent_key(tiny_workspace, experiment, "clip-1"))
    key = inverted_latent_key(tiny_workspace, e, "clip-1")
    assert torch.allclose(read_inverted(tiny_workspace, key), whiten(plain, "spatial"), atol=0.02)
    record = tiny_workspace.store.record(INVERTED_LATENT, key)
    assert record["whitening"] == "spatial"
    assert record["diagnostics"]["variance"] == pytest.approx(1, abs=1e-2)
    assert record["diagnostics_before_whitening"]["variance"] == pytest.approx(
        float(plain.var(correction=0)), rel=1e-2
    )
    assert outcome.facts["noise_variance_mean"] == pytest.approx(1, abs=1e-2)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"forward_diffusion_steps": 5}, "forward_diffusion_steps = 5: allowed is up to sampling.steps = 4"),
        ({"similarity_gate": [0.8, 0.2]}, "similarity_gate: must be .low, high. with low not above high"),
        ({"similarity_gate": [0.8, 1.2]}, "similarity_gate.1: .*less than or equal to 1"),
        ({"similarity_gate": [0.8]}, "similarity_gate"),
        ({"neighbours": 0}, "neighbours: .*greater than or equal to 1"),
        ({"whitening": "pink"}, "whitening: .*'none', 'standardize' or 'spatial'"),
    ],
)
def test_values_that_mean_nothing_are_refused(
    experiment: Experiment, options: dict[str, Any], told: str
) -> None:
    with pytest.raises(UserError, match=told):
        using(experiment, **options)
