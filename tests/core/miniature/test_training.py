"""The training loop: exact resume, and a whitened autoencoder that loses nothing."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from onaspr_core.errors import UserError
from onaspr_core.miniature.train import autoencoder, text_to_video
from onaspr_core.miniature.train.data import rendered_clips
from onaspr_core.miniature.train.fitting import Plan, fit, generators, load_average
from onaspr_core.miniature.train.text import build_tokenizer


def plan(steps: int) -> Plan:
    return Plan("text-to-video", steps=steps, rate=1e-3, warm_up=2, decay=0.0001, save_every=2, log_every=1)


def train(folder: Path, *stops: int) -> dict[str, Tensor]:
    """Train a tiny model until each of `stops` in turn, from a new start of everything each time."""
    clips = rendered_clips(0, 8)
    latents = torch.randn(8, 4, 8, 8, 8, generator=torch.Generator().manual_seed(1))
    for stop in stops:
        torch.manual_seed(0)
        model = text_to_video.TextToVideo(build_tokenizer(), channels=(16, 16))
        text_to_video.train(model, latents, clips.scenes, plan(stop), folder, seed=0, device="cpu")
    return dict(model.named_parameters())


def test_an_interrupted_run_ends_bit_for_bit_where_a_straight_one_does(tmp_path: Path) -> None:
    straight, resumed = train(tmp_path / "a", 4), train(tmp_path / "b", 2, 4)
    assert straight.keys() == resumed.keys()
    for name, value in straight.items():
        assert torch.equal(value, resumed[name]), name
    assert (tmp_path / "a" / "text-to-video.safetensors").is_file()


def test_a_checkpoint_of_another_model_is_refused_by_name(tmp_path: Path) -> None:
    fit(nn.Linear(2, 2), lambda step: torch.zeros((), requires_grad=True), plan(1), tmp_path)
    with pytest.raises(UserError, match="another model"):
        fit(nn.Linear(2, 3), lambda step: torch.zeros((), requires_grad=True), plan(2), tmp_path)


def test_a_loss_that_is_not_a_number_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nan at step 0"):
        fit(nn.Linear(1, 1), lambda step: torch.tensor(float("nan"), requires_grad=True), plan(1), tmp_path)


def test_the_rate_warms_up_stays_and_falls_to_zero() -> None:
    rates = [Plan("x", steps=100, rate=1.0, warm_up=10, decay=0.2).rate_at(step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9:81] == [1.0] * 72
    assert rates[90] == pytest.approx(0.5)
    assert 0 < rates[99] < 0.06


def test_the_average_follows_the_weights(tmp_path: Path) -> None:
    model = nn.Linear(1, 1, bias=False)
    fit(model, lambda step: (model.weight - 3).square().sum(), Plan("m", 400, 0.1, averaging=0.9), tmp_path)
    assert model.weight.item() == pytest.approx(3, abs=0.1)
    other = nn.Linear(1, 1, bias=False)
    assert load_average(other, tmp_path / "m.safetensors") == 400
    assert torch.equal(other.weight, model.weight)


def test_generators_differ_between_seeds_stages_and_steps_and_repeat() -> None:
    def first(seed: int, stage: str, step: int) -> tuple[float, float]:
        rng, noise = generators(seed, stage, step)
        return float(rng.random()), float(torch.rand(1, generator=noise))

    keys = [(0, "a", 0), (1, "a", 0), (0, "b", 0), (0, "a", 1)]
    drawn = [first(*key) for key in keys]
    assert len(set(drawn)) == 4
    assert drawn == [first(*key) for key in keys]


def test_whitening_gives_unit_latents_and_changes_no_picture() -> None:
    torch.manual_seed(0)
    model = autoencoder.build().eval()
    images = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (64, 3, 32, 32))).float()
    with torch.no_grad():
        before = model.decode(model.encode(images).latent_dist.mode()).sample
        autoencoder.whiten(model, images)
        latents = model.encode(images).latent_dist.mode()
        after = model.decode(latents).sample
    flat = latents.movedim(1, -1).reshape(-1, 4)
    assert torch.allclose(flat.mean(0), torch.zeros(4), atol=1e-3)
    assert torch.allclose(torch.cov(flat.T), torch.eye(4), atol=1e-2)
    assert torch.allclose(before, after, atol=1e-3)
