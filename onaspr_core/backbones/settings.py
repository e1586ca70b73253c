"""The settings of a backbone: which model, from where, at what shape, and how it computes.

What does not belong here: reading the settings file (`onaspr_core.settings`).
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from onaspr_core.setting_types import Count, Positive, Section

Family = Literal["modelscope", "scvideo", "stable-diffusion-1.5", "sdxl", "animatediff", "cogvideox", "wan"]
OF_IMAGES: frozenset[str] = frozenset({"stable-diffusion-1.5", "sdxl"})
"""Families that make images."""


class BackboneSettings(Section):
    """A diffusion model: which family, from where, at what shape.

    `path` is a folder, or a hub id at `revision`: a branch, a tag, or best a commit, which never moves.
    What a branch named first stays; delete the folder that it was put in to have it anew.
    `motion_adapter`, with `motion_adapter_revision`, names the motion modules that family animatediff puts
    into the model, in the same two ways.
    `vae_tiling` lets the autoencoder work tile by tile, which large frames show. `device` and what follows
    change no result but for rounding: `offload` "model" keeps in GPU memory only the component that
    computes, `vae_slicing` sends one frame at a time through an autoencoder of frames, where others take
    one clip at a time anyway, `channels_last` and `compile` are PyTorch's.
    """

    family: Family
    path: str
    revision: str = "main"
    motion_adapter: str | None = None
    motion_adapter_revision: str = "main"
    frames: Count = 16
    height: Annotated[int, Field(ge=8, multiple_of=8)] = 256
    width: Annotated[int, Field(ge=8, multiple_of=8)] = 256
    fps: Positive = 8.0
    dtype: Literal["float32", "float16", "bfloat16"] = "float32"
    vae_tiling: bool = False
    device: str = "auto"
    offload: Literal["none", "model"] = "none"
    vae_slicing: bool = False
    channels_last: bool = False
    compile: bool = False

    @property
    def makes_images(self) -> bool:
        """Whether what comes out is an image: one frame, of whatever family."""
        return self.frames == 1

    @property
    def noun(self) -> str:
        """What people call what comes out: "image" or "video"."""
        return "image" if self.makes_images else "video"

    @property
    def suffix(self) -> str:
        """The suffix of the files that hold it."""
        return ".png" if self.makes_images else ".mp4"

    @model_validator(mode="after")
    def _images_have_one_frame(self) -> "BackboneSettings":
        if self.family in OF_IMAGES and self.frames != 1:
            raise ValueError(f"family {self.family} makes images: set frames = 1")
        return self

    @model_validator(mode="after")
    def _motion_has_an_adapter(self) -> "BackboneSettings":
        if self.family == "animatediff" and self.motion_adapter is None:
            raise ValueError("family animatediff needs motion_adapter: name a folder or hub id")
        if self.family != "animatediff" and self.motion_adapter is not None:
            raise ValueError(f"family {self.family} takes no motion_adapter: remove it")
        if self.motion_adapter is None and self.motion_adapter_revision != "main":
            raise ValueError(f"family {self.family} takes no motion_adapter_revision: remove it")
        return self


WITHOUT_EFFECT = frozenset({"device", "offload", "vae_slicing", "channels_last", "compile"})
"""Settings of a backbone that say where and how it computes, and count for nothing."""
