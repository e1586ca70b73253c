"""Options beyond the paper (`docs/options.md`): which of them an experiment uses, and what each enters.

An option at its default is left out of keys, parameters and records, so that it moves nothing that was made
before there was such an option; fixed-point iterations alone were there from the start. What an option does
belongs to `onaspr_core.diffusion`.
"""

from typing import Any

from onaspr_core.settings import Experiment

_OF_INVERSION = {"forward_diffusion_steps", "whitening"}
_OF_MIXING = {"neighbours", "similarity_gate"}


def inversion_options(e: Experiment) -> dict[str, Any]:
    """Return the options in use that enter every inverted latent, by name, as JSON values."""
    return e.inversion.model_dump(mode="json", include=_OF_INVERSION, exclude_defaults=True)


def mixing_options(e: Experiment) -> dict[str, Any]:
    """Return the options in use that say how inverted noise enters a video, by name, as JSON values."""
    return e.inversion.model_dump(mode="json", include=_OF_MIXING, exclude_defaults=True)
