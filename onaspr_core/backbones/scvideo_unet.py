"""SCVideo's UNet: Stable Diffusion's, made to see a video (arXiv 2311.00949).

Self-attention is sparse-causal (arXiv 2212.11565). After each ResNet comes a temporal convolution, after each
transformer a temporal attention, which are the identity until they are trained. Frame 0, and a video of equal
frames, then come out as the image model makes them. SCVideo's own weights were never published:
`onaspr_core.training` learns what is inserted here.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as functional
from diffusers import ModelMixin, TransformerTemporalModel, UNet2DConditionModel
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.resnet import TemporalConvLayer
from torch import Tensor, nn

SEED = 0
"""What is inserted starts from this seed: inflating a UNet twice gives one model."""


class Video:
    """How many frames each video of the present call has; one object for all parts of a UNet."""

    frames = 1


class SparseCausalAttention:
    """An attention processor for diffusers' `Attention`: frame i attends to frames 0 and i − 1.

    Frame 0 attends to itself, twice.
    """

    def __init__(self, video: Video) -> None:
        """Take what tells frames from videos in the first axis."""
        self._video = video

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
    ) -> Tensor:
        """Attend from every pixel of every frame, (B·F, pixels, width); there is no text and no mask."""
        query, key, value = (
            projection(hidden_states).unflatten(-1, (attn.heads, -1)).transpose(1, 2)
            for projection in (attn.to_q, attn.to_k, attn.to_v)
        )
        attended = functional.scaled_dot_product_attention(query, self._attended(key), self._attended(value))
        result: Tensor = attn.to_out[0](attended.transpose(1, 2).reshape(hidden_states.shape))
        return result

    def _attended(self, frames: Tensor) -> Tensor:
        """Return for each frame the pixels of frames 0 and i − 1: (B·F, heads, pixels, size) to 2·pixels."""
        videos = frames.unflatten(0, (-1, self._video.frames))
        first = videos[:, :1].expand_as(videos)
        former = torch.cat([videos[:, :1], videos[:, :-1]], dim=1)
        return torch.cat([first, former], dim=3).flatten(0, 1)


class InflatedResnet(nn.Module):
    """A ResNet of the image model, and the temporal convolution after it."""

    def __init__(self, spatial: nn.Module, temporal: nn.Module, video: Video) -> None:
        """Take both, and what tells frames from videos in the first axis."""
        super().__init__()
        self.spatial, self.temporal, self._video = spatial, temporal, video

    def forward(self, hidden_states: Tensor, temb: Tensor | None = None) -> Tensor:
        """Turn (B·F, channels, h, w) and time embeddings (B·F, width) into (B·F, channels, h, w)."""
        result: Tensor = self.temporal(self.spatial(hidden_states, temb), num_frames=self._video.frames)
        return result


class InflatedTransformer(nn.Module):
    """A transformer of the image model, and the temporal attention after it."""

    def __init__(self, spatial: nn.Module, temporal: nn.Module, video: Video) -> None:
        """Take both, and what tells frames from videos in the first axis."""
        super().__init__()
        self.spatial, self.temporal, self._video = spatial, temporal, video

    def forward(self, hidden_states: Tensor, **options: Any) -> tuple[Tensor]:
        """Turn (B·F, channels, h, w) into the like, as the only item of a tuple."""
        output = self.spatial(hidden_states, **{**options, "return_dict": False})[0]
        return (self.temporal(output, num_frames=self._video.frames, return_dict=False)[0],)


class SCVideoUNet(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """An inflated UNet2DConditionModel, saved and loaded as diffusers' own models are."""

    _supports_gradient_checkpointing = True

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(self, image_unet: Mapping[str, Any]) -> None:
        """Build the model with random weights; what is inserted is the identity.

        Args:
            image_unet: The configuration of the UNet2DConditionModel.
        """
        super().__init__()  # type: ignore[no-untyped-call]
        self._video = Video()
        with torch.random.fork_rng(devices=[]):
            self.unet: Any = UNet2DConditionModel.from_config(dict(image_unet))
            torch.manual_seed(SEED)
            _inflate(self.unet, self._video)

    @classmethod
    def from_unet2d(cls, unet: Any) -> "SCVideoUNet":
        """Inflate a UNet2DConditionModel, whose weights are copied, with their dtype and device."""
        model: SCVideoUNet = cls(
            {name: value for name, value in unet.config.items() if not name.startswith("_")}
        )
        # diffusers' own `to` warns of every change of dtype.
        nn.Module.to(model, unet.device, unet.dtype)  # type: ignore[call-overload]
        weights = unet.state_dict()
        for name, value in model.unet.state_dict().items():
            if ".temporal." not in name:
                value.copy_(weights[name.replace(".spatial.", ".")])
        return model

    def inserted(self) -> Iterator[nn.Module]:
        """Yield the modules that the image model does not have."""
        for module in self.unet.modules():
            if isinstance(module, InflatedResnet | InflatedTransformer):
                yield module.temporal

    def forward(self, sample: Tensor, timestep: Tensor, encoder_hidden_states: Tensor) -> Tensor:
        """Predict from noisy latents what the image model was trained to.

        Args:
            sample: (B, C, F, h, w).
            timestep: One for all, (), or one for each video, (B,).
            encoder_hidden_states: Encoded texts (B, length, width).

        Returns:
            The prediction, (B, C, F, h, w).
        """
        self._video.frames = frames = sample.shape[2]
        output = self.unet(
            sample.transpose(1, 2).flatten(0, 1),
            timestep.repeat_interleave(frames) if timestep.ndim else timestep,
            encoder_hidden_states=encoder_hidden_states.repeat_interleave(frames, dim=0),
            return_dict=False,
        )[0]
        result: Tensor = output.unflatten(0, (-1, frames)).transpose(1, 2)
        return result


def _inflate(unet: Any, video: Video) -> None:
    """Wrap all ResNets and transformers of a UNet, and make its self-attention sparse-causal."""
    groups = unet.config.norm_num_groups
    for block in (*unet.down_blocks, unet.mid_block, *unet.up_blocks):
        for place, resnet in enumerate(block.resnets):
            convolution = TemporalConvLayer(resnet.out_channels, norm_num_groups=groups)
            block.resnets[place] = InflatedResnet(resnet, convolution, video)
        for place, transformer in enumerate(getattr(block, "attentions", ())):
            attention: Any = TransformerTemporalModel(
                transformer.config.num_attention_heads,
                transformer.config.attention_head_dim,
                in_channels=transformer.config.in_channels,
                norm_num_groups=groups,
            )
            # The convolution's last layer is zero as diffusers makes it, the attention's is not.
            nn.init.zeros_(attention.proj_out.weight)
            nn.init.zeros_(attention.proj_out.bias)
            block.attentions[place] = InflatedTransformer(transformer, attention, video)
    for name, module in unet.named_modules():
        if name.endswith(".attn1") and ".spatial." in name:
            module.set_processor(SparseCausalAttention(video))
