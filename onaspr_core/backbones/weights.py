"""A model's folder, component by component: loaded, brought to dtype and device, and told when it is wrong.

What does not belong here: which components a family has (`families`), hubs (`hub`), and what is computed.
"""

import json
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedTokenizerFast, T5Tokenizer

from onaspr_core.backbones.model_files import ModelFiles, is_half
from onaspr_core.backbones.offload import Turns
from onaspr_core.devices import chosen_device
from onaspr_core.errors import UserError
from onaspr_core.settings import BackboneSettings


class Weights:
    """The weights of one backbone of the settings.

    With `offload = "model"` a component is on the device while it is used, and in main memory before and
    after.
    """

    def __init__(self, files: ModelFiles, settings: BackboneSettings, fingerprint: str) -> None:
        """Take the files of a model, all there and of its family.

        Raises:
            UserError: when the device is not there.
        """
        self.files = files
        self.settings = settings
        self.fingerprint = fingerprint
        self.device = _device(settings.device)
        self.dtype: torch.dtype = getattr(torch, settings.dtype)
        self.video_shape = (settings.frames, settings.height, settings.width)
        self._turns = Turns(self.device) if settings.offload == "model" else None

    def place(self, name: str) -> Path:
        """Return the folder of a component."""
        return self.files.elsewhere.get(name, self.files.folder / name)

    def model(self, kind: Any, name: str, dtype: torch.dtype | None = None) -> Any:
        """Load a component, ready to be called; the arguments are those of `loaded`."""
        return self.placed(self.loaded(kind, name, dtype))

    def loaded(self, kind: Any, name: str, dtype: torch.dtype | None = None) -> Any:
        """Load a component into main memory.

        Args:
            kind: Its class in diffusers or transformers.
            name: What it is called in `place`.
            dtype: Another one than the settings'.
        """
        folder = self.place(name)
        return kind.from_pretrained(
            folder, torch_dtype=dtype or self.dtype, use_safetensors=True, variant=_variant(folder)
        ).eval()

    def denoiser(self, kind: Any, name: str = "unet") -> Any:
        """Load the denoiser, ready to be called and as the settings say."""
        return self.prepared(self.loaded(kind, name))

    def prepared(self, denoiser: nn.Module) -> Any:
        """Bring a denoiser to the device, laid out and compiled as the settings say."""
        placed = self.placed(denoiser)
        if self.settings.channels_last:
            _lay_out(placed)
        if self.settings.compile:
            placed.compile()
        return placed

    def autoencoder(
        self, kind: Any, name: str = "vae", dtype: torch.dtype | None = None, upcast: bool = False
    ) -> Any:
        """Load the autoencoder.

        Args:
            kind: Its class in diffusers.
            name: What it is called in `place`.
            dtype: Another one than the settings'.
            upcast: Keeps one that overflows in half precision, by its own word, in float32.
        """
        if (
            upcast
            and self.dtype == torch.float16
            and _read(self.place(name) / "config.json").get("force_upcast")
        ):
            dtype = torch.float32
        loaded = self.model(kind, name, dtype)
        if self.settings.vae_slicing:
            loaded.enable_slicing()
        if self.settings.vae_tiling:
            loaded.enable_tiling()
        return loaded

    def tokenizer(self, kind: Any, name: str = "tokenizer") -> Any:
        """Load a tokenizer."""
        return kind.from_pretrained(self.place(name))

    def t5_tokenizer(self, name: str = "tokenizer") -> Any:
        """Load the tokenizer of a T5 encoder: its tokenizer.json to the letter, or else its vocabulary.

        Raises:
            UserError: when the package that reads the vocabulary is not installed.
        """
        place = self.place(name)
        if (place / "tokenizer.json").is_file():
            # T5Tokenizer would put its own rule for unknown characters in the place of the file's.
            return PreTrainedTokenizerFast.from_pretrained(place)
        if find_spec("sentencepiece") is None:
            raise UserError(
                f"{place} is read by the package sentencepiece, which is not installed; run "
                "`pip install -e '.[t5]'`"
            )
        return T5Tokenizer.from_pretrained(place)

    def scheduler_config(self) -> Mapping[str, Any]:
        """Return the content of scheduler_config.json."""
        return _read(self.files.folder / "scheduler" / "scheduler_config.json")

    def pipeline_config(self) -> Mapping[str, Any]:
        """Return the content of model_index.json."""
        return _read(self.files.folder / "model_index.json")

    def placed(self, module: Any) -> Any:
        """Bring a module to the device, now or whenever it is used."""
        return module.to(self.device) if self._turns is None else self._turns.add(module)


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
    try:
        device = torch.device(chosen_device(name))
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as problem:
        raise UserError(f'device = {name!r} cannot be used here: {problem}; use "auto" or "cpu"') from problem
    return device


def _read(path: Path) -> Mapping[str, Any]:
    config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return config


def _variant(folder: Path) -> str | None:
    """Return "fp16" where a component holds nothing but half-precision files."""
    files = [file.name for file in folder.glob("*.safetensors")]
    return "fp16" if files and all(map(is_half, files)) else None


def _lay_out(module: nn.Module) -> None:
    """Put the channels of all convolutions last; `Module.to` does not take those in space and time."""
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    for parameter in module.parameters():
        if parameter.ndim in formats:
            parameter.data = parameter.data.contiguous(memory_format=formats[parameter.ndim])
