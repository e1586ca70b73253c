"""The SCVideo family: Stable Diffusion 1.5 or 2.1, inflated to video, from the image model's own folder.

A folder whose UNet is an `SCVideoUNet` has been trained on video (`onaspr_core.training`). One with a
UNet2DConditionModel is Stable Diffusion as it is, and is inflated when it is loaded: one frame, and frame 0
of more, is then what StableDiffusionPipeline makes with a DDIMScheduler. The weights that the paper's authors
trained were never published: with others, numbers are not the paper's.
"""

from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from onaspr_core.backbones import text_attention
from onaspr_core.backbones.base import DiffusionBackbone, Texts
from onaspr_core.backbones.clip_text import token_ids
from onaspr_core.backbones.frames import FrameAutoencoder
from onaspr_core.backbones.scvideo_unet import SCVideoUNet
from onaspr_core.backbones.weights import Weights, fit


class SCVideoBackbone(DiffusionBackbone):
    """See `onaspr_core.backbones.protocol.Backbone` for what the methods do."""

    def __init__(self, weights: Weights) -> None:
        """Load the components.

        Raises:
            UserError: when the autoencoder cannot make frames of that size, or for a prediction type that
                the solvers do not know.
        """
        self._tokenizer = weights.tokenizer(CLIPTokenizer)
        self._text_encoder = weights.model(CLIPTextModel, "text_encoder")
        self.unet = weights.prepared(weights.placed(_unet(weights)))
        self._frames = FrameAutoencoder(weights.autoencoder(AutoencoderKL), weights.device)
        shape = fit(weights.video_shape, self._frames.factor)
        channels = int(self.unet.config.image_unet["in_channels"])
        super().__init__(weights, (channels, *shape), weights.scheduler_config())
        self._attention = text_attention.install(self.unet)

    def encode(self, video: Tensor) -> Tensor:
        """Encode frame by frame: (B, 3, F, H, W) in [−1, 1] to (B, C, F, h, w) float32."""
        return self._frames.encode(video)

    def decode(self, latents: Tensor) -> Tensor:
        """Decode frame by frame: (B, C, F, h, w) to (B, 3, F, H, W) float32, clamped to [−1, 1]."""
        return self._frames.decode(latents)

    def encode_text(self, text: str) -> Texts:
        """Return the encoder's last hidden states, (1, length, width)."""
        ids = token_ids(self._tokenizer, self._text_encoder, text)
        return {"states": self._text_encoder(ids.to(self.weights.device))[0]}

    def denoiser(self, sample: Tensor, timestep: Tensor, texts: Texts) -> Tensor:
        """Call the UNet; the timestep may also be one for each latent, (B,)."""
        self._attention.attend_to(texts["states"])
        output: Tensor = self.unet(sample, timestep, texts["states"])
        return output


def load(weights: Weights) -> SCVideoBackbone:
    """Load the family."""
    return SCVideoBackbone(weights)


def _unet(weights: Weights) -> SCVideoUNet:
    """Load the UNet, inflated where it is the image model's, in main memory."""
    config = SCVideoUNet.load_config(weights.folder, subfolder="unet")
    if config.get("_class_name") == SCVideoUNet.__name__:
        saved: SCVideoUNet = weights.loaded(SCVideoUNet, "unet")
        return saved
    inflated: SCVideoUNet = SCVideoUNet.from_unet2d(weights.loaded(UNet2DConditionModel, "unet")).eval()
    return inflated
