"""Hybrid semantics: which of the two prompts steers which denoising step (Eq 5 and 8).

Where rewritten prompts come from belongs to `onaspr_core.rewriting`.
"""

import math
from decimal import Decimal
from fractions import Fraction

from onaspr_core.errors import UserError


def rewritten_step_count(steps: int, gamma: float | Decimal) -> int:
    """Return Eq 8's m = ⌊steps·gamma⌋: how many of the first denoising steps use the rewritten prompt.

    The floor is of the exact decimal product: a float counts as the shortest decimal that names it, so 50
    steps at 0.58 are 29 and not the 28 that binary multiplication gives.

    Args:
        steps: Number of denoising steps, 0 or more.
        gamma: From 0 (no rewritten step) to 1 (all of them).

    Raises:
        UserError: for a gamma outside 0 … 1 or NaN, or a negative step count.
    """
    if steps < 0:
        raise UserError(f"steps = {steps}: it must be 0 or more")
    if math.isnan(gamma) or not 0 <= gamma <= 1:
        raise UserError(f"gamma = {gamma}: it must be a number from 0 to 1")
    return math.floor(steps * Fraction(str(gamma)))


def uses_rewritten_prompt(level_index: int, steps: int, rewritten_steps: int) -> bool:
    """Say whether the denoising step that leaves a level belongs to the first `rewritten_steps` (Eq 5).

    Args:
        level_index: The step's source level, from `steps` (the first step) down to 1 (the last).
        steps: Number of denoising steps.
        rewritten_steps: m of Eq 8.
    """
    return steps - level_index < rewritten_steps
