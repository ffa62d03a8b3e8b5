"""Keep a proposal's histogram above the final one (mip-NeRF 360)."""

from jaxtyping import Bool, Float, Integer
from torch import nn

from nerfreg.arrays import Array, detach, within
from nerfreg.checks import require_floating, require_mask, require_number, require_one_device
from nerfreg.losses.reduction import Reduction, reduce
from nerfreg.rays.layout import ray_layout, total
from nerfreg.rays.overlap import in_one_layout, layout_beside, mass_around, steps_of

__all__ = ["Interlevel", "interlevel"]


def interlevel(
    weights: Float[Array, "*rays samples"],
    starts: Float[Array, "*rays samples"],
    ends: Float[Array, "*rays samples"],
    proposal_weights: Float[Array, "*proposal_rays proposals"],
    proposal_starts: Float[Array, "*proposal_rays proposals"],
    proposal_ends: Float[Array, "*proposal_rays proposals"],
    *,
    eps: float = 2.0**-23,
    ray_indices: Integer[Array, " samples"] | None = None,
    n_rays: int | None = None,
    proposal_ray_indices: Integer[Array, " proposals"] | None = None,
    valid: Bool[Array, "*n_rays"] | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    r"""Raise a proposal's weights wherever the final weights exceed what it allows for.

    .. math:: \sum_k \frac{\max(0,\ w_k - \mathrm{bound}_k)^2}{w_k + \varepsilon},\qquad
        \mathrm{bound}_k = \sum_{j:\ \mathrm{proposal}_j \text{ meets } [\mathrm{starts}_k,
        \mathrm{ends}_k]} \mathrm{proposal\_weights}_j,\quad w_k = \mathrm{weights}_k

    A proposal can explain a final histogram as long as each final weight is at most the sum of
    the proposal's weights around it: the samples may lie anywhere in their intervals. The final
    weights teach, and receive no gradient; the proposal network learns from this loss alone.

    Args:
        weights: the final level's probability of stopping in each interval; held fixed.
        starts: lower bounds of the final intervals, in any parameter of the ray.
        ends: upper bounds. Intervals are disjoint, in order and may have gaps.
        proposal_weights: the proposal's probability of stopping in each of its own intervals.
        proposal_starts: their lower bounds, in the same parameter.
        proposal_ends: their upper bounds.
        eps: ε; it bounds the price of a weight of almost 0.
        ray_indices: ray of each final sample, sorted, if these are packed (N,).
        n_rays: number of rays, if the final samples are packed; an empty ray counts 0.
        proposal_ray_indices: ray of each proposal sample, sorted, if those are packed. Either level
            may be dense beside the other.
        valid: which rays count; others may hold anything, NaN included.
        reduction: over valid rays.

    Returns:
        One value a ray, or its reduction; without unit, in [0, Σ weights], with 0 exactly where the
        proposal bounds the final weights. Each final sample adds between −2 and 0 to the gradient
        of the proposal's weights around it.

    Raises:
        TypeError: an argument is not a floating-point array.
        ValueError: arguments of one level differ in shape; the levels differ in their rays;
            ``valid`` is not one a ray; a dense ray has no sample; ``eps`` ≤ 0; ``reduction`` is
            unknown; or as :class:`~nerfreg.rays.RayTermination` for packed samples of either level.

    Numerics: float32 or better; prefix sums and a search for each bound, so O(N log N) time and
    O(N) memory for N samples of both levels, not their product. Positions receive no gradient: the
    loss is constant between the edges. An interval of the proposal that starts where a final one
    ends meets it, one that ends where a final one starts does not; so do multinerf and nerfstudio.

    Source: Barron et al. 2022 (mip-NeRF 360), equation 13. *Differs from upstream in:* the sum over
    samples, as in the paper; multinerf and nerfstudio take the mean over samples as well, so their
    weight of 1 is 1/S here, S the number of final samples. nerfstudio's ε is 1e-7.

    Example:
        >>> import torch
        >>> starts, ends = torch.tensor([[1.0, 2.0]]), torch.tensor([[2.0, 3.0]])
        >>> wide = torch.tensor([[0.5]]), torch.tensor([[0.0]]), torch.tensor([[4.0]])
        >>> fog, wall = torch.tensor([[0.25, 0.25]]), torch.tensor([[0.0, 1.0]])
        >>> [round(interlevel(w, starts, ends, *wide).item(), 4) for w in (fog, wall)]
        [0.0, 0.25]
    """
    name = "interlevel"
    require_number(name, "eps", eps, "> 0", lambda x: x > 0)
    final = {"weights": weights, "starts": starts, "ends": ends}
    proposal = {
        "proposal_weights": proposal_weights,
        "proposal_starts": proposal_starts,
        "proposal_ends": proposal_ends,
    }
    require_floating(name, **final, **proposal)
    rays = ray_layout(name, ray_indices, n_rays, **final)
    proposal_rays = layout_beside(name, rays, "proposal_", proposal_ray_indices, **proposal)
    require_one_device(name, **final, **proposal)
    require_mask(name, rays.ray_shape, valid, weights)
    cells, proposed = in_one_layout(
        steps_of(rays, valid, detach(weights), starts, ends),
        steps_of(proposal_rays, valid, proposal_weights, proposal_starts, proposal_ends),
    )
    excess = within(cells.weights - mass_around(cells, proposed), 0.0)
    values = total(cells.rays, excess * (excess / (cells.weights + eps)))
    return reduce(values, reduction, valid, function=name)


class Interlevel(nn.Module):
    """Raise a proposal's weights wherever the final weights exceed them: :func:`interlevel`.

    Args:
        eps: bounds the price of a weight of almost 0.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Example:
        >>> import torch
        >>> weights, starts = torch.tensor([[1.0]]), torch.tensor([[2.0]])
        >>> proposal = weights / 2, starts - 1, starts + 2
        >>> round(Interlevel()(weights, starts, starts + 1, *proposal).item(), 4)
        0.25
    """

    def __init__(self, *, eps: float = 2.0**-23, reduction: Reduction = "mean") -> None:
        super().__init__()
        self.eps = eps
        self.reduction: Reduction = reduction

    def forward(
        self,
        weights: Float[Array, "*rays samples"],
        starts: Float[Array, "*rays samples"],
        ends: Float[Array, "*rays samples"],
        proposal_weights: Float[Array, "*proposal_rays proposals"],
        proposal_starts: Float[Array, "*proposal_rays proposals"],
        proposal_ends: Float[Array, "*proposal_rays proposals"],
        *,
        ray_indices: Integer[Array, " samples"] | None = None,
        n_rays: int | None = None,
        proposal_ray_indices: Integer[Array, " proposals"] | None = None,
        valid: Bool[Array, "*n_rays"] | None = None,
    ) -> Float[Array, "..."]:
        """Compute the loss."""
        return interlevel(
            weights,
            starts,
            ends,
            proposal_weights,
            proposal_starts,
            proposal_ends,
            eps=self.eps,
            ray_indices=ray_indices,
            n_rays=n_rays,
            proposal_ray_indices=proposal_ray_indices,
            valid=valid,
            reduction=self.reduction,
        )

    def extra_repr(self) -> str:
        """Show the options."""
        return f"eps={self.eps}, reduction={self.reduction!r}"
