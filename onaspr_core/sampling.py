"""The paper's two walks with a backbone: from noise to a clean latent (Eq 5), from a clip to noise (Eq 2).

The steps are `onaspr_core.diffusion.solvers`; which prompts, clips and noise go in is decided by the stages.
"""

from collections.abc import Sequence

from torch import Tensor

from onaspr_core.backbones.protocol import Backbone
from onaspr_core.diffusion.semantics import uses_rewritten_prompt
from onaspr_core.diffusion.solvers import denoise, diffuse, invert


def sample_latents(
    backbone: Backbone,
    noise: Tensor,
    prompts: Sequence[str],
    *,
    steps: int,
    guidance: float | None,
    rewritten: Sequence[str] | None = None,
    rewritten_steps: int = 0,
) -> Tensor:
    """Denoise a batch of initial noise, steered first by the rewritten prompts and then by the original ones.

    Args:
        backbone: The diffusion model.
        noise: (B, C, T, h, w) float32, at the grid's last level.
        prompts: The B original prompts.
        steps: Number of denoising steps, T of the paper.
        guidance: Classifier-free guidance scale; None or up to 1 for none.
        rewritten: The B rewritten prompts; needed where rewritten_steps is above 0.
        rewritten_steps: How many of the first steps use them, m of Eq 8.

    Returns:
        Clean latents (B, C, T, h, w), on the backbone's device.
    """
    levels = backbone.levels(steps)
    original = backbone.encode_prompts(prompts)
    enriched = backbone.encode_prompts(rewritten) if rewritten and rewritten_steps else original

    def predict(z: Tensor, level: int) -> Tensor:
        conditioning = enriched if uses_rewritten_prompt(level, steps, rewritten_steps) else original
        return backbone.predict(z, level, conditioning, guidance)

    return denoise(predict, noise.to(backbone.device), levels, backbone.prediction_type)


def invert_latents(
    backbone: Backbone,
    latents: Tensor,
    *,
    steps: int,
    fixed_point_iterations: int = 0,
    forward: tuple[int, Tensor] | None = None,
) -> Tensor:
    """Invert a batch of clean latents with the empty prompt and without guidance (Eq 2).

    Args:
        backbone: The diffusion model.
        latents: (B, C, T, h, w) float32, as the backbone encodes clips.
        steps: Number of steps: those of the generation that the noise is for.
        fixed_point_iterations: As for `onaspr_core.diffusion.solvers.invert`.
        forward: A level and Gaussian noise (B, C, T, h, w). Up to that level latents are diffused forward
            with it, and inverted from there on. None is the paper: inversion all the way.

    Returns:
        Inverted noise (B, C, T, h, w), on the backbone's device.

    Raises:
        UserError: for a level that is not within the steps.
    """
    levels = backbone.levels(steps)
    empty = backbone.encode_prompts([""] * len(latents))

    def predict(z: Tensor, level: int) -> Tensor:
        return backbone.predict(z, level, empty)

    z, start = latents.to(backbone.device), 0
    if forward is not None:
        start, gaussian = forward
        z = diffuse(z, gaussian.to(z), levels, start)
    return invert(predict, z, levels, backbone.prediction_type, fixed_point_iterations, start)
