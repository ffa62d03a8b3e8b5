"""The order of two depths (SparseNeRF)."""

from jaxtyping import Bool, Float
from torch import nn

from nerfreg.arrays import Array, at_least_float32, namespace, within
from nerfreg.checks import require_number
from nerfreg.losses.pairs import alike, both, require_pairs
from nerfreg.losses.reduction import Reduction, fill_invalid, reduce

__all__ = ["DepthRanking", "depth_ranking"]


def depth_ranking(
    rendered: Float[Array, "*pairs 2"],
    depth: Float[Array, "*pairs 2"],
    *,
    margin: float = 1e-4,
    tolerance: float = 0.0,
    valid: Bool[Array, "*pairs"] | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    r"""Penalise pairs of rendered depths whose order contradicts the order of the given ones.

    .. math:: \max(\mathrm{rendered}_{near} - \mathrm{rendered}_{far} + \mathrm{margin},\, 0),
        \qquad \mathrm{depth}_{near} < \mathrm{depth}_{far}

    Args:
        rendered: the renderer's depths of two pixels of one view.
        depth: given depths of the same pixels, for example a monocular network's. Only their order
            is used, so any increasing function of depth will do. Both must be of one kind, z-depth
            or distance, as the order of two pixels may differ between the kinds: monocular networks
            give z-depth, or its inverse, which is to be negated; gsplat renders z-depth, nerfacto
            distance.
        margin: ≥ 0, by how much the farther pixel must be farther, in the unit of ``rendered``.
        tolerance: ≥ 0, up to which share of the larger the given depths are a tie. A tie says
            nothing of the order and does not count.
        valid: which pairs count; others may hold anything, NaN included.
        reduction: over valid pairs that are no tie. A pair in the right order counts, with 0.

    Returns:
        One value a pair, or its reduction, in the unit of depth; ≥ 0, with 0 exactly where the
        farther pixel is rendered farther by ``margin`` or more. Ties have 0.

    Raises:
        TypeError: ``rendered`` or ``depth`` is not a floating-point array.
        ValueError: shapes differ, or do not end in 2; ``margin`` or ``tolerance`` is negative;
            while values are checked, a valid ``depth`` is not finite.

    Numerics: float32 or better. ``depth`` is only compared, so no gradient reaches it. Where no
    pair counts, the value is 0 and differentiable.

    Source: Wang et al. 2023 (SparseNeRF), depth ranking; margin as in their code. *Differs from
    upstream in:* ties, which their data loader leaves to chance. nerfstudio's
    ``depth_ranking_loss`` adds the margin with the wrong sign where the second pixel is the nearer
    one, penalises ties, and takes the mean over contradicting pairs alone: NaN where there is none.

    Example:
        >>> import torch
        >>> rendered = torch.tensor([[1.0, 2.0], [2.0, 1.0], [2.0, 1.0]])
        >>> depth = torch.tensor([[0.3, 0.4], [0.4, 0.3], [0.3, 0.4]])  # the last disagrees
        >>> depth_ranking(rendered, depth, reduction="none").tolist()
        [0.0, 0.0, 1.000100016593933]
    """
    name = "depth_ranking"
    require_pairs(name, rendered, depth, valid)
    require_number(name, "margin", margin, ">= 0", lambda x: x >= 0)
    require_number(name, "tolerance", tolerance, ">= 0", lambda x: x >= 0)

    rendered, depth = at_least_float32(fill_invalid(rendered, both(valid), 0.0), depth)
    xp = namespace(rendered)
    sign = 2.0 * xp.astype(depth[..., 0] < depth[..., 1], rendered.dtype) - 1.0
    too_near = sign * (rendered[..., 0] - rendered[..., 1])
    values = within(too_near + margin, 0.0)
    ordered = ~alike(depth, tolerance)
    counted = ordered if valid is None else valid & ordered
    return reduce(values, reduction, counted, function=name)


class DepthRanking(nn.Module):
    """Penalise rendered depths whose order contradicts the given one: :func:`depth_ranking`.

    Args:
        margin: by how much the farther pixel must be farther.
        tolerance: up to which share of the larger the given depths are a tie.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Example:
        >>> import torch
        >>> DepthRanking()(torch.tensor([[1.0, 2.0]]), torch.tensor([[0.3, 0.4]])).item()
        0.0
    """

    def __init__(
        self, *, margin: float = 1e-4, tolerance: float = 0.0, reduction: Reduction = "mean"
    ) -> None:
        super().__init__()
        self.margin = margin
        self.tolerance = tolerance
        self.reduction: Reduction = reduction

    def forward(
        self,
        rendered: Float[Array, "*pairs 2"],
        depth: Float[Array, "*pairs 2"],
        *,
        valid: Bool[Array, "*pairs"] | None = None,
    ) -> Float[Array, "..."]:
        """Compute the loss."""
        return depth_ranking(
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
