"""Emptiness up to a measured point, and a surface around it (Urban Radiance Fields)."""

import math
from typing import Any, Literal

from jaxtyping import Bool, Float, Integer
from torch import nn

from nerfreg.arrays import Array, at_least_float32, clip, erfc, is_float16, namespace
from nerfreg.checks import (
    require_choice,
    require_finite,
    require_floating,
    require_mask,
    require_one_device,
    require_shape,
    require_values,
)
from nerfreg.losses.reduction import Reduction, fill_invalid, reduce
from nerfreg.rays.layout import ray_layout, spread, total

__all__ = ["LineOfSight", "line_of_sight"]

Form = Literal["integral", "nerfstudio"]

REACH = 3.0
"""Where the Gaussian is cut off, in standard deviations."""
NORMALIZER = 1.0 / math.erf(REACH / math.sqrt(2.0))
"""What makes up for the cut-off tails."""
KERNEL_SQUARED = NORMALIZER**2 * math.erf(REACH) / (2.0 * math.sqrt(math.pi))
"""The integral of the squared kernel, at a standard deviation of 1."""
MAX_STD = 1e12
MIN_WIDTH = 1e-12


def line_of_sight(
    weights: Float[Array, "*rays samples"],
    starts: Float[Array, "*rays samples"],
    ends: Float[Array, "*rays samples"],
    depth: Float[Array, "*n_rays"],
    std: Float[Array, "*n_rays"],
    *,
    form: Form = "integral",
    beyond: bool = False,
    relative: bool = False,
    ray_indices: Integer[Array, " samples"] | None = None,
    n_rays: int | None = None,
    valid: Bool[Array, "*n_rays"] | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    r"""Ask the ray not to stop before a measured point, and to stop around it.

    With the density of stopping h(t) = weights_k / (ends_k − starts_k) inside of interval k and 0
    outside of all, ε = 3·std, and K the normal density with std around ``depth``, cut off at ±ε and
    normalised,

    .. math:: \int_{t < \mathrm{depth}-\varepsilon} h(t)^2\,dt +
        \int_{|t-\mathrm{depth}|\le\varepsilon} \big(h(t) - K(t)\big)^2 dt
        \ \Big[+ \int_{t > \mathrm{depth}+\varepsilon} h(t)^2\,dt\Big]

    Both integrals are exact: of an interval that a bound of the kernel cuts, each part counts where
    it lies.

    Args:
        weights: probability that the ray stops in each interval, with sum ≤ 1.
        starts: lower bounds of the intervals, in the ray parameter t.
        ends: upper bounds. Intervals are disjoint and may have gaps; the last may be open (1e10),
            and then counts as empty.
        depth: measured, in t's kind and unit: lidar and keypoints give points, so distance where
            directions have unit length.
        std: standard deviation of the kernel, > 0, in the unit of ``depth``: a third of the paper's
            ε. Start wide, some intervals, and let it shrink.
        form: ``"integral"``, or ``"nerfstudio"``: that code's sum over samples, Σ (weights_k −
            K(mid_k))² near and Σ weights_k² before, with the uncut normal density, for comparison.
        beyond: ask for emptiness behind ``depth`` + ε as well, the term in brackets. Where the ray
            stops there, little reaches beyond, so this mostly repeats the others.
        relative: multiply by ``std``. The loss is then without unit, and does not grow when ``std``
            shrinks.
        ray_indices: ray of each sample, sorted, if samples are packed (N,).
        n_rays: number of rays, if samples are packed; an empty ray stops nowhere.
        valid: which rays count; others may hold anything, NaN included.
        reduction: over valid rays.

    Returns:
        One value a ray, or its reduction, in 1/length: in a scene 10 times larger it is a tenth.
        ≥ 0 up to rounding; it nears 0 where h follows K on intervals much narrower than ``std``,
        and is 0.284 / ``std`` on a ray that stops nowhere.

    Raises:
        TypeError: an argument is not a floating-point array.
        ValueError: ``starts`` or ``ends`` is shaped otherwise than ``weights``; ``depth``, ``std``
            or ``valid`` is not one a ray (nothing is broadcast); a dense ray has no sample; an
            option is unknown; while values are checked, a valid ``std`` ≤ 0, or ``depth`` or
            ``std`` that is not finite; or as :class:`~nerfreg.rays.RayTermination` for packed
            samples.

    Numerics: float32 or better. ∫(h − K)² = Σ (h_k² l_k − 2 h_k M_k) + ∫K², where l_k is what of
    interval k lies near and M_k the kernel's mass on it (a difference of error functions); the last
    term is the same for every ray, and rounds to 1e-7 of itself. A ``std`` counts as at least 1e-12
    (1/256 in float16, whose gradient cannot hold 1/std²) and at most 1e12. Intervals no wider than
    1e-12 have no density and are left out. Weights are probabilities: nothing is provided for the
    overflow of their squares.

    A target outside the sampled range asks the ray not to stop in front of it, nor in its samples.

    Source: Rematas et al. 2022 (Urban Radiance Fields), line-of-sight losses; their ε shrinks
    during training, and their code is not public. *Differs from upstream in:* nerfstudio's code
    compares weights, which are probabilities, with the kernel, a density, and sums over samples:
    its value depends on how many there are, and weights ≤ 1 never reach a narrow kernel. It also
    adds an expected depth term, for which there is :func:`~nerfreg.losses.depth_mse`.

    Example:
        >>> import torch
        >>> starts, ends = torch.tensor([[1.0, 2.0]]), torch.tensor([[2.0, 3.0]])
        >>> depth, std = torch.tensor([2.5]), torch.tensor([0.1])
        >>> right, wrong = torch.tensor([[0.0, 1.0]]), torch.tensor([[1.0, 0.0]])
        >>> [round(line_of_sight(w, starts, ends, depth, std).item(), 2) for w in (right, wrong)]
        [1.64, 3.84]
    """
    name = "line_of_sight"
    require_choice(name, "form", form, ("integral", "nerfstudio"))
    require_floating(name, weights=weights, starts=starts, ends=ends, depth=depth, std=std)
    rays = ray_layout(name, ray_indices, n_rays, weights=weights, starts=starts, ends=ends)
    require_shape(name, "one a ray of weights", rays.ray_shape, depth=depth, std=std)
    require_one_device(name, weights=weights, depth=depth, std=std)
    require_mask(name, rays.ray_shape, valid, weights)
    require_finite(name, valid, depth=depth, std=std)
    least = 2.0**-8 if is_float16(std) else 1e-12
    counted = None if valid is None else spread(rays, valid)
    weights, starts, ends = at_least_float32(
        *(fill_invalid(x, counted, 0.0) for x in (weights, starts, ends))
    )
    depth, std = at_least_float32(fill_invalid(depth, valid, 0.0), fill_invalid(std, valid, 1.0))
    require_values(name, "std", std, "> 0", lambda x: x > 0)

    per_ray_std = clip(std, least, MAX_STD)
    depth, std = spread(rays, depth), spread(rays, per_ray_std)
    if form == "integral":
        values = total(rays, _squared_difference(weights, starts, ends, depth, std, beyond))
        values = values + KERNEL_SQUARED / per_ray_std
    else:
        values = total(rays, _released(weights, 0.5 * starts + 0.5 * ends, depth, std, beyond))
    values = values * per_ray_std if relative else values
    return reduce(values, reduction, valid, function=name)


def _squared_difference(
    weights: Any, starts: Any, ends: Any, depth: Any, std: Any, beyond: bool
) -> Any:
    """Integrate (h − K)² − K² over each interval, K being 0 beyond its reach."""
    xp = namespace(weights)
    reach = REACH * std
    width = ends - starts
    wide = width > MIN_WIDTH
    h = xp.where(wide, weights / xp.where(wide, width, 1.0), 0.0)
    if not beyond:
        width = xp.minimum(ends, depth + reach) - xp.minimum(starts, depth + reach)
    low, high = _within(starts - depth, reach) / std, _within(ends - depth, reach) / std
    mass = 0.5 * NORMALIZER * (erfc(high * -math.sqrt(0.5)) - erfc(low * -math.sqrt(0.5)))
    return h * (h * width) - 2.0 * h * mass


def _released(weights: Any, mids: Any, depth: Any, std: Any, beyond: bool) -> Any:
    """Compare masses with a density at the mid-points, as nerfstudio does."""
    xp = namespace(weights)
    away, reach = mids - depth, REACH * std
    density = xp.exp(-0.5 * (_within(away, reach) / std) ** 2) / (std * math.sqrt(2.0 * math.pi))
    near = xp.abs(away) <= reach
    empty = near | (away < 0) | beyond
    return xp.where(empty, (weights - xp.where(near, density, 0.0)) ** 2, 0.0)


def _within(x: Any, reach: Any) -> Any:
    xp = namespace(x)
    return xp.minimum(xp.maximum(x, -reach), reach)


class LineOfSight(nn.Module):
    """Ask the ray not to stop before a measured point, and to stop around it.

    The function is :func:`line_of_sight`.

    Args:
        form: ``"integral"`` or ``"nerfstudio"``.
        beyond: ask for emptiness behind the point as well.
        relative: multiply by ``std``.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Example:
        >>> import torch
        >>> starts, ends = torch.tensor([[1.0, 2.0]]), torch.tensor([[2.0, 3.0]])
        >>> depth, std = torch.tensor([2.5]), torch.tensor([0.1])
        >>> nowhere = torch.tensor([[0.0, 0.0]])
        >>> round(LineOfSight(relative=True)(nowhere, starts, ends, depth, std).item(), 3)
        0.284
    """

    def __init__(
        self,
        *,
        form: Form = "integral",
        beyond: bool = False,
        relative: bool = False,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        self.form: Form = form
        self.beyond = beyond
        self.relative = relative
        self.reduction: Reduction = reduction

    def forward(
        self,
        weights: Float[Array, "*rays samples"],
        starts: Float[Array, "*rays samples"],
        ends: Float[Array, "*rays samples"],
        depth: Float[Array, "*n_rays"],
        std: Float[Array, "*n_rays"],
        *,
        ray_indices: Integer[Array, " samples"] | None = None,
        n_rays: int | None = None,
        valid: Bool[Array, "*n_rays"] | None = None,
    ) -> Float[Array, "..."]:
        """Compute the loss."""
        return line_of_sight(
            weights,
            starts,
            ends,
            depth,
            std,
            form=self.form,
            beyond=self.beyond,
            relative=self.relative,
            ray_indices=ray_indices,
            n_rays=n_rays,
            valid=valid,
            reduction=self.reduction,
        )

    def extra_repr(self) -> str:
        """Show the options."""
        return (
            f"form={self.form!r}, beyond={self.beyond}, relative={self.relative},"
            f" reduction={self.reduction!r}"
        )
