"""Squared error of rendered depth (DS-NeRF's simpler loss)."""

from typing import Any, Literal

from jaxtyping import Bool, Float
from torch import nn

from nerfreg.arrays import Array, at_least_float32, clip, namespace, within
from nerfreg.checks import (
    require_choice,
    require_finite,
    require_floating,
    require_mask,
    require_number,
    require_same_shape,
    require_values,
)
from nerfreg.losses.reduction import Reduction, fill_invalid, reduce

__all__ = ["DepthMSE", "depth_mse"]

Penalty = Literal["square", "huber", "capped"]

FLOAT32_EPS = 2.0**-23
LARGEST_ERROR = 1e15


def depth_mse(
    rendered: Float[Array, "*rays"],
    depth: Float[Array, "*rays"],
    *,
    std: Float[Array, "*rays"] | None = None,
    weight: Float[Array, "*rays"] | None = None,
    relative: bool = False,
    penalty: Penalty = "square",
    threshold: float = 1.0,
    valid: Bool[Array, "*rays"] | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    r"""Pull rendered depth towards known depth.

    .. math:: \mathrm{weight}_i\, \rho(e_i), \qquad
        e_i = \frac{\mathrm{rendered}_i - \mathrm{depth}_i}{s_i},
        \qquad s_i = 1,\ \mathrm{std}_i \text{ or } |\mathrm{depth}_i|

    with ρ(e) the penalty, e² where \|e\| ≤ threshold.

    Args:
        rendered: expected depth of each ray, for example of :func:`nerfreg.rays.expected_depth`.
        depth: target, of the same kind (z-depth or distance) and unit.
        std: standard deviation of the target, > 0, in its unit. The loss is then without unit: each
            ray's error in standard deviations.
        weight: ≥ 0, for example DS-NeRF's 2·exp(−(e/ē)²) of the reprojection error. It weighs the
            sum, not the count: the mean is over rays, as upstream.
        relative: divide by the target instead. The loss is then without unit, and far points weigh
            no more than near ones. Not together with ``std``.
        penalty: what an error beyond the threshold costs. ``"square"``: e², there too. ``"huber"``:
            threshold · (2\|e\| − threshold), a pull that grows no further, for keypoints some of
            which are wrong. ``"capped"``: threshold², no pull at all, for wrong matches once the
            scene has formed; at first everything may be beyond.
        threshold: > 0, in the unit of e: that of depth, or standard deviations, or shares of the
            target. Without effect on ``"square"``.
        valid: which rays count. Others may hold anything, NaN included.
        reduction: over valid rays.

    Returns:
        One value a ray, or its reduction; ≥ 0, with 0 exactly where ``rendered`` equals ``depth``.
        Plain, it is in squared units: a scene 10 times larger has 100 times the loss (with the
        threshold 10 times larger, too).

    Raises:
        TypeError: an argument is not a floating-point array.
        ValueError: shapes differ (an (R, 1) is never broadcast); both ``std`` and ``relative``;
            ``penalty`` is unknown, ``threshold`` ≤ 0; while values are checked, a valid ``std`` ≤
            0, ``weight`` < 0, ``depth`` ≤ 0 if ``relative``, or one of them that is not finite.

    Numerics: float32 or better. Divisors below float32's epsilon count as that epsilon. An error
    beyond ±1e15, before or after division, counts as that, with gradient 0, so that its square is
    finite; weights up to 1e20 keep it so.

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
    require_choice(name, "penalty", penalty, ("square", "huber", "capped"))
    require_number(name, "threshold", threshold, "> 0", lambda x: x > 0)
    require_floating(name, rendered=rendered, depth=depth, std=std, weight=weight)
    require_same_shape(name, "(R,)", rendered=rendered, depth=depth, std=std, weight=weight)
    require_mask(name, depth.shape, valid, depth)
    require_finite(name, valid, depth=depth, std=std, weight=weight)
    if relative and std is not None:
        raise ValueError(f"{name}: std and relative=True are two ways to scale one error; give one")

    rendered, depth = at_least_float32(rendered, depth)
    error = _bounded(fill_invalid(rendered - depth, valid, 0.0))
    scale = depth if relative else std
    if scale is not None:
        (scale,) = at_least_float32(fill_invalid(scale, valid, 1.0))
        require_values(name, "depth" if relative else "std", scale, "> 0", lambda x: x > 0)
        xp = namespace(error)
        error = _bounded(error / clip(xp.abs(scale), FLOAT32_EPS))
    values = _penalty(error, penalty, threshold)
    if weight is not None:
        weight = fill_invalid(weight, valid, 0.0)
        require_values(name, "weight", weight, ">= 0", lambda x: x >= 0)
        values = weight * values
    return reduce(values, reduction, valid, function=name)


def _bounded(error: Any) -> Any:
    return within(error, -LARGEST_ERROR, LARGEST_ERROR)


def _penalty(error: Any, penalty: Penalty, threshold: float) -> Any:
    if penalty == "square":
        return error**2
    xp = namespace(error)
    size = xp.abs(error)
    capped = clip(size, None, threshold)
    return capped * (2.0 * size - capped) if penalty == "huber" else capped**2


class DepthMSE(nn.Module):
    """Pull rendered depth towards known depth: :func:`depth_mse`.

    Args:
        relative: divide the error by the target.
        penalty: ``"square"``, ``"huber"`` or ``"capped"``.
        threshold: error beyond which the latter two differ from the square.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Example:
        >>> import torch
        >>> DepthMSE()(torch.tensor([2.0]), torch.tensor([1.5])).item()
        0.25
    """

    def __init__(
        self,
        *,
        relative: bool = False,
        penalty: Penalty = "square",
        threshold: float = 1.0,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        self.relative = relative
        self.penalty: Penalty = penalty
        self.threshold = threshold
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
            penalty=self.penalty,
            threshold=self.threshold,
            valid=valid,
            reduction=self.reduction,
        )

    def extra_repr(self) -> str:
        """Show the options."""
        return (
            f"relative={self.relative}, penalty={self.penalty!r}, threshold={self.threshold},"
            f" reduction={self.reduction!r}"
        )
