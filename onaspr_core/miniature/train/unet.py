"""The form that the UNets of images and of videos share.

What does not belong here: `attention_head_dim`, the number of heads in one and their size in the other.
"""

from typing import Any, Literal

from onaspr_core.miniature.train.text import WIDTH


def unet_arguments(dimensions: Literal["2D", "3D"], channels: tuple[int, int]) -> dict[str, Any]:
    """Return the arguments of a UNet of two resolutions, with down and up blocks for text at the upper one.

    Args:
        dimensions: What the names of diffusers' blocks end with.
        channels: Those of the upper and of the lower resolution; multiples of 8.
    """
    return {
        "sample_size": 8,
        "block_out_channels": channels,
        "down_block_types": (f"CrossAttnDownBlock{dimensions}", f"DownBlock{dimensions}"),
        "up_block_types": (f"UpBlock{dimensions}", f"CrossAttnUpBlock{dimensions}"),
        "layers_per_block": 1,
        "cross_attention_dim": WIDTH,
        "norm_num_groups": 8,
    }
