"""A price on stopping anywhere (the emptiness term of FlipNeRF)."""

from jaxtyping import Bool, Float, Integer
from torch import nn

from nerfreg.arrays import Array, at_least_float32, clip, detach, namespace, within
from nerfreg.checks import (
    require_finite,
    require_floating,
    require_mask,
    require_number,
    require_one_device,
    require_shape,
    require_values,
)
from nerfreg.losses.reduction import Reduction, fill_invalid, reduce
from nerfreg.rays.layout import n_samples, ray_layout, spread, total

__all__ = ["Emptiness", "emptiness"]

LARGEST = 1e15


def emptiness(
    weights: Float[Array, "*rays samples"],
    uncertainty: Float[Array, "*n_rays"] | None = None,
    *,
    strength: float = 2.0,
    ray_indices: Integer[Array, " samples"] | None = None,
    n_rays: int | None = None,
    valid: Bool[Array, "*n_rays"] | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    r"""Ask rays to stop in few samples, or nowhere.

    .. math:: \frac{1}{S}\sum_{k=1}^{S}
        \log(1 + \mathrm{strength}\cdot\mathrm{uncertainty}\cdot\mathrm{weights}_k)

    The logarithm makes the first bit of weight in a sample the dearest, so fog spread over many
    samples costs more than a surface of the same opacity in one.

    Args:
        weights: probability that the ray stops in each interval, with sum ≤ 1. For a price on
            rendered opacity alone, as of splats, pass ``opacity[..., None]``.
        uncertainty: of each ray, ≥ 0; multiplies the strength and receives no gradient. FlipNeRF's
            is the mean of the scales of its colour mixture along the ray and over channels, as
            :func:`~nerfreg.losses.mixture_nll` takes them; its code sums them along the ray.
            ``None`` means 1.
        strength: > 0; the larger, the more a thin fog costs beside a surface.
        ray_indices: ray of each sample, sorted, if samples are packed (N,).
        n_rays: number of rays, if samples are packed; an empty ray counts 0.
        valid: which rays count; others may hold anything, NaN included.
        reduction: over valid rays.

    Returns:
        One value a ray, or its reduction; without unit, ≥ 0, with 0 where the ray is empty (or
        certain). It is a mean over samples: a ray sampled twice as densely has about half the loss,
        and one whose empty samples an occupancy grid left out has more.

    Raises:
        TypeError: ``weights`` or ``uncertainty`` is not a floating-point array.
        ValueError: ``uncertainty`` or ``valid`` is not one a ray (nothing is broadcast);
            ``strength`` ≤ 0; a dense ray has no sample; ``reduction`` is unknown; while values are
            checked, a valid ``uncertainty`` is < 0 or not finite; or as
            :class:`~nerfreg.rays.RayTermination` for packed samples.

    Numerics: float32 or better, through ``log1p``. ``weights`` and strength times ``uncertainty``
    count as at most 1e15.

    Source: Seo et al. 2023 (FlipNeRF), uncertainty-aware emptiness; without the uncertainty, the
    emptiness loss of Score Jacobian Chaining (Wang et al. 2023). *Differs from upstream in:* the
    1e-12 that the code adds to the 1.

    Example:
        >>> import torch
        >>> fog, wall = torch.full((1, 4), 0.25), torch.tensor([[0.0, 1.0, 0.0, 0.0]])
        >>> round(emptiness(fog).item(), 3), round(emptiness(wall).item(), 3)
        (0.405, 0.275)
    """
    name = "emptiness"
    require_number(name, "strength", strength, "> 0", lambda x: x > 0)
    require_floating(name, weights=weights, uncertainty=uncertainty)
    rays = ray_layout(name, ray_indices, n_rays, weights=weights)
    require_shape(name, "one a ray of weights", rays.ray_shape, uncertainty=uncertainty)
    require_one_device(name, weights=weights, uncertainty=uncertainty)
    require_mask(name, rays.ray_shape, valid, weights)
    require_finite(name, valid, uncertainty=uncertainty)
    counted = None if valid is None else spread(rays, valid)
    (weights,) = at_least_float32(fill_invalid(weights, counted, 0.0))
    xp = namespace(weights)

    factor = strength
    if uncertainty is not None:
        (rho,) = at_least_float32(fill_invalid(detach(uncertainty), valid, 0.0))
        require_values(name, "uncertainty", rho, ">= 0", lambda x: x >= 0)
        factor = spread(rays, clip(strength * rho, None, LARGEST))
    price = total(rays, xp.log1p(factor * within(weights, -LARGEST, LARGEST)))
    n = xp.astype(clip(n_samples(rays, weights), 1), price.dtype)
    return reduce(price / n, reduction, valid, function=name)


class Emptiness(nn.Module):
    """Ask rays to stop in few samples, or nowhere: :func:`emptiness`.

    Args:
        strength: how much a thin fog costs beside a surface.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Example:
        >>> import torch
        >>> Emptiness()(torch.zeros(1, 4)).item()
        0.0
    """

    def __init__(self, *, strength: float = 2.0, reduction: Reduction = "mean") -> None:
        super().__init__()
        self.strength = strength
        self.reduction: Reduction = reduction

    def forward(
        self,
        weights: Float[Array, "*rays samples"],
        uncertainty: Float[Array, "*n_rays"] | None = None,
        *,
        ray_indices: Integer[Array, " samples"] | None = None,
        n_rays: int | None = None,
        valid: Bool[Array, "*n_rays"] | None = None,
    ) -> Float[Array, "..."]:
        """Compute the loss."""
        return emptiness(
            weights,
            uncertainty,
            strength=self.strength,
            ray_indices=ray_indices,
            n_rays=n_rays,
            valid=valid,
            reduction=self.reduction,
        )

    def extra_repr(self) -> str:
        """Show the options."""
        return f"strength={self.strength}, reduction={self.reduction!r}"
