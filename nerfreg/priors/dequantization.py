"""From 8-bit levels to densities and back: what gives a log-likelihood its meaning."""

import math

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

__all__ = ["bits_per_dim", "dequantize"]


def dequantize(
    levels: UInt8[Tensor, "*shape"], generator: torch.Generator | None = None
) -> Float[Tensor, "*shape"]:
    r"""Spread each 8-bit level evenly over the interval that it stands for.

    .. math:: x = (k + u - \tfrac12)/255,\qquad u \sim U[0, 1)

    A density fitted to the levels themselves could put infinite spikes on 256 numbers.

    Args:
        levels: k.
        generator: on the device of ``levels``.

    Returns:
        Colours: level k on the mean at k/255, so from −1/510 to 1 + 1/510, float32.

    Raises:
        TypeError: ``levels`` is not ``uint8``.

    Source: Theis, van den Oord, Bethge 2016, uniform dequantisation. *Differs from upstream in:*
    others scale to (k + u)/256, where a colour rendered as k/255 does not lie in the middle.

    Example:
        >>> dequantize(torch.full((2,), 255, dtype=torch.uint8)).round().tolist()
        [1.0, 1.0]
    """
    if levels.dtype != torch.uint8:
        raise TypeError(f"dequantize: levels must be uint8, got {levels.dtype}")
    noise = torch.rand(levels.shape, generator=generator, device=levels.device)
    return (levels + (noise - 0.5)) / 255


def bits_per_dim(log_prob: Float[Tensor, "*n"], n_dims: int) -> Float[Tensor, "*n"]:
    r"""Turn the log-density of dequantised patches into bits per colour value.

    .. math:: \log_2 255 - \frac{\log p(x)}{d \ln 2}

    On average over the noise it bounds from above how many bits a lossless code built on this
    density spends on each of the d 8-bit values. Smaller is better; 8 is no knowledge at all.

    Args:
        log_prob: in nats, a density over colours in [0, 1].
        n_dims: d, numbers in a patch: 3·P².

    Source: Theis, van den Oord, Bethge 2016, equation 3.

    Example:
        >>> uniform = torch.zeros(1)  # log-density of colours spread evenly over [0, 1]
        >>> round(bits_per_dim(uniform, 192).item(), 3)
        7.994
    """
    return math.log2(255) - log_prob / (n_dims * math.log(2))
