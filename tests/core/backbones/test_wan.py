"""What only Wan has: normalised latents, zeros after the text, flow, and the models of Wan 2.2 beside it."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKLWan

from onaspr_core.errors import UserError
from tests.core.backbones.video_transformers import clips, load, save, their_pipeline


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save("wan unipc", tmp_path_factory.mktemp("models"))


@pytest.mark.parametrize(("frames", "latents"), [(1, 1), (5, 2), (13, 4)])
def test_encoding_is_the_mode_of_the_posterior_normalised_by_channel(
    folder: Path, frames: int, latents: int
) -> None:
    vae: Any = AutoencoderKLWan.from_pretrained(folder, subfolder="vae")
    video, backbone = clips(2, frames), load(folder, frames=frames)
    with torch.no_grad():
        modes = vae.encode(video).latent_dist.mean
    found = backbone.encode(video)
    assert found.shape == (2, *backbone.latent_shape) and found.shape[2] == latents
    for channel, (mean, deviation) in enumerate(
        zip([-0.3, 0.1, 0.4, -0.2], [0.8, 1.5, 0.6, 1.2], strict=True)
    ):
        assert torch.allclose(found[:, channel], (modes[:, channel] - mean) / deviation, atol=1e-5)
    assert backbone.decode(found).shape == video.shape


@pytest.mark.parametrize("text", ["", "ox", "a  red &amp;amp; cat\n", "an old ox " * 200])
def test_states_are_those_of_the_text_and_zeros_after_it(text: str, folder: Path) -> None:
    theirs, _ = their_pipeline(folder).encode_prompt(text, max_sequence_length=512)
    found = load(folder).encode_text(text)["states"]
    assert found.shape == (1, 512, 16)
    assert torch.allclose(found, theirs, atol=1e-5)
    assert torch.equal(found[0].any(dim=-1), theirs[0].any(dim=-1))


def test_the_prediction_is_a_flow_whatever_the_scheduler_says(folder: Path) -> None:
    assert load(folder).prediction_type == "flow"
    assert load(folder).levels(3).timesteps.tolist() == [0, 600, 857, 999]


def test_the_autoencoder_is_kept_in_float32(folder: Path) -> None:
    video = clips()
    assert torch.equal(load(folder, dtype="bfloat16").encode(video), load(folder).encode(video))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"transformer_2": ["diffusers", "WanTransformer3DModel"], "boundary_ratio": 0.875}, "transformer_2"),
        ({"expand_timesteps": True}, "expand_timesteps"),
    ],
)
def test_wan_2_2_is_refused(change: dict[str, Any], told: str, tmp_path: Path) -> None:
    folder = save("wan euler", tmp_path)
    index = folder / "model_index.json"
    index.write_text(json.dumps({**json.loads(index.read_text()), **change}))
    with pytest.raises(
        UserError, match=rf"has {told}.*: a Wan 2.2 model.*; name a text-to-video model of Wan 2.1"
    ):
        load(folder)


def test_a_model_that_takes_an_image_besides_is_told(tmp_path: Path) -> None:
    folder = save("wan euler", tmp_path)
    config = json.loads((folder / "vae" / "config.json").read_text())
    vae: Any = AutoencoderKLWan.from_config({**config, "z_dim": 2})
    vae.save_pretrained(folder / "vae")
    with pytest.raises(UserError, match="takes 4 channels and the autoencoder makes 2: this is no text-to"):
        load(folder)
