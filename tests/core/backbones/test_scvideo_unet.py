"""The inflated UNet against the image model that it was made from, in float64."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from onaspr_core.backbones.scvideo_unet import SCVideoUNet
from tests.tiny_models import randomise
from tests.tiny_unets import tiny_image_unet

FRAMES = 5


@pytest.fixture
def image() -> Any:
    return tiny_image_unet(0).double()


@pytest.fixture
def video(image: Any) -> Any:
    return SCVideoUNet.from_unet2d(image).eval()


@pytest.fixture
def trained(image: Any) -> Any:
    """One whose inserted modules are not the identity."""
    model = SCVideoUNet.from_unet2d(image).eval()
    for seed, module in enumerate(model.inserted()):
        randomise(module, seed)
    return model


def inputs(batch: int = 2, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    z = torch.randn(batch, 4, FRAMES, 4, 4, generator=generator, dtype=dtype)
    texts = torch.randn(batch, 7, 16, generator=generator, dtype=dtype)
    return z, torch.arange(batch) * 300 + 50, texts


@torch.no_grad()
def of_image(image: Any, z: Tensor, timesteps: Tensor, texts: Tensor) -> Tensor:
    frames = [
        image(z[:, :, frame], timesteps, encoder_hidden_states=texts).sample for frame in range(z.shape[2])
    ]
    return torch.stack(frames, dim=2)


@torch.no_grad()
def test_the_first_frame_is_the_image_models_and_the_others_are_not(image: Any, video: Any) -> None:
    z, timesteps, texts = inputs()
    difference = (video(z, timesteps, texts) - of_image(image, z, timesteps, texts)).abs()
    assert float(difference[:, :, 0].max()) <= 1e-12
    assert min(float(difference[:, :, frame].max()) for frame in range(1, FRAMES)) > 1e-2


@torch.no_grad()
def test_a_video_of_equal_frames_is_the_image_models(image: Any, video: Any) -> None:
    z, timesteps, texts = inputs()
    z = z[:, :, :1].expand_as(z)
    difference = (video(z, timesteps, texts) - of_image(image, z, timesteps, texts)).abs()
    assert float(difference.max()) <= 1e-12


@torch.no_grad()
def test_a_frame_depends_on_the_first_and_on_the_one_before_it(video: Any) -> None:
    z, timesteps, texts = inputs()
    before = video(z, timesteps, texts)
    for changed, follow in ((0, {0, 1, 2, 3, 4}), (2, {2, 3, 4}), (4, {4})):
        other = z.clone()
        other[:, :, changed] += 1
        moved = (video(other, timesteps, texts) - before).abs().amax(dim=(0, 1, 3, 4)) > 1e-12
        assert set(moved.nonzero().flatten().tolist()) == follow


def test_sparse_causal_attention_is_that_of_the_joined_frames(image: Any, video: Any) -> None:
    plain = image.down_blocks[0].attentions[0].transformer_blocks[0].attn1
    sparse = video.unet.down_blocks[0].attentions[0].spatial.transformer_blocks[0].attn1
    video(*inputs())
    states = torch.randn(2, FRAMES, 16, 8, dtype=torch.float64)
    found = sparse(states.flatten(0, 1)).unflatten(0, (2, FRAMES))
    for frame in range(FRAMES):
        seen = torch.cat([states[:, 0], states[:, max(frame - 1, 0)]], dim=1)
        expected = plain(states[:, frame], encoder_hidden_states=seen)
        assert torch.allclose(found[:, frame], expected, atol=1e-12)


@torch.no_grad()
def test_what_is_inserted_is_after_every_resnet_and_transformer_and_reaches_all_frames(
    video: Any, trained: Any
) -> None:
    # Two ResNets and a transformer at the middle; a level has one of each on the way down, two on the way up.
    assert len(list(video.inserted())) == (2 + 1) + (1 + 1) + 1 + (2 + 2) + 2
    z, timesteps, texts = inputs()
    other = z.clone()
    other[:, :, -1] += 1
    moved = (trained(other, timesteps, texts) - trained(z, timesteps, texts)).abs().amax(dim=(0, 1, 3, 4))
    assert float(moved.min()) > 1e-6


@torch.no_grad()
@pytest.mark.parametrize("kind", range(2))
def test_each_kind_of_inserted_module_carries_information_back_in_time(kind: int, video: Any) -> None:
    name = ("TemporalConvLayer", "TransformerTemporalModel")[kind]
    chosen = [module for module in video.inserted() if type(module).__name__ == name]
    assert len(chosen) == (8, 4)[kind]
    for seed, module in enumerate(chosen):
        randomise(module, seed)
    z, timesteps, texts = inputs()
    other = z.clone()
    other[:, :, -1] += 1
    moved = (video(other, timesteps, texts) - video(z, timesteps, texts)).abs()
    assert float(moved[:, :, -2].max()) > 1e-6


@torch.no_grad()
def test_a_video_does_not_depend_on_what_else_is_in_its_batch(trained: Any) -> None:
    z, timesteps, texts = inputs()
    together = trained(z, timesteps, texts)
    for one in range(2):
        alone = trained(z[one : one + 1], timesteps[one], texts[one : one + 1])
        assert torch.allclose(alone, together[one : one + 1], atol=1e-12)


def test_inflating_twice_gives_one_model_and_leaves_the_random_state(image: Any) -> None:
    models = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        expected = torch.rand(1)
        torch.manual_seed(seed)
        models.append([*SCVideoUNet.from_unet2d(image).inserted()])
        assert torch.equal(torch.rand(1), expected)
    for one, other in zip(*models, strict=True):
        for value, again in zip(one.parameters(), other.parameters(), strict=True):
            assert torch.equal(value, again)


@torch.no_grad()
def test_a_saved_model_is_read_back_as_it_was(trained: Any, tmp_path: Path) -> None:
    model: Any = trained.float()
    model.save_pretrained(tmp_path)
    assert '"_class_name": "SCVideoUNet"' in (tmp_path / "config.json").read_text()
    assert [file.name for file in tmp_path.glob("*.*s")] == ["diffusion_pytorch_model.safetensors"]
    z, timesteps, texts = inputs(dtype=torch.float32)
    loaded: Any = SCVideoUNet.from_pretrained(tmp_path)
    assert torch.equal(loaded(z, timesteps, texts), model(z, timesteps, texts))


def test_gradient_checkpointing_changes_no_gradient(trained: Any) -> None:
    found = []
    model: Any = trained.requires_grad_(False)
    for module in model.inserted():
        module.requires_grad_(True)
    for checkpointing in (False, True):
        if checkpointing:
            model.enable_gradient_checkpointing()
        model.zero_grad()
        model(*inputs()).square().mean().backward()
        found.append([p.grad for module in model.inserted() for p in module.parameters()])
    assert all(float(gradient.abs().max()) > 0 for gradient in found[0])
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one, other, atol=1e-14)
