"""What only CogVideoX has: its autoencoder's frames, its grid, its tokenizer's file, and models beside it."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKLCogVideoX, CogVideoXDDIMScheduler

from onaspr_core.diffusion.solvers import denoise
from onaspr_core.errors import UserError
from tests.core.backbones.families import noise
from tests.core.backbones.video_transformers import clips, load, save


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.mark.parametrize(("form", "repeated"), [("5b", 0), ("1.5", 1)])
def test_encoding_is_the_scaled_mode_of_the_posterior_and_repeats_the_first_frame_to_whole_patches(
    form: str, repeated: int, root: Path
) -> None:
    folder = save(f"cogvideox {form}", root)
    vae: Any = AutoencoderKLCogVideoX.from_pretrained(folder, subfolder="vae")
    video = clips()
    with torch.no_grad():
        expected = vae.encode(video).latent_dist.mean * 1.15258426
    found = load(folder).encode(video)
    assert found.shape[2] == 3 + repeated
    assert torch.allclose(found[:, :, repeated:], expected, atol=1e-6)
    for frame in range(repeated):
        assert torch.equal(found[:, :, frame], found[:, :, repeated])


@pytest.mark.parametrize(("form", "frames", "latents"), [("5b", 17, 5), ("1.5", 17, 6), ("1.5", 1, 2)])
def test_every_length_that_is_taken_is_decoded_to_itself(
    form: str, frames: int, latents: int, root: Path
) -> None:
    backbone = load(save(f"cogvideox {form}", root), frames=frames)
    encoded = backbone.encode(clips(frames=frames))
    assert encoded.shape[2] == backbone.latent_shape[1] == latents
    assert backbone.decode(encoded).shape[2] == frames


def test_a_length_that_the_autoencoder_would_not_give_back_is_refused(root: Path) -> None:
    """13 frames become 4 latent frames, and those 16 frames."""
    folder = save("cogvideox 5b", root)
    vae: Any = AutoencoderKLCogVideoX.from_pretrained(folder, subfolder="vae")
    with torch.no_grad():
        decoded = vae.decode(vae.encode(clips(frames=13)).latent_dist.mean).sample
    assert decoded.shape[2] == 16
    with pytest.raises(UserError, match=r"frames = 13: the model needs 8·n \+ 1, such as 9 or 17"):
        load(folder, frames=13)


def test_denoising_agrees_with_the_scheduler_from_the_level_without_signal(root: Path) -> None:
    folder = save("cogvideox 2b", root)
    backbone = load(folder)
    scheduler: Any = CogVideoXDDIMScheduler.from_pretrained(folder, subfolder="scheduler")
    scheduler.set_timesteps(50)
    levels, z = backbone.levels(50), noise(backbone).double()
    assert (levels.signal[-1], levels.noise[-1], levels.timesteps[-1]) == (0, 1, 999)
    assert levels.timesteps[:0:-1].tolist() == scheduler.timesteps.tolist()

    def model(z: torch.Tensor, timestep: int) -> torch.Tensor:
        return torch.sin(3 * z + timestep / 200) * 0.5

    theirs = z
    for timestep in scheduler.timesteps.tolist():
        theirs = scheduler.step(model(theirs, timestep), timestep, theirs).prev_sample
    ours = denoise(lambda z, level: model(z, int(levels.timesteps[level])), z, levels, "v_prediction")
    assert float((ours - theirs).abs().max()) < 1e-12


def test_frames_larger_than_the_places_that_the_model_knows_are_told(root: Path) -> None:
    folder = save("cogvideox 1.5", root)
    assert load(folder, height=40, width=40).latent_shape == (4, 4, 10, 10)
    with pytest.raises(UserError, match="frames of 16 × 48: the model makes up to 40 × 40"):
        load(folder, height=16, width=48)


def test_a_vocabulary_without_the_package_that_reads_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = save("cogvideox 5b", tmp_path)
    (folder / "tokenizer" / "tokenizer.json").rename(folder / "tokenizer" / "spiece.model")
    monkeypatch.setattr("onaspr_core.backbones.weights.find_spec", lambda name: None)
    with pytest.raises(
        UserError, match=r"tokenizer is read by the package sentencepiece, which is not installed; run"
    ):
        load(folder)


def test_a_model_that_takes_an_image_besides_is_told(tmp_path: Path) -> None:
    folder = save("cogvideox 5b", tmp_path)
    config = folder / "vae" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "latent_channels": 2}))
    vae: Any = AutoencoderKLCogVideoX.from_config(json.loads(config.read_text()))
    vae.save_pretrained(folder / "vae")
    with pytest.raises(UserError, match="takes 4 channels and the autoencoder makes 2: this is no text-to"):
        load(folder)


def test_a_transformer_of_another_class_names_the_family_that_has_it(tmp_path: Path) -> None:
    folder = save("cogvideox 5b", tmp_path)
    config = folder / "transformer" / "config.json"
    config.write_text(config.read_text().replace("CogVideoXTransformer3DModel", "WanTransformer3DModel"))
    with pytest.raises(UserError, match=r"transformer is a WanTransformer3DModel, .*: wan"):
        load(folder)
