"""Whitening, beyond the paper: inverted noise made nearer to white noise before it is mixed."""

import torch
from torch import Tensor

from onaspr_core.errors import UserError

WHITENINGS = ("none", "standardize", "spatial")


def whiten(noise: Tensor, whitening: str) -> Tensor:
    """Return inverted noise nearer to white noise.

    Args:
        noise: One latent (C, T, h, w); it is not changed.
        whitening: "none" returns it as it is. "standardize" gives the whole latent zero mean and unit
            variance. "spatial" first makes its power spectrum over (h, w) flat: at each spatial frequency
            the amplitude of every channel and frame is divided by the root mean square of all amplitudes of
            that radius, and phases are kept.

    Returns:
        A latent of its shape and dtype; a constant one becomes zeros.

    Raises:
        UserError: for another whitening.
    """
    if whitening not in WHITENINGS:
        raise UserError(f"whitening = {whitening!r}; known: {', '.join(WHITENINGS)}")
    if whitening == "none":
        return noise
    values = noise.double()
    if whitening == "spatial":
        values = _with_flat_spectrum(values)
    centred = values - values.mean()
    spread = centred.square().mean().sqrt()
    return (centred / spread if spread != 0 else torch.zeros_like(centred)).to(noise.dtype)


def frequency_rings(height: int, width: int) -> Tensor:
    """Return the ring that each frequency of a 2-D transform lies on, int64 (height, width).

    Rings are as wide as the lowest frequency of the longer side; ring 0 is the mean.
    """
    rows, columns = torch.fft.fftfreq(height), torch.fft.fftfreq(width)
    return (torch.hypot(rows[:, None], columns[None]) * max(height, width)).round().long()


def _with_flat_spectrum(values: Tensor) -> Tensor:
    """Divide each Fourier coefficient over (h, w) by its ring's root mean square amplitude."""
    spectrum = torch.fft.fft2(values)
    rings = frequency_rings(*values.shape[-2:]).to(values.device)
    power = spectrum.abs().square().mean(dim=(0, 1)).flatten()
    count = torch.bincount(rings.flatten())
    sums = torch.bincount(rings.flatten(), weights=power)
    amplitude = (sums / count.clamp(min=1)).sqrt()[rings]
    flat = torch.where(amplitude > 0, spectrum / amplitude, torch.zeros_like(spectrum))
    whitened: Tensor = torch.fft.ifft2(flat).real
    return whitened
