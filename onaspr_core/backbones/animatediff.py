"""AnimateDiff: a Stable Diffusion 1.5 model and the motion modules that let its frames see each other.

Results equal those of diffusers' AnimateDiffPipeline with a DDIM scheduler of linear betas.
"""

from collections.abc import Mapping
from typing import Any

from diffusers import MotionAdapter, UNet2DConditionModel, UNetMotionModel

from onaspr_core.backbones.unet import UNetBackbone
from onaspr_core.backbones.weights import Weights
from onaspr_core.diffusion.levels import check_betas
from onaspr_core.errors import UserError


class AnimateDiffBackbone(UNetBackbone):
    """See `onaspr_core.backbones.protocol.Backbone` for what the methods do."""

    def load_unet(self, weights: Weights) -> Any:
        """Load the image model's UNet and put the motion modules into it.

        Raises:
            UserError: when the two do not fit, or the motion modules know fewer frames than the settings ask
                for.
        """
        adapter = weights.loaded(MotionAdapter, "motion_adapter")
        longest, frames = adapter.config.motion_max_seq_length, weights.settings.frames
        if frames > longest:
            raise UserError(
                f"frames = {frames}: the motion adapter knows at most {longest}; change the settings"
            )
        try:
            unet = UNetMotionModel.from_unet2d(weights.loaded(UNet2DConditionModel, "unet"), adapter)
        except (ValueError, RuntimeError) as problem:
            raise UserError(
                f"motion adapter {weights.settings.motion_adapter!r} does not fit backbone "
                f"{weights.settings.path!r}: {problem}; name one that was made for this kind of model"
            ) from problem
        return weights.prepared(unet.eval())

    def noise_schedule(self, weights: Weights) -> Mapping[str, Any]:
        """Return the image model's configuration with linear betas, which motion modules are trained with.

        Raises:
            UserError: when the image model has no betas.
        """
        config = weights.scheduler_config()
        check_betas(config)
        return {**config, "beta_schedule": "linear"}


def load(weights: Weights) -> AnimateDiffBackbone:
    """Load the family."""
    return AnimateDiffBackbone(weights)
