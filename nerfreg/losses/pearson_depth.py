"""Correlation of rendered with monocular depth (FSGS)."""

from typing import Any, Literal

from jaxtyping import Bool, Float
from torch import nn

from nerfreg.arrays import Array, at_least_float32, clip, namespace, squared_difference
from nerfreg.checks import require_choice
from nerfreg.losses.maps import cut, mean, require_maps, require_patch_size, standard, unit_range
from nerfreg.losses.reduction import Reduction, fill_invalid, reduce

__all__ = ["PearsonDepth", "pearson_depth"]

Target = Literal["depth", "inverse", "fsgs"]

MIDAS_OFFSET = 200.0


def pearson_depth(
    rendered: Float[Array, "*maps height width"],
    depth: Float[Array, "*maps height width"],
    *,
    patch_size: int | None = None,
    target: Target = "depth",
    valid: Bool[Array, "*maps height width"] | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    r"""Ask rendered depth to be a linear function of the given depth, whatever its scale and shift.

    .. math:: 1 - r = \frac12\,\mathrm{mean}\Big(\Big(
        \frac{\mathrm{rendered}-\overline{\mathrm{rendered}}}{\sigma_\mathrm{rendered}} -
        \frac{\mathrm{depth}-\overline{\mathrm{depth}}}{\sigma_\mathrm{depth}}\Big)^2\Big)

    with r Pearson's correlation over the valid pixels of a map, or of each of its patches.

    Args:
        rendered: the renderer's depth maps, or patches of contiguous pixels.
        depth: given depth of the same pixels, up to scale and shift. Both must be of one kind,
            z-depth or distance: from one to the other is no linear function. Monocular networks
            give z-depth or inverse z-depth (see ``target``); gsplat renders z-depth, nerfacto
            distance.
        patch_size: average r over square patches of this side, which tile a map from its top left
            (what is left over at the right and bottom does not count); each patch then has a scale
            and shift of its own. ``None`` correlates whole maps.
        target: what rendered depth should be linear in. ``"depth"``: in ``depth``. ``"inverse"``:
            ``depth`` is inverse depth, as MiDaS gives it, and the target −depth. ``"fsgs"``: the
            same, and for each map the better of −depth and 1/(depth + 200), as released; 200 is
            in the unit of MiDaS's raw output, and depth < 0 counts as 0 in it.
        valid: which pixels count; others may hold anything, NaN included.
        reduction: over maps with a patch that counts: one of at least two valid pixels.

    Returns:
        One value a map, the mean over its patches that count, or its reduction; without unit, in
        [0, 2]: 0 where rendered depth is an increasing linear function of the target, 1 without
        correlation, 2 where it is a decreasing one. Nothing correlates with a constant: 1.

    Raises:
        TypeError: ``rendered`` or ``depth`` is not a floating-point array.
        ValueError: shapes differ, or are not (…, H, W); ``patch_size`` is below 2, or larger than
            the maps; ``target`` or ``reduction`` is unknown; while values are checked, a valid
            ``depth`` is not finite.

    Numerics: float32 or better, O(H·W). 1 − r is the mean of squares above, which keeps its
    precision where r is nearly 1. Depths that differ by no more than a millionth of the largest, or
    than 1e-12 (2⁻¹⁰ for float16), are constant, with gradient 0. No ε that shows is added elsewhere
    (1e-30 to variances of numbers that span [0, 1]), so the loss does not depend on the unit of
    either depth.

    Source: Zhu et al. 2024 (FSGS): one correlation of whole maps. *Differs from upstream in:* the
    code's minimum of two is ``target="fsgs"``; at a constant, gsplat's ``pearson_depth_loss`` has
    gradients of 1e6.

    Example:
        >>> import torch
        >>> depth = torch.tensor([[1.0, 2.0], [3.0, 5.0]])
        >>> round(pearson_depth(10.0 * depth + 7.0, depth).item(), 4)
        0.0
        >>> round(pearson_depth(-depth, depth).item(), 4)
        2.0
    """
    name = "pearson_depth"
    require_choice(name, "target", target, ("depth", "inverse", "fsgs"))
    require_maps(name, rendered, depth, valid)
    require_patch_size(name, patch_size, depth)

    rendered, depth, valid = (cut(x, patch_size) for x in (rendered, depth, valid))
    xp = namespace(depth)
    n_valid = None if valid is None else xp.sum(xp.astype(valid, xp.int32), axis=-1)
    counted = None if n_valid is None else n_valid >= 2
    if target == "depth":
        values = _mismatch(rendered, depth, valid, counted)
    else:
        values = _mismatch(rendered, -depth, valid, counted)
    if target == "fsgs":
        (midas,) = at_least_float32(fill_invalid(depth, valid, 0.0))
        curved = 1.0 / (clip(midas, 0.0) + MIDAS_OFFSET)
        values = xp.minimum(values, _mismatch(rendered, curved, valid, counted))
    any_counted = None if counted is None else xp.any(counted, axis=-1)
    return reduce(values, reduction, any_counted, function=name)


def _mismatch(rendered: Any, depth: Any, valid: Any, counted: Any) -> Any:
    """Average 1 − r over the patches of each map that count."""
    rendered, rendered_varies = unit_range(rendered, valid, -1)
    depth, depth_varies = unit_range(depth, valid, -1)
    xp = namespace(depth)
    squares = squared_difference(standard(rendered, valid), standard(depth, valid))
    one_minus_r = 0.5 * mean(squares, valid, -1)
    values = xp.where(rendered_varies & depth_varies, one_minus_r, 1.0)
    return mean(values[..., 0], counted, -1)[..., 0]


class PearsonDepth(nn.Module):
    """Ask rendered depth to be a linear function of the given one: :func:`pearson_depth`.

    Args:
        patch_size: side of the patches within which depths are correlated; ``None``: whole maps.
        target: ``"depth"``, ``"inverse"`` or ``"fsgs"``.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Example:
        >>> import torch
        >>> depth = torch.tensor([[1.0, 2.0], [3.0, 5.0]])
        >>> round(PearsonDepth(target="inverse")(depth, 4.0 - depth).item(), 4)
        0.0
    """

    def __init__(
        self,
        *,
        patch_size: int | None = None,
        target: Target = "depth",
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.target: Target = target
        self.reduction: Reduction = reduction

    def forward(
        self,
        rendered: Float[Array, "*maps height width"],
        depth: Float[Array, "*maps height width"],
        *,
        valid: Bool[Array, "*maps height width"] | None = None,
    ) -> Float[Array, "..."]:
        """Compute the loss."""
        return pearson_depth(
            rendered,
            depth,
            patch_size=self.patch_size,
            target=self.target,
            valid=valid,
            reduction=self.reduction,
        )

    def extra_repr(self) -> str:
        """Show the options."""
        return f"patch_size={self.patch_size}, target={self.target!r}, reduction={self.reduction!r}"
