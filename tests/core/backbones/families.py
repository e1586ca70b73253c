"""What holds for every family, measured against diffusers' own pipeline of it.

A family's test class derives from `FamilyTests` and has the fixtures `settings` and `pipeline`.
"""

import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from onaspr_core.backbones.base import DiffusionBackbone, TextConditioning
from onaspr_core.backbones.protocol import Backbone
from onaspr_core.backbones.registry import load_backbone
from onaspr_core.diffusion.solvers import denoise, invert
from onaspr_core.errors import UserError
from onaspr_core.sampling import invert_latents, sample_latents
from onaspr_core.settings import BackboneSettings

PROMPTS = ["a red cat", "two dogs"]
REWRITTEN = ["a red cat sleeps", "two old dogs"]
GUIDANCE = 7.0
STEPS = 10

Pipeline = Callable[[Tensor, float, str], Tensor]
"""Diffusers' pipeline for `PROMPTS`: noise (B, C, T, h, w), guidance, and "latent" or "pt".

Latents come back as (B, C, T, h, w), video as (B, 3, F, H, W) in [0, 1].
"""


def loaded(settings: BackboneSettings) -> DiffusionBackbone:
    backbone = load_backbone(settings, Path())
    assert isinstance(backbone, DiffusionBackbone)
    return backbone


def noise(backbone: Backbone, count: int = 2, seed: int = 0) -> Tensor:
    return torch.randn(count, *backbone.latent_shape, generator=torch.Generator().manual_seed(seed))


def video(backbone: DiffusionBackbone, count: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(count, 3, *backbone.video_shape, generator=generator) * 2 - 1


def generate(
    backbone: DiffusionBackbone, z: Tensor, prompts: list[str], guidance: float | None = GUIDANCE
) -> Tensor:
    return sample_latents(backbone, z, prompts, steps=STEPS, guidance=guidance)


def distance(found: Tensor, expected: Tensor) -> float:
    """The largest difference, relative to the largest value where that is above 1."""
    assert found.shape == expected.shape and found.dtype == expected.dtype == torch.float32
    return float((found - expected).abs().max()) / max(1.0, float(expected.abs().max()))


def round_trip(backbone: DiffusionBackbone, steps: int, iterations: int = 0) -> float:
    """How far a latent is from itself, relative, after inversion and denoising without guidance."""
    clean, empty = noise(backbone, 1), backbone.encode_prompts([""])
    inverted = invert_latents(backbone, clean, steps=steps, fixed_point_iterations=iterations)
    levels = backbone.levels(steps)
    back = denoise(
        lambda z, level: backbone.predict(z, level, empty), inverted, levels, backbone.prediction_type
    )
    return float((back - clean).norm() / clean.norm())


class Heard:
    """Takes the place of a denoiser, and keeps what each call was given."""

    def __init__(self) -> None:
        self.calls: list[Mapping[str, Tensor]] = []

    def __call__(self, sample: Tensor, timestep: Tensor, texts: Mapping[str, Tensor]) -> Tensor:
        assert all(len(tensor) == len(sample) for tensor in texts.values())
        self.calls.append(texts)
        return torch.zeros_like(sample)


class FamilyTests:
    names: frozenset[str] = frozenset({"states"})
    """What the family's conditioning is made of."""

    @pytest.fixture
    def backbone(self, settings: BackboneSettings) -> DiffusionBackbone:
        return loaded(settings)

    @pytest.mark.parametrize("guidance", [1.0, GUIDANCE])
    def test_generation_equals_diffusers_pipeline(
        self, backbone: DiffusionBackbone, pipeline: Pipeline, guidance: float
    ) -> None:
        z = noise(backbone)
        ours = generate(backbone, z, PROMPTS, guidance)
        assert distance(ours, z) > 0.1
        assert distance(ours, pipeline(z, guidance, "latent")) <= 1e-5
        assert distance(backbone.decode(ours) / 2 + 0.5, pipeline(z, guidance, "pt")) <= 1e-5

    def test_decoding_what_was_encoded_has_the_shape_of_the_video(self, backbone: DiffusionBackbone) -> None:
        latents = backbone.encode(video(backbone))
        assert latents.shape == (2, *backbone.latent_shape) and latents.dtype == torch.float32
        decoded = backbone.decode(latents)
        assert decoded.shape == (2, 3, *backbone.video_shape) and decoded.dtype == torch.float32
        assert float(backbone.decode(1000 * latents).abs().max()) == 1

    def test_an_inverted_latent_comes_back(
        self, backbone: DiffusionBackbone, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Random weights bend the way so much that rounding alone is felt; a tenth of them does not.
        denoiser = backbone.denoiser
        monkeypatch.setattr(backbone, "denoiser", lambda *given: 0.1 * denoiser(*given))
        coarse, fine = round_trip(backbone, 10), round_trip(backbone, 50)
        assert 1e-3 < fine < coarse / 2
        assert round_trip(backbone, 50, iterations=6) < 1e-6

    def test_inversion_asks_from_the_clean_end_and_generation_ends_there(
        self, backbone: DiffusionBackbone, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[int] = []

        def denoiser(sample: Tensor, timestep: Tensor, texts: Mapping[str, Tensor]) -> Tensor:
            asked.append(int(timestep))
            return torch.zeros_like(sample)

        monkeypatch.setattr(backbone, "denoiser", denoiser)
        empty, levels, z = backbone.encode_prompts(["", ""]), backbone.levels(STEPS), noise(backbone)
        invert(lambda z, level: backbone.predict(z, level, empty), z, levels, backbone.prediction_type)
        assert asked == [0, *range(1, 900, 100)]
        asked.clear()
        generate(backbone, z, PROMPTS)
        assert asked == [*range(901, 0, -100)]

    @pytest.mark.parametrize("guidance", [None, GUIDANCE])
    @pytest.mark.parametrize("switch", [0, 1, 4, STEPS])
    def test_every_part_of_the_conditioning_is_switched_at_the_step(
        self,
        backbone: DiffusionBackbone,
        monkeypatch: pytest.MonkeyPatch,
        guidance: float | None,
        switch: int,
    ) -> None:
        heard = Heard()
        monkeypatch.setattr(backbone, "denoiser", heard)
        sample_latents(
            backbone,
            noise(backbone),
            PROMPTS,
            steps=STEPS,
            guidance=guidance,
            rewritten=REWRITTEN,
            rewritten_steps=switch,
        )
        told: dict[str, TextConditioning] = {
            name: backbone.encode_prompts(texts) for name, texts in (("new", REWRITTEN), ("old", PROMPTS))
        }
        assert len(heard.calls) == STEPS
        for step, call in enumerate(heard.calls):
            assert call.keys() == self.names
            expected = {name: (one.guided if guidance else one.prompts) for name, one in told.items()}
            now, other = ("new", "old") if step < switch else ("old", "new")
            for name, tensor in call.items():
                assert torch.equal(tensor, expected[now][name])
                assert not torch.equal(tensor, expected[other][name])

    def test_a_latent_does_not_depend_on_what_else_is_in_its_batch(self, backbone: DiffusionBackbone) -> None:
        z = noise(backbone)
        together = generate(backbone, z, PROMPTS)
        apart = [generate(backbone, z[i : i + 1], PROMPTS[i : i + 1]) for i in range(2)]
        assert distance(together, torch.cat(apart)) <= 1e-5

    def test_while_it_decodes_nothing_is_kept_of_the_text(self, backbone: DiffusionBackbone) -> None:
        backbone.levels(STEPS)
        z, conditioning = noise(backbone), backbone.encode_prompts(PROMPTS)
        before = backbone.predict(z, 5, conditioning, GUIDANCE)
        backbone.decode(z)
        assert torch.equal(backbone.predict(z, 5, conditioning, GUIDANCE), before)
        states = weakref.ref(conditioning.guided["states"])
        backbone.decode(z)
        del conditioning
        assert states() is None

    def test_a_shape_that_does_not_fit_is_told(self, settings: BackboneSettings) -> None:
        with pytest.raises(UserError, match=r"16 × 18: the model needs multiples of 4; change the settings"):
            loaded(settings.model_copy(update={"width": 18}))


def encoded_frames(vae: Any, clips: Tensor) -> Tensor:
    """The mode of an image autoencoder's posterior, frame by frame: (B, 3, F, H, W) to (B, C, F, h, w)."""
    with torch.no_grad():
        frames = [vae.encode(clips[:, :, frame]).latent_dist.mean for frame in range(clips.shape[2])]
    return torch.stack(frames, 2) * float(vae.config.scaling_factor)
