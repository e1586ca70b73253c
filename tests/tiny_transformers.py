"""Video transformers of a few thousand random weights, in the form that diffusers' pipelines have on disk.

16 × 16 pixels become 4 × 4 latent values, and 4·n + 1 frames n + 1.
"""

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKLCogVideoX,
    AutoencoderKLWan,
    CogVideoXDDIMScheduler,
    CogVideoXPipeline,
    CogVideoXTransformer3DModel,
    FlowMatchEulerDiscreteScheduler,
    UniPCMultistepScheduler,
    WanPipeline,
    WanTransformer3DModel,
)
from transformers import T5Config, T5EncoderModel, T5Tokenizer, UMT5Config, UMT5EncoderModel

from tests.tiny_models import LETTERS, randomise

PIECES = ["<pad>", "</s>", "<unk>", "▁", *LETTERS, *(f"▁{letter}" for letter in LETTERS)]
COGVIDEOX_LENGTH = 10
COGVIDEOX_FORMS: dict[str, dict[str, Any]] = {
    "2b": {},
    "5b": {"use_rotary_positional_embeddings": True},
    "1.5": {
        "use_rotary_positional_embeddings": True,
        "patch_size_t": 2,
        "patch_bias": False,
        "sample_height": 10,
        "sample_width": 10,
    },
}
WAN_SCHEDULERS = {
    "unipc": UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0),
    "euler": FlowMatchEulerDiscreteScheduler(shift=5.0),
}


def tiny_t5_tokenizer() -> T5Tokenizer:
    """A Unigram tokenizer that knows the letters."""
    vocab = [(piece, -float(index)) for index, piece in enumerate(PIECES)]
    return T5Tokenizer(vocab=vocab, extra_ids=0, model_max_length=512)


def _text(config: Any) -> dict[str, Any]:
    return {
        "config": config(
            vocab_size=len(PIECES),
            d_model=16,
            d_kv=8,
            d_ff=32,
            num_layers=2,
            num_heads=2,
            feed_forward_proj="gated-gelu",
        )
    }


def save_tiny_cogvideox(folder: Path, form: str) -> Path:
    """Save a CogVideoX of one of `COGVIDEOX_FORMS`, with the scheduler configuration of the 2B."""
    torch.manual_seed(0)
    transformer: Any = CogVideoXTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=16,
        in_channels=4,
        out_channels=4,
        time_embed_dim=8,
        text_embed_dim=16,
        num_layers=2,
        sample_frames=9,
        max_text_seq_length=COGVIDEOX_LENGTH,
        **{"sample_height": 4, "sample_width": 6, **COGVIDEOX_FORMS[form]},
    )
    vae: Any = AutoencoderKLCogVideoX(
        down_block_types=("CogVideoXDownBlock3D",) * 3,
        up_block_types=("CogVideoXUpBlock3D",) * 3,
        block_out_channels=(8, 8, 8),
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=2,
    )
    scheduler: Any = CogVideoXDDIMScheduler(
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        snr_shift_scale=3.0,
        timestep_spacing="trailing",
        clip_sample=False,
    )
    pipeline: Any = CogVideoXPipeline(
        tokenizer=tiny_t5_tokenizer(),
        text_encoder=randomise(T5EncoderModel(**_text(T5Config)), 0),
        vae=randomise(vae, 1),
        transformer=randomise(transformer, 2),
        scheduler=scheduler,
    )
    pipeline.save_pretrained(folder)
    return folder


def save_tiny_wan(folder: Path, scheduler: str) -> Path:
    """Save a Wan 2.1 with one of `WAN_SCHEDULERS`."""
    torch.manual_seed(0)
    transformer: Any = WanTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=16,
        in_channels=4,
        out_channels=4,
        text_dim=16,
        freq_dim=16,
        ffn_dim=32,
        num_layers=2,
    )
    vae: Any = AutoencoderKLWan(
        base_dim=4,
        z_dim=4,
        dim_mult=[1, 2, 2],
        num_res_blocks=1,
        temperal_downsample=[True, True],
        latents_mean=[-0.3, 0.1, 0.4, -0.2],
        latents_std=[0.8, 1.5, 0.6, 1.2],
        scale_factor_spatial=4,
    )
    pipeline: Any = WanPipeline(
        tokenizer=tiny_t5_tokenizer(),
        text_encoder=randomise(UMT5EncoderModel(**_text(UMT5Config)), 0),
        vae=randomise(vae, 1),
        transformer=randomise(transformer, 2),
        scheduler=WAN_SCHEDULERS[scheduler],
    )
    pipeline.save_pretrained(folder)
    return folder
