"""Pixels are cones: the Gaussian that stands for a piece of a ray's cone."""

from typing import Literal

import torch
from torch import Tensor

from nerfreg.views import Rays

__all__ = ["RayShape", "cast", "cone_moments", "cylinder_moments", "lift"]

RayShape = Literal["cone", "cylinder"]

# Published code divides by at least this also in float64; equal numbers need the equal constant.
EPS = torch.finfo(torch.float32).eps


def cone_moments(edges: Tensor, radii: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Give the mean along, variance along and variance across the axis of each conical frustum.

    With μ the middle and δ half the length of an interval, the moments are written as corrections
    of μ, so that thin far frusta do not cancel:

        mean = μ + 2μδ²/(3μ² + δ²)
        along = δ²/3 − 4δ⁴(12μ² − δ²)/(15(3μ² + δ²)²)
        across = ṙ²·(μ²/4 + 5δ²/12 − 4δ⁴/(15(3μ² + δ²)))

    Args:
        edges: (…, S+1) ray parameters t.
        radii: (…, 1) radius of the cone at t = 1.

    Returns:
        Three tensors (…, S), in units of t, t² and world length².

    Source: Barron et al., "Mip-NeRF" (2021), eqs. 7 and 8 and the stable form of its supplement.
    """
    starts, ends = edges[..., :-1], edges[..., 1:]
    middle, half = (starts + ends) / 2, (ends - starts) / 2
    middle2, half2 = middle.square(), half.square()
    denominator = (3 * middle2 + half2).clamp_min(EPS)
    mean = middle + 2 * middle * half2 / denominator
    along = half2 / 3 - (4 / 15) * half2.square() * (12 * middle2 - half2) / denominator.square()
    across = middle2 / 4 + (5 / 12) * half2 - (4 / 15) * half2.square() / denominator
    return mean, along, across * radii.square()


def cylinder_moments(edges: Tensor, radii: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Give the moments of :func:`cone_moments` for a cylinder of the same radius everywhere.

    After the map to normalised device coordinates a pixel's cone has constant width, hence
    cylinders there.
    """
    starts, ends = edges[..., :-1], edges[..., 1:]
    mean = (starts + ends) / 2
    return mean, (ends - starts).square() / 12, (radii.square() / 4).expand_as(mean)


def lift(
    directions: Tensor, mean: Tensor, along: Tensor, across: Tensor, *, diagonal: bool = True
) -> tuple[Tensor, Tensor]:
    """Place moments along a ray in space, relative to its origin.

    Σ = along·ddᵀ + across·(I − ddᵀ/‖d‖²): the first along the ray, the second in the plane across
    it.

    Args:
        directions: (…, 3), not normalised.
        mean: (…, S) position along the ray, in t.
        along: (…, S) variance of t.
        across: (…, S) variance across the ray, world length².
        diagonal: give only the diagonal of Σ, which is all that the encoding reads.

    Returns:
        Means (…, S, 3) and variances (…, S, 3), or covariances (…, S, 3, 3).
    """
    means = mean[..., None] * directions[..., None, :]
    squares = directions.square()
    norm2 = squares.sum(-1, keepdim=True).clamp_min(1e-10)
    if diagonal:
        rejection = 1 - squares / norm2
        return means, along[..., None] * squares[..., None, :] + across[..., None] * rejection[
            ..., None, :
        ]
    outer = directions[..., :, None] * directions[..., None, :]
    rejection = torch.eye(3, dtype=outer.dtype, device=outer.device) - outer / norm2[..., None]
    covariances = (
        along[..., None, None] * outer[..., None, :, :]
        + across[..., None, None] * rejection[..., None, :, :]
    )
    return means, covariances


def cast(
    rays: Rays, edges: Tensor, shape: RayShape = "cone", *, diagonal: bool = True
) -> tuple[Tensor, Tensor]:
    """Give the Gaussian of each interval of each ray, in world coordinates.

    Args:
        rays: batch (…).
        edges: (…, S+1) interval bounds in t.
        shape: ``"cone"`` in metric space, ``"cylinder"`` in normalised device coordinates.
        diagonal: see :func:`lift`.

    Returns:
        Means (…, S, 3) and variances (…, S, 3), or covariances (…, S, 3, 3).
    """
    moments = cone_moments if shape == "cone" else cylinder_moments
    means, covariances = lift(rays.directions, *moments(edges, rays.radii), diagonal=diagonal)
    return rays.origins[..., None, :] + means, covariances
