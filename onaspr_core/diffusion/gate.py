"""The similarity gate, beyond the paper: less inverted noise where the neighbour is unlike the prompt."""

DIGITS = 6
"""Similarities count to this digit, as they do in the version of neighbours."""


def gated_eta(eta: float, gate: tuple[float, float] | None, similarity: float) -> float:
    """Return eta times 0 up to a cosine of `low`, times 1 from `high` on, and linear between.

    Args:
        eta: From 0 to infinity; an infinite one stays so wherever the gate is not shut.
        gate: (low, high), low ≤ high, where equal ones let all through from there on; None leaves eta.
        similarity: The neighbour's cosine.
    """
    if gate is None:
        return eta
    low, high = gate
    cosine = round(similarity, DIGITS)
    if cosine >= high:
        return eta
    return eta * (cosine - low) / (high - low) if cosine > low else 0.0
