"""What enters a video: the first latent (Eq 4), the prompts of each step (Eq 8), and no other item."""

import io
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from onaspr_core import generation
from onaspr_core.backbones.registry import open_backbone
from onaspr_core.diffusion.noise import mix_noise
from onaspr_core.generation import generate_videos, video_items
from onaspr_core.inversion import inverted_latent_key
from onaspr_core.media.video import read_frames
from onaspr_core.sampling import sample_latents
from onaspr_core.settings import Experiment
from onaspr_core.stored_kinds import INVERTED_LATENT, VIDEO
from onaspr_core.variants import VARIANTS
from onaspr_core.workspace import Workspace
from tests.core.generation.inputs import (
    PROMPTS,
    UNCHANGED,
    RecordingBackbone,
    changed,
    inverted_of,
    keys,
    random_of,
)


@pytest.mark.parametrize(
    ("variant", "eta"), [("baseline", 0.5), ("spr", 0.5), ("ona", 0.0), ("ona", 0.5), ("ona_spr", 2.0)]
)
def test_the_first_latent_is_equation_four_of_the_prompts_own_noise(
    variant: str, eta: float, tiny_workspace: Workspace, experiment: Experiment, recording: RecordingBackbone
) -> None:
    generate_videos(tiny_workspace, changed(experiment, eta=eta), variant)
    weight = eta if VARIANTS[variant].inverted_noise else 0.0
    for prompt, text in PROMPTS.items():
        seen = recording.first.get(text, recording.first.get(f"{text} in the sun"))
        expected = mix_noise(random_of(prompt), torch.from_numpy(inverted_of(prompt)).float(), weight)
        assert seen is not None and torch.equal(seen, expected)


def test_all_variants_start_from_one_random_noise_and_infinite_eta_from_none(
    tiny_workspace: Workspace, experiment: Experiment, recording: RecordingBackbone
) -> None:
    generate_videos(tiny_workspace, experiment, "baseline")
    assert torch.equal(recording.first["two dogs"], random_of("00002"))
    generate_videos(tiny_workspace, changed(experiment, eta=math.inf), "ona")
    assert torch.equal(recording.first["two dogs"], torch.from_numpy(inverted_of("00002")).float())


@pytest.mark.parametrize(("gamma", "m"), [(0.0, 0), (0.24, 0), (0.25, 1), (0.5, 2), (0.99, 3), (1.0, 4)])
def test_the_conditioning_switches_after_exactly_m_steps(
    gamma: float, m: int, tiny_workspace: Workspace, experiment: Experiment, recording: RecordingBackbone
) -> None:
    generate_videos(tiny_workspace, changed(experiment, gamma=gamma, batch_size=5), "spr")
    assert [level for level, _, _ in recording.asked] == [4, 3, 2, 1]
    rewritten = ["in the sun" in conditioning[0] for _, conditioning, _ in recording.asked]
    assert rewritten == [True] * m + [False] * (4 - m)
    assert {guidance for _, _, guidance in recording.asked} == {4.0}


def test_a_prompt_whose_rewrite_fell_back_sees_its_own_prompt_among_others_that_are_rewritten(
    tiny_workspace: Workspace, experiment: Experiment, recording: RecordingBackbone
) -> None:
    generate_videos(tiny_workspace, changed(experiment, batch_size=5), "spr")
    assert recording.asked[0][1] == [
        text if prompt == UNCHANGED else f"{text} in the sun" for prompt, text in PROMPTS.items()
    ]


@pytest.mark.parametrize("variant", VARIANTS)
def test_batch_size_and_order_change_no_bit(
    variant: str, tiny_workspace: Workspace, experiment: Experiment, recording: RecordingBackbone
) -> None:
    def videos(root: str, batch_size: int, reverse: bool) -> dict[str, bytes]:
        store = tiny_workspace.settings.store.model_copy(update={"root": root})
        workspace = Workspace(tiny_workspace.settings.model_copy(update={"store": store}))
        for prompt in PROMPTS:
            key = inverted_latent_key(workspace, experiment, f"clip-{prompt}")
            workspace.store.write_tensors(INVERTED_LATENT, key, {"noise": inverted_of(prompt)}, {})
        items = video_items(tiny_workspace, experiment, variant)[:: -1 if reverse else 1]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(generation, "video_items", lambda *_: items)
            generate_videos(workspace, changed(experiment, batch_size=batch_size), variant)
        return {item.key: workspace.store.read(VIDEO, item.key) for item in items}

    assert videos("one", 1, False) == videos("five", 5, False) == videos("backwards", 3, True)


def test_a_real_model_gives_a_sample_the_same_latent_alone_and_in_a_batch(tiny_workspace: Workspace) -> None:
    backbone = open_backbone(tiny_workspace, "tiny")
    noise, texts = torch.stack([random_of(prompt) for prompt in PROMPTS]), list(PROMPTS.values())

    def sampled(start: int, end: int) -> Tensor:
        part = texts[start:end]
        enriched = [f"{text} sun" for text in part]
        return sample_latents(
            backbone, noise[start:end], part, steps=4, guidance=4.0, rewritten=enriched, rewritten_steps=2
        )

    together = sampled(0, 5)
    apart = torch.cat([sampled(i, i + 1) for i in range(5)])
    assert float((together - apart).abs().max()) <= 1e-5 * max(1.0, float(together.abs().max()))


@pytest.mark.parametrize(("gamma_steps", "said"), [(0, "a red cat"), (4, "a red cat in the sun")])
def test_at_the_ends_of_gamma_the_latents_are_those_of_one_prompt_bit_for_bit(
    tiny_workspace: Workspace, gamma_steps: int, said: str
) -> None:
    backbone = open_backbone(tiny_workspace, "tiny")
    noise, prompt, rewritten = random_of("00001")[None], ["a red cat"], ["a red cat in the sun"]
    hybrid = sample_latents(
        backbone, noise, prompt, steps=4, guidance=4.0, rewritten=rewritten, rewritten_steps=gamma_steps
    )
    assert torch.equal(hybrid, sample_latents(backbone, noise, [said], steps=4, guidance=4.0))
    half = sample_latents(
        backbone, noise, prompt, steps=4, guidance=4.0, rewritten=rewritten, rewritten_steps=2
    )
    assert not torch.equal(half, hybrid)


def test_the_stored_video_is_the_decoded_latent(tiny_workspace: Workspace, experiment: Experiment) -> None:
    generate_videos(tiny_workspace, experiment, "baseline")
    backbone = open_backbone(tiny_workspace, "tiny")
    latents = sample_latents(backbone, random_of("00001")[None], ["a red cat"], steps=4, guidance=4.0)
    expected = ((backbone.decode(latents)[0] + 1) * 127.5).permute(1, 2, 3, 0).numpy()
    key = keys(tiny_workspace, experiment, "baseline")[0]
    stored = read_frames(io.BytesIO(tiny_workspace.store.read(VIDEO, key)))
    assert np.abs(stored.astype(float).mean((1, 2)) - expected.mean((1, 2))).max() < 6
