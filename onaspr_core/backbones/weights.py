"""A model's folder, component by component: loaded, brought to dtype and device, and told when it is wrong.

What does not belong here: which components a family has (`registry`), hubs (`hub`), and what is computed.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from onaspr_core.errors import UserError
from onaspr_core.settings import BackboneSettings


class Weights:
    """The weights of one backbone of the settings.

    With `offload = "model"` a component is on the device while it is used, and in main memory before and
    after.
    """

    def __init__(self, folder: Path, settings: BackboneSettings, fingerprint: str) -> None:
        """Open a folder that has all files of its family.

        Raises:
            UserError: when the device is not there.
        """
        self.folder = folder
        self.settings = settings
        self.fingerprint = fingerprint
        self.device = _device(settings.device)
        self.dtype: torch.dtype = getattr(torch, settings.dtype)
        self.video_shape = (settings.frames, settings.height, settings.width)
        self._hooks: list[Any] = []

    def model(self, kind: Any, name: str, dtype: torch.dtype | None = None) -> Any:
        """Load a component, ready to be called.

        Args:
            kind: Its class in diffusers or transformers.
            name: Its folder.
            dtype: Another one than the settings'.
        """
        return self.placed(self.loaded(kind, name, dtype))

    def loaded(self, kind: Any, name: str, dtype: torch.dtype | None = None) -> Any:
        """Load a component as `model` does, into main memory: what is changed of it is changed there."""
        loaded = kind.from_pretrained(
            self.folder,
            subfolder=name,
            torch_dtype=dtype or self.dtype,
            use_safetensors=True,
            variant=_variant(self.folder / name),
        )
        return loaded.eval()

    def denoiser(self, kind: Any, name: str = "unet") -> Any:
        """Load the denoiser, laid out and compiled as the settings say."""
        return self.prepared(self.model(kind, name))

    def prepared(self, denoiser: nn.Module) -> Any:
        """Lay out and compile a denoiser as the settings say."""
        if self.settings.channels_last:
            # Temporal convolutions have five axes, and `Module.to` refuses the format for them.
            for parameter in denoiser.parameters():
                if parameter.ndim == 4:
                    parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
        if self.settings.compile:
            denoiser.compile()
        return denoiser

    def autoencoder(self, kind: Any, name: str = "vae") -> Any:
        """Load the autoencoder; one that overflows in half precision is kept in float32."""
        config = json.loads((self.folder / name / "config.json").read_text(encoding="utf-8"))
        upcast = config.get("force_upcast", False) and self.dtype == torch.float16
        loaded = self.model(kind, name, torch.float32 if upcast else None)
        if self.settings.vae_slicing:
            loaded.enable_slicing()
        if self.settings.vae_tiling:
            loaded.enable_tiling()
        return loaded

    def tokenizer(self, kind: Any, name: str = "tokenizer") -> Any:
        """Load a tokenizer."""
        return kind.from_pretrained(self.folder, subfolder=name)

    def scheduler_config(self) -> Mapping[str, Any]:
        """Return the content of scheduler_config.json."""
        path = self.folder / "scheduler" / "scheduler_config.json"
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return config

    def placed(self, module: Any) -> Any:
        """Bring a module to the device, now or whenever it is used."""
        if self.settings.offload != "model" or self.device.type == "cpu":
            return module.to(self.device)
        from accelerate import cpu_offload_with_hook

        previous = self._hooks[-1] if self._hooks else None
        module, hook = cpu_offload_with_hook(module, self.device, previous)
        self._hooks.append(hook)
        # The first comes again after the last.
        self._hooks[0].hook.prev_module_hook = hook if len(self._hooks) > 1 else None
        return module


def fit(video_shape: tuple[int, int, int], factor: int, per_latent: int = 1) -> tuple[int, int, int]:
    """Return frames, height and width (T, h, w) of the latent of a video of this shape.

    Args:
        video_shape: (F, H, W).
        factor: How many pixels a latent value stands for, in height and width.
        per_latent: How many frames each latent frame but the first stands for.

    Raises:
        UserError: when the shape is no multiple; it names what is.
    """
    frames, height, width = video_shape
    if height % factor or width % factor:
        raise UserError(
            f"frames of {height} × {width}: the model needs multiples of {factor}; change the settings"
        )
    if (frames - 1) % per_latent:
        below = (frames - 1) // per_latent * per_latent + 1
        raise UserError(
            f"frames = {frames}: the model needs {per_latent}·n + 1, such as {below} or "
            f"{below + per_latent}; change the settings"
        )
    return (frames - 1) // per_latent + 1, height // factor, width // factor


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as problem:
        raise UserError(f'device = {name!r} cannot be used here: {problem}; use "auto" or "cpu"') from problem
    return device


def _variant(folder: Path) -> str | None:
    """Return "fp16" where a component holds nothing but half-precision files."""
    files = [file.name for file in folder.glob("*.safetensors")]
    return "fp16" if files and all(".fp16." in file for file in files) else None
