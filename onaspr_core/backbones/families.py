"""The families of models as a table: which components each has, and which file of this room loads it."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

PICKLES = (".bin", ".ckpt", ".pt")
"""Suffixes of weights that are never read."""

Classes = tuple[str, ...]
"""The classes that a component may be of, by the name that its config.json gives."""


class Family(NamedTuple):
    """What a family's folder holds, and who loads it.

    `module` is a file of this room with a function `load(weights) -> Backbone`. `models` are the folders of
    components with weights. `files` must be there too. `elsewhere` are components that lie outside of the
    folder: each has a setting of its name, a folder or hub id, and one of its revision, `NAME_revision`.
    """

    module: str
    models: Mapping[str, Classes]
    files: tuple[str, ...]
    elsewhere: Mapping[str, Classes] = MappingProxyType({})


_SCHEDULER = "scheduler/scheduler_config.json"
_TOKENIZER = "tokenizer/tokenizer_config.json"

_OF_IMAGES: Mapping[str, Classes] = {
    "unet": ("UNet2DConditionModel",),
    "vae": ("AutoencoderKL",),
    "text_encoder": ("CLIPTextModel",),
}

FAMILIES: Mapping[str, Family] = {
    "modelscope": Family(
        module="unet3d",
        models={**_OF_IMAGES, "unet": ("UNet3DConditionModel",)},
        files=(_TOKENIZER, _SCHEDULER),
    ),
    "scvideo": Family(
        module="scvideo",
        models={**_OF_IMAGES, "unet": ("UNet2DConditionModel", "SCVideoUNet")},
        files=(_TOKENIZER, _SCHEDULER),
    ),
    "stable-diffusion-1.5": Family(
        module="stable_diffusion", models=_OF_IMAGES, files=(_TOKENIZER, _SCHEDULER)
    ),
    "sdxl": Family(
        module="sdxl",
        models={**_OF_IMAGES, "text_encoder_2": ("CLIPTextModelWithProjection",)},
        files=(_TOKENIZER, "tokenizer_2/tokenizer_config.json", _SCHEDULER, "model_index.json"),
    ),
    "animatediff": Family(
        module="animatediff",
        models=_OF_IMAGES,
        files=(_TOKENIZER, _SCHEDULER),
        elsewhere={"motion_adapter": ("MotionAdapter",)},
    ),
    "cogvideox": Family(
        module="cogvideox",
        models={
            "transformer": ("CogVideoXTransformer3DModel",),
            "vae": ("AutoencoderKLCogVideoX",),
            "text_encoder": ("T5EncoderModel",),
        },
        files=(_TOKENIZER, _SCHEDULER),
    ),
    "wan": Family(
        module="wan",
        models={
            "transformer": ("WanTransformer3DModel",),
            "vae": ("AutoencoderKLWan",),
            "text_encoder": ("UMT5EncoderModel",),
        },
        files=(_TOKENIZER, _SCHEDULER, "model_index.json"),
    ),
}
