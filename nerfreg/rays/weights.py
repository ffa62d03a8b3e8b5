"""From density or opacity along a ray to the probability of stopping in each interval."""

import math
from typing import Any

from jaxtyping import Float, Integer

from nerfreg.arrays import Array, at_least_float32, clip, namespace, within
from nerfreg.checks import require_floating, require_one_device, require_shape
from nerfreg.rays.layout import Layout, before, ray_layout, spread, total

__all__ = ["opacity", "weights_from_alpha", "weights_from_density"]


def weights_from_density(
    density: Float[Array, "*rays samples"],
    starts: Float[Array, "*rays samples"],
    ends: Float[Array, "*rays samples"],
    direction_norm: Float[Array, "*n_rays"] | None = None,
    *,
    ray_indices: Integer[Array, " samples"] | None = None,
    n_rays: int | None = None,
) -> Float[Array, "*rays samples"]:
    r"""Compute the probability that a ray stops in each of its intervals.

    .. math:: w_k = T_k (1 - e^{-\tau_k}),\quad T_k = e^{-\sum_{j<k}\tau_j},\quad
        \tau_k = \mathrm{density}_k\,(\mathrm{ends}_k - \mathrm{starts}_k)\,\|d\|

    Args:
        density: σ ≥ 0, per unit of *distance*.
        starts: lower bounds of the intervals, in the ray parameter t.
        ends: upper bounds. Gaps between intervals are empty space.
        direction_norm: ‖d‖, the distance of a unit of t, one a ray. ``None`` means unit directions.
        ray_indices: ray of each sample, sorted, if samples are packed (N,).
        n_rays: number of rays, if samples are packed.

    Returns:
        Weights in [0, 1] with sum ≤ 1.

    Raises:
        TypeError: an argument is not a floating-point array.
        ValueError: shapes differ, or ``direction_norm`` is not one number a ray; or as
            :class:`RayTermination` for packed samples.

    Numerics: computed in float32 or better, through ``expm1``, so thin intervals keep their
    relative precision. An open last interval (end 1e10) is opaque where its density is positive.

    Source: Mildenhall et al. 2020 (NeRF), equation 3. *Differs from upstream in:* nothing against
    mip-NeRF's code; NeRF's multiplies transmittances (1 − α + 1e-10), which keeps 1e-10 behind an
    opaque surface.

    Example:
        >>> import math, torch
        >>> density = torch.full((1, 2), math.log(2.0))  # a unit of way stops half of what arrives
        >>> starts, ends = torch.tensor([[0.0, 1.0]]), torch.tensor([[1.0, 2.0]])
        >>> [round(w, 6) for w in weights_from_density(density, starts, ends)[0].tolist()]
        [0.5, 0.25]
    """
    name = "weights_from_density"
    require_floating(name, density=density, starts=starts, ends=ends, direction_norm=direction_norm)
    rays = ray_layout(name, ray_indices, n_rays, density=density, starts=starts, ends=ends)
    require_one_device(name, density=density, direction_norm=direction_norm)
    density, starts, ends = at_least_float32(density, starts, ends)
    xp = namespace(density)
    length = ends - starts
    if direction_norm is not None:
        require_shape(name, "one a ray", rays.ray_shape, direction_norm=direction_norm)
        (norm,) = at_least_float32(direction_norm)
        # An infinite length of empty space would be 0 · ∞.
        length = clip(length * spread(rays, norm), None, 1e30)
    thickness = density * length
    return -xp.expm1(-thickness) * xp.exp(-_in_front(rays, thickness))


def weights_from_alpha(
    alpha: Float[Array, "*rays samples"],
    *,
    ray_indices: Integer[Array, " samples"] | None = None,
    n_rays: int | None = None,
) -> Float[Array, "*rays samples"]:
    r"""Compute the probability that a ray stops at each of its samples from their opacities.

    .. math:: w_k = \alpha_k \prod_{j<k} (1 - \alpha_j)

    Args:
        alpha: probability of stopping at a sample for a ray that reaches it, in [0, 1].
        ray_indices: ray of each sample, sorted, if samples are packed (N,).
        n_rays: number of rays, if samples are packed.

    Returns:
        Weights in [0, 1] with sum ≤ 1.

    Raises:
        TypeError: ``alpha`` is not a floating-point array.
        ValueError: a dense ray has no sample; or as :class:`RayTermination` for packed samples.

    Numerics: float32 or better. The product is a sum of logarithms, cut off where nothing arrives
    any more; so α = 1 has a finite gradient (0 for what lies behind it), where products' own
    derivative divides by 1 − α.

    Source: Mildenhall et al. 2020 (NeRF), equation 3; nerfacc's ``render_weight_from_alpha``.

    Example:
        >>> import torch
        >>> weights_from_alpha(torch.tensor([0.5, 0.5, 1.0])).tolist()
        [0.5, 0.25, 0.25]
    """
    name = "weights_from_alpha"
    require_floating(name, alpha=alpha)
    rays = ray_layout(name, ray_indices, n_rays, alpha=alpha)
    (alpha,) = at_least_float32(alpha)
    xp = namespace(alpha)
    # exp(−1000) is 0, so a sample with α = 1 hides what is behind; its own logarithm is not taken.
    opaque = alpha >= 1.0
    thickness = xp.where(opaque, 1e3, -xp.log1p(-xp.where(opaque, 0.0, alpha)))
    return alpha * xp.exp(-_in_front(rays, thickness))


def opacity(
    weights: Float[Array, "*rays samples"],
    *,
    ray_indices: Integer[Array, " samples"] | None = None,
    n_rays: int | None = None,
) -> Float[Array, "*n_rays"]:
    """Sum the weights: the probability that the ray stops at all.

    Args:
        weights: probability of stopping in each interval.
        ray_indices: ray of each sample, sorted, if samples are packed (N,).
        n_rays: number of rays, if samples are packed.

    Example:
        >>> import torch
        >>> opacity(torch.tensor([0.5, 0.25])).item()
        0.75
    """
    require_floating("opacity", weights=weights)
    rays = ray_layout("opacity", ray_indices, n_rays, weights=weights)
    (weights,) = at_least_float32(weights)
    return total(rays, weights)


def _in_front(rays: Layout, thickness: Any) -> Any:
    """Sum the thickness in front of each sample."""
    if rays.ray_indices is not None:
        # All rays are summed at once there, of which one of infinite thickness would leave the
        # others nothing. Behind this much nothing arrives: exp(−128) is 0, in float64 exp(−1000).
        xp = namespace(thickness)
        enough = 1e3 if thickness.dtype == xp.float64 else 128.0
        thickness = within(thickness, -math.inf, enough)
    return before(rays, thickness)
