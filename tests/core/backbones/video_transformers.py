"""What the tests of video transformers share: their models, diffusers' pipelines, their settings."""

from pathlib import Path
from typing import Any

import torch
from diffusers import CogVideoXPipeline, UniPCMultistepScheduler, WanPipeline
from torch import Tensor

from onaspr_core.backbones.registry import load_backbone
from onaspr_core.settings import BackboneSettings
from tests.tiny_transformers import (
    COGVIDEOX_FORMS,
    COGVIDEOX_LENGTH,
    WAN_SCHEDULERS,
    save_tiny_cogvideox,
    save_tiny_wan,
)

FRAMES, HEIGHT, WIDTH = 9, 32, 16
STEPS = 10
MODELS = [*(f"cogvideox {form}" for form in COGVIDEOX_FORMS), *(f"wan {name}" for name in WAN_SCHEDULERS)]


def save(model: str, root: Path) -> Path:
    """Save one of `MODELS` under `root`, once."""
    family, form = model.split()
    folder = root / model
    if not folder.exists():
        (save_tiny_cogvideox if family == "cogvideox" else save_tiny_wan)(folder, form)
    return folder


def load(folder: Path, **changes: Any) -> Any:
    """Load a folder that `save` made, with changes to its settings."""
    shape = {"frames": FRAMES, "height": HEIGHT, "width": WIDTH}
    values: dict[str, Any] = {**shape, "device": "cpu", **changes}
    settings = BackboneSettings.model_validate({"family": folder.name.split()[0], "path": str(folder)})
    return load_backbone(settings.model_copy(update=values), Path())


def clips(count: int = 1, frames: int = FRAMES) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.rand(count, 3, frames, HEIGHT, WIDTH, generator=generator) * 2 - 1


def their_pipeline(folder: Path) -> Any:
    """diffusers' own pipeline of a folder.

    UniPC is given order 1 and no corrector: the first-order step of its grid, which is DDIM's.
    """
    kind: Any = CogVideoXPipeline if folder.name.startswith("cogvideox") else WanPipeline
    made = kind.from_pretrained(folder)
    scheduler: Any = made.scheduler
    made.set_progress_bar_config(disable=True)
    if isinstance(scheduler, UniPCMultistepScheduler):
        made.scheduler = UniPCMultistepScheduler.from_config(
            dict(made.scheduler.config), solver_order=1, disable_corrector=list(range(STEPS))
        )
    return made


def their_result(pipeline: Any, z: Tensor, prompts: list[str], guidance: float, output: str) -> Tensor:
    """Generate from noise (B, C, T, h, w): output "latent" gives its like, and "pt" video (B, F, 3, H, W)."""
    cogvideox = isinstance(pipeline, CogVideoXPipeline)
    result: Tensor = pipeline(
        prompts,
        latents=z.transpose(1, 2) if cogvideox else z,
        num_frames=FRAMES,
        height=HEIGHT,
        width=WIDTH,
        num_inference_steps=STEPS,
        guidance_scale=guidance,
        output_type=output,
        **({"max_sequence_length": COGVIDEOX_LENGTH} if cogvideox else {}),
    ).frames
    return result.transpose(1, 2) if cogvideox and output == "latent" else result
