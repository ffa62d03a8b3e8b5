"""From density along a ray to the probability of stopping in each interval."""

import torch
from jaxtyping import Float
from torch import Tensor

from nerfreg.arrays import at_least_float32
from nerfreg.checks import require_floating, require_same_shape, require_shape

__all__ = ["opacity", "weights_from_density"]


def weights_from_density(
    density: Float[Tensor, "*rays samples"],
    starts: Float[Tensor, "*rays samples"],
    ends: Float[Tensor, "*rays samples"],
    direction_norm: Float[Tensor, "*rays"] | None = None,
) -> Float[Tensor, "*rays samples"]:
    r"""Compute the probability that a ray stops in each of its intervals.

    .. math:: w_k = T_k (1 - e^{-\tau_k}),\quad T_k = e^{-\sum_{j<k}\tau_j},\quad
        \tau_k = \mathrm{density}_k\,(\mathrm{ends}_k - \mathrm{starts}_k)\,\|d\|

    Args:
        density: σ ≥ 0, per unit of *distance*.
        starts: lower bounds of the intervals, in the ray parameter t.
        ends: upper bounds. Gaps between intervals are empty space.
        direction_norm: ‖d‖, the distance of a unit of t. ``None`` means unit directions.

    Returns:
        Weights in [0, 1] with sum ≤ 1.

    Raises:
        TypeError: an argument is not a floating-point tensor.
        ValueError: shapes differ, or ``direction_norm`` is not one number a ray.

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
    require_same_shape(name, "(…, S)", density=density, starts=starts, ends=ends)
    density, starts, ends = at_least_float32(density, starts, ends)
    length = ends - starts
    if direction_norm is not None:
        require_shape(name, "one a ray", density.shape[:-1], direction_norm=direction_norm)
        length = length * direction_norm[..., None]
    thickness = density * length
    # Sum what lies in front without the last interval: that may be infinitely thick, and inf − inf
    # is NaN.
    in_front = torch.cat(
        [torch.zeros_like(thickness[..., :1]), thickness[..., :-1].cumsum(-1)], dim=-1
    )
    return -torch.expm1(-thickness) * torch.exp(-in_front)


def opacity(weights: Float[Tensor, "*rays samples"]) -> Float[Tensor, "*rays"]:
    """Sum the weights: the probability that the ray stops at all.

    Example:
        >>> import torch
        >>> opacity(torch.tensor([0.5, 0.25])).item()
        0.75
    """
    require_floating("opacity", weights=weights)
    (weights,) = at_least_float32(weights)
    return weights.sum(-1)
