"""Two depths that should be nearly one (SparseNeRF)."""

from jaxtyping import Bool, Float
from torch import nn

from nerfreg.arrays import Array, at_least_float32, namespace, within
from nerfreg.checks import require_number
from nerfreg.losses.pairs import alike, both, require_pairs
from nerfreg.losses.reduction import Reduction, fill_invalid, reduce

__all__ = ["DepthContinuity", "depth_continuity"]


def depth_continuity(
    rendered: Float[Array, "*pairs 2"],
    depth: Float[Array, "*pairs 2"] | None = None,
    *,
    margin: float = 1e-4,
    tolerance: float = 0.01,
    valid: Bool[Array, "*pairs"] | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    r"""Penalise a gap between the rendered depths of two pixels of one surface.

    .. math:: \max(|\mathrm{rendered}_1 - \mathrm{rendered}_2| - \mathrm{margin},\, 0)

    where :math:`|\mathrm{depth}_1 - \mathrm{depth}_2| \le \mathrm{tolerance}\cdot
    \max(|\mathrm{depth}_1|, |\mathrm{depth}_2|)`.

    Args:
        rendered: the renderer's depths of two neighbouring pixels.
        depth: given depths of the same pixels, for example a monocular network's, which tell
            whether a surface joins them. Both must be of one kind, z-depth or distance: monocular
            networks give z-depth or its inverse (here, where only the relative difference of two
            neighbours is asked for, the inverse will do as it is); gsplat renders z-depth, nerfacto
            distance. ``None``: the pairs were chosen so that all are joined, as in SparseNeRF.
        margin: ≥ 0, up to which gap nothing is penalised, in the unit of ``rendered``.
        tolerance: ≥ 0, up to which share of the larger the given depths are joined. Without effect
            if ``depth`` is ``None``.
        valid: which pairs count; others may hold anything, NaN included.
        reduction: over valid pairs that are joined.

    Returns:
        One value a pair, or its reduction, in the unit of depth; ≥ 0, with 0 exactly where the gap
        is at most ``margin``. Pairs that are not joined have 0.

    Raises:
        TypeError: ``rendered`` or ``depth`` is not a floating-point array.
        ValueError: shapes differ, or do not end in 2; ``margin`` or ``tolerance`` is negative;
            while values are checked, a valid ``depth`` is not finite.

    Numerics: float32 or better. ``depth`` is only compared, so no gradient reaches it. Where no
    pair counts, the value is 0 and differentiable.

    Source: Wang et al. 2023 (SparseNeRF), spatial continuity; margin as in their code. *Differs
    from upstream in:* nothing without ``depth``. The tolerance is ours: upstream's loader pairs a
    pixel with the neighbours whose given depth is most alike instead.

    Example:
        >>> import torch
        >>> rendered = torch.tensor([[1.0, 1.5], [1.0, 9.0]])
        >>> depth = torch.tensor([[2.0, 2.01], [2.0, 4.0]])  # the second pair crosses an edge
        >>> depth_continuity(rendered, depth, margin=0.25).item()
        0.25
    """
    name = "depth_continuity"
    require_pairs(name, rendered, depth, valid)
    require_number(name, "margin", margin, ">= 0", lambda x: x >= 0)
    require_number(name, "tolerance", tolerance, ">= 0", lambda x: x >= 0)

    (rendered,) = at_least_float32(fill_invalid(rendered, both(valid), 0.0))
    xp = namespace(rendered)
    values = within(xp.abs(rendered[..., 0] - rendered[..., 1]) - margin, 0.0)
    if depth is not None:
        (depth,) = at_least_float32(depth)
        joined = alike(depth, tolerance)
        valid = joined if valid is None else valid & joined
    return reduce(values, reduction, valid, function=name)


class DepthContinuity(nn.Module):
    """Penalise a gap between two pixels of one surface: :func:`depth_continuity`.

    Args:
        margin: up to which gap nothing is penalised.
        tolerance: up to which share of the larger the given depths are joined.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Example:
        >>> import torch
        >>> DepthContinuity(margin=0.5)(torch.tensor([[1.0, 2.0]])).item()
        0.5
    """

    def __init__(
        self, *, margin: float = 1e-4, tolerance: float = 0.01, reduction: Reduction = "mean"
    ) -> None:
        super().__init__()
        self.margin = margin
        self.tolerance = tolerance
        self.reduction: Reduction = reduction

    def forward(
        self,
        rendered: Float[Array, "*pairs 2"],
        depth: Float[Array, "*pairs 2"] | None = None,
        *,
        valid: Bool[Array, "*pairs"] | None = None,
    ) -> Float[Array, "..."]:
        """Compute the loss."""
        return depth_continuity(
            rendered,
            depth,
            margin=self.margin,
            tolerance=self.tolerance,
            valid=valid,
            reduction=self.reduction,
        )

    def extra_repr(self) -> str:
        """Show the options."""
        return f"margin={self.margin}, tolerance={self.tolerance}, reduction={self.reduction!r}"
