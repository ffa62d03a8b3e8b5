"""Positions as features: sines and cosines, at a point or averaged over a Gaussian."""

import torch
from torch import Tensor

__all__ = ["encode_gaussian", "encode_point", "expected_sin"]


def expected_sin(mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
    """Give mean and variance of sin(x) for x ~ N(mean, variance).

    E[sin x] = exp(−σ²/2)·sin μ and Var[sin x] = ½(1 − exp(−2σ²)·cos 2μ) − E[sin x]².
    """
    expected = torch.exp(-variance / 2) * torch.sin(mean)
    spread = (1 - torch.exp(-2 * variance) * torch.cos(2 * mean)) / 2 - expected.square()
    return expected, spread.clamp_min(0)


def encode_gaussian(mean: Tensor, variance: Tensor, min_degree: int, max_degree: int) -> Tensor:
    """Encode a Gaussian by its expected sines and cosines at frequencies 2^min … 2^(max−1).

    A frequency whose period is smaller than the Gaussian averages to zero, and so carries no
    aliased detail. Only the diagonal of the covariance enters, since every frequency is along an
    axis.

    Args:
        mean: (…, 3).
        variance: (…, 3), the diagonal of the covariance.
        min_degree: the first octave.
        max_degree: one past the last octave.

    Returns:
        (…, 2·3·(max − min)): all sines (octave by octave, x y z within), then all cosines alike.

    Source: Barron et al., "Mip-NeRF" (2021), eqs. 13 and 14.
    """
    octaves = _octaves(mean, min_degree, max_degree)
    phase = (mean[..., None, :] * octaves).flatten(-2)
    damping = torch.exp((variance[..., None, :] * (octaves.square() / -2)).flatten(-2))
    return torch.cat((damping * torch.sin(phase), damping * torch.cos(phase)), -1)


def encode_point(
    point: Tensor, min_degree: int, max_degree: int, *, append_identity: bool = False
) -> Tensor:
    """Encode a point by sines and cosines at frequencies 2^min … 2^(max−1).

    Args:
        point: (…, 3), a position or a unit view direction.
        min_degree: the first octave.
        max_degree: one past the last octave.
        append_identity: put the point itself before its sines.

    Returns:
        (…, [3 +] 2·3·(max − min)), ordered as :func:`encode_gaussian`.
    """
    phase = (point[..., None, :] * _octaves(point, min_degree, max_degree)).flatten(-2)
    identity = (point,) if append_identity else ()
    return torch.cat((*identity, torch.sin(phase), torch.cos(phase)), -1)


def _octaves(like: Tensor, min_degree: int, max_degree: int) -> Tensor:
    """Give the frequencies (L, 1): powers of two, exact in every floating type."""
    degrees = torch.arange(min_degree, max_degree, dtype=like.dtype, device=like.device)
    return torch.exp2(degrees)[:, None]
