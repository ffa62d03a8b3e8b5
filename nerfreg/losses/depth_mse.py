"""Squared error of rendered depth (DS-NeRF's simpler loss)."""

from jaxtyping import Bool, Float
from torch import nn

from nerfreg.arrays import Array, at_least_float32, namespace
from nerfreg.checks import require_floating, require_mask, require_same_shape, require_values
from nerfreg.losses.reduction import Reduction, fill_invalid, reduce

__all__ = ["DepthMSE", "depth_mse"]

FLOAT32_EPS = 2.0**-23


def depth_mse(
    rendered: Float[Array, "*rays"],
    depth: Float[Array, "*rays"],
    *,
    std: Float[Array, "*rays"] | None = None,
    weight: Float[Array, "*rays"] | None = None,
    relative: bool = False,
    valid: Bool[Array, "*rays"] | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    r"""Pull rendered depth towards known depth.

    .. math:: \mathrm{weight}_i \Big(\frac{\mathrm{rendered}_i - \mathrm{depth}_i}{s_i}\Big)^2,
        \qquad s_i = 1,\ \mathrm{std}_i \text{ or } |\mathrm{depth}_i|

    Args:
        rendered: expected depth of each ray, for example of :func:`nerfreg.rays.expected_depth`.
        depth: target, of the same kind (z-depth or distance) and unit.
        std: standard deviation of the target, > 0, in its unit. The loss is then without unit: each
            ray's error in standard deviations.
        weight: ≥ 0, for example DS-NeRF's 2·exp(−(e/ē)²) of the reprojection error. It weighs the
            sum, not the count: the mean is over rays, as upstream.
        relative: divide by the target instead. The loss is then without unit, and far points weigh
            no more than near ones. Not together with ``std``.
        valid: which rays count. Others may hold anything, NaN included.
        reduction: over valid rays.

    Returns:
        One value a ray, or its reduction; ≥ 0, with 0 exactly where ``rendered`` equals ``depth``.
        Plain, it is in squared units: a scene 10 times larger has 100 times the loss.

    Raises:
        TypeError: an argument is not a floating-point array.
        ValueError: shapes differ (an (R, 1) is never broadcast); both ``std`` and ``relative``;
            while values are checked, a valid ``std`` ≤ 0, ``weight`` < 0 or, if ``relative``,
            ``depth`` ≤ 0.

    Numerics: float32 or better. Divisors below float32's epsilon count as that epsilon.

    Source: Deng et al. 2022 (DS-NeRF), code: plain, ``--weighted_loss`` and ``--relative_loss``.
    *Differs from upstream in:* upstream's rendered depth is not divided by opacity
    (``expected_depth(…, normalize=False)``); ``--normalize_depth`` is left out, since it divides by
    the largest *weight*.

    Example:
        >>> import torch
        >>> rendered, depth = torch.tensor([2.0, 5.0]), torch.tensor([1.0, 4.0])
        >>> depth_mse(rendered, depth).item(), depth_mse(rendered, depth, relative=True).item()
        (1.0, 0.53125)
    """
    name = "depth_mse"
    require_floating(name, rendered=rendered, depth=depth, std=std, weight=weight)
    require_same_shape(name, "(R,)", rendered=rendered, depth=depth, std=std, weight=weight)
    require_mask(name, depth.shape, valid)
    if relative and std is not None:
        raise ValueError(f"{name}: std and relative=True are two ways to scale one error; give one")

    rendered, depth = at_least_float32(rendered, depth)
    error = fill_invalid(rendered - depth, valid, 0.0)
    scale = depth if relative else std
    if scale is not None:
        (scale,) = at_least_float32(fill_invalid(scale, valid, 1.0))
        require_values(name, "depth" if relative else "std", scale, "> 0", lambda x: x > 0)
        xp = namespace(error)
        error = error / xp.clip(xp.abs(scale), FLOAT32_EPS)
    squared = error**2
    if weight is not None:
        weight = fill_invalid(weight, valid, 0.0)
        require_values(name, "weight", weight, ">= 0", lambda x: x >= 0)
        squared = weight * squared
    return reduce(squared, reduction, valid, function=name)


class DepthMSE(nn.Module):
    """Pull rendered depth towards known depth: :func:`depth_mse`.

    Args:
        relative: divide the error by the target.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Example:
        >>> import torch
        >>> DepthMSE()(torch.tensor([2.0]), torch.tensor([1.5])).item()
        0.25
    """

    def __init__(self, *, relative: bool = False, reduction: Reduction = "mean") -> None:
        super().__init__()
        self.relative = relative
        self.reduction: Reduction = reduction

    def forward(
        self,
        rendered: Float[Array, "*rays"],
        depth: Float[Array, "*rays"],
        *,
        std: Float[Array, "*rays"] | None = None,
        weight: Float[Array, "*rays"] | None = None,
        valid: Bool[Array, "*rays"] | None = None,
    ) -> Float[Array, "..."]:
        """Compute the loss."""
        return depth_mse(
            rendered,
            depth,
            std=std,
            weight=weight,
            relative=self.relative,
            valid=valid,
            reduction=self.reduction,
        )

    def extra_repr(self) -> str:
        """Show the options."""
        return f"relative={self.relative}, reduction={self.reduction!r}"
