"""Depth compared after the best scale and shift (MiDaS, MonoSDF)."""

from typing import Any

from jaxtyping import Bool, Float
from torch import nn

from nerfreg.arrays import Array, at_least_float32, clip, namespace
from nerfreg.checks import require_number
from nerfreg.losses.maps import mean, require_integer, require_maps, unit_range
from nerfreg.losses.reduction import Reduction, fill_invalid, reduce

__all__ = ["ScaleShiftInvariantDepth", "scale_shift_invariant_depth"]

LARGEST = 1e12


def scale_shift_invariant_depth(
    rendered: Float[Array, "*maps height width"],
    depth: Float[Array, "*maps height width"],
    *,
    gradient_weight: float = 0.5,
    n_scales: int = 4,
    valid: Bool[Array, "*maps height width"] | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    r"""Compare depths, and their gradients, after fitting rendered depth's scale and shift.

    .. math:: \frac{1}{2M}\sum_i e_i^2 + \mathrm{gradient\_weight}
        \sum_{k=0}^{\mathrm{n\_scales}-1} \frac{1}{M_k}\sum_i
        |\nabla_x e^{(k)}_i| + |\nabla_y e^{(k)}_i|, \qquad
        e = a\cdot\mathrm{rendered} + b - \mathrm{depth}

    with a and b the least-squares fit of each map, e^{(k)} every 2^k-th row and column of e, ∇ the
    differences of its neighbours, and M and M_k the number of valid pixels.

    Args:
        rendered: the renderer's depth maps, or patches of contiguous pixels.
        depth: given depth of the same pixels, up to scale and shift. Both must be of one kind,
            z-depth or distance, since no scale and shift turn one into the other: monocular
            networks give z-depth, or inverse z-depth, to which ``1 / rendered`` is linear instead;
            gsplat renders z-depth, nerfacto distance.
        gradient_weight: ≥ 0, of the gradients' term, which keeps edges sharp and in place.
        n_scales: ≥ 0, at how many scales gradients are compared. Those at which a map has no
            neighbours left add nothing.
        valid: which pixels count; others may hold anything, NaN included. A difference counts where
            both its pixels do.
        reduction: over maps with a valid pixel.

    Returns:
        One value a map, or its reduction; ≥ 0, with 0 where rendered depth is a linear function of
        the given one, even a *decreasing* one. The first term is in squared units of ``depth``,
        the second in its unit; scale and unit of ``rendered`` do not matter.

    Raises:
        TypeError: ``rendered`` or ``depth`` is not a floating-point array.
        ValueError: shapes differ, or are not (…, H, W); ``gradient_weight`` or ``n_scales`` is
            negative; ``reduction`` is unknown; while values are checked, a valid ``depth`` is not
            finite.

    Numerics: float32 or better, O(H·W). The fit is computed from centred depths, and the gradient
    flows through it. A rendered map whose depths differ by no more than a millionth of the largest,
    or than 1e-12 (2⁻¹⁰ for float16), is constant: a = 0, b is the mean of ``depth``, gradient 0. A
    given depth beyond ±1e12 counts as that, so that its square is finite; the gradient of a float16
    map holds it up to ±100.

    Source: Ranftl et al. 2020 (MiDaS); as a term of training Yu et al. 2022 (MonoSDF). *Differs
    from upstream in:* constant maps, for which nerfstudio's ``ScaleAndShiftInvariantLoss`` fits
    a = b = 0; the mean is over maps (its ``"image"``), of which empty ones do not count.

    Example:
        >>> import torch
        >>> depth = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
        >>> round(scale_shift_invariant_depth(10.0 * depth + 5.0, depth).item(), 4)
        0.0
        >>> round(scale_shift_invariant_depth(torch.ones(2, 2), depth).item(), 4)  # 0.625 + 0.75
        1.375
    """
    name = "scale_shift_invariant_depth"
    require_maps(name, rendered, depth, valid)
    require_number(name, "gradient_weight", gradient_weight, ">= 0", lambda x: x >= 0)
    require_integer(name, "n_scales", n_scales, 0)

    axes = (-2, -1)
    x, varies = unit_range(rendered, valid, axes)
    (y,) = at_least_float32(fill_invalid(depth, valid, 0.0))
    xp = namespace(x)
    y = clip(y, -LARGEST, LARGEST)
    x, y = x - mean(x, valid, axes), y - mean(y, valid, axes)
    variance = mean(x**2, valid, axes)
    scale = mean(x * y, valid, axes) / xp.where(varies, variance, 1.0)
    error = scale * x - y

    values = 0.5 * mean(error**2, valid, axes)[..., 0, 0]
    for step in [2**k for k in range(n_scales)]:
        values = values + gradient_weight * _roughness(error, valid, step)
    any_valid = None if valid is None else xp.any(valid, axis=axes)
    return reduce(values, reduction, any_valid, function=name)


def _roughness(error: Any, valid: Any, step: int) -> Any:
    """Sum the differences of neighbours at one scale, per valid pixel there."""
    xp = namespace(error)
    error = error[..., ::step, ::step]
    across = xp.abs(error[..., :, 1:] - error[..., :, :-1])
    down = xp.abs(error[..., 1:, :] - error[..., :-1, :])
    if valid is None:
        n_pixels = error.shape[-2] * error.shape[-1]
        return (xp.sum(across, axis=(-2, -1)) + xp.sum(down, axis=(-2, -1))) / n_pixels
    valid = valid[..., ::step, ::step]
    across = xp.where(valid[..., :, 1:] & valid[..., :, :-1], across, 0.0)
    down = xp.where(valid[..., 1:, :] & valid[..., :-1, :], down, 0.0)
    n_valid = clip(xp.sum(xp.astype(valid, xp.int32), axis=(-2, -1)), 1)
    total = xp.sum(across, axis=(-2, -1)) + xp.sum(down, axis=(-2, -1))
    return total / xp.astype(n_valid, total.dtype)


class ScaleShiftInvariantDepth(nn.Module):
    """Compare depths after fitting scale and shift: :func:`scale_shift_invariant_depth`.

    Args:
        gradient_weight: of the gradients' term.
        n_scales: at how many scales gradients are compared.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Example:
        >>> import torch
        >>> depth = torch.rand(4, 32, 32)
        >>> round(ScaleShiftInvariantDepth()(3.0 * depth + 1.0, depth).item(), 4)
        0.0
    """

    def __init__(
        self,
        *,
        gradient_weight: float = 0.5,
        n_scales: int = 4,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        self.gradient_weight = gradient_weight
        self.n_scales = n_scales
        self.reduction: Reduction = reduction

    def forward(
        self,
        rendered: Float[Array, "*maps height width"],
        depth: Float[Array, "*maps height width"],
        *,
        valid: Bool[Array, "*maps height width"] | None = None,
    ) -> Float[Array, "..."]:
        """Compute the loss."""
        return scale_shift_invariant_depth(
            rendered,
            depth,
            gradient_weight=self.gradient_weight,
            n_scales=self.n_scales,
            valid=valid,
            reduction=self.reduction,
        )

    def extra_repr(self) -> str:
        """Show the options."""
        return (
            f"gradient_weight={self.gradient_weight}, n_scales={self.n_scales},"
            f" reduction={self.reduction!r}"
        )
