"""How far apart a ray's weight lies (mip-NeRF 360)."""

from typing import Any

import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor, nn

from nerfreg.arrays import Array, at_least_float32, namespace
from nerfreg.checks import require_floating, require_mask
from nerfreg.losses.reduction import Reduction, fill_invalid, reduce
from nerfreg.rays.intervals import OPEN_END
from nerfreg.rays.layout import Layout, following, last, ray_layout, spread, through, total
from nerfreg.rays.segments import cumulate

__all__ = ["Distortion", "distortion"]


def distortion(
    weights: Float[Array, "*rays samples"],
    starts: Float[Array, "*rays samples"],
    ends: Float[Array, "*rays samples"],
    *,
    ray_indices: Integer[Array, " samples"] | None = None,
    n_rays: int | None = None,
    valid: Bool[Array, "*n_rays"] | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    r"""Gather the weight of each ray in one place, in few and narrow intervals.

    .. math:: \sum_{i,j} w_i w_j\,|m_i - m_j| + \tfrac13 \sum_i w_i^2\,
        (\mathrm{ends}_i - \mathrm{starts}_i),\qquad
        m_i = \tfrac12(\mathrm{starts}_i + \mathrm{ends}_i),\quad w_i = \mathrm{weights}_i

    the mean distance of two points drawn from where the ray stops, weights spread evenly over their
    intervals (times opacity squared).

    Args:
        weights: probability that the ray stops in each interval.
        starts: lower bounds of the intervals. In the ray parameter t, a far background outweighs
            all else; mip-NeRF 360 and nerfacto pass normalised s in [0, 1] (linear in 1/t).
        ends: upper bounds. Intervals are disjoint, in order and may have gaps. An open one (end ≥
            1e9) counts as a point at its start: it adds no width, and what lies there is not far.
        ray_indices: ray of each sample, sorted, if samples are packed (N,).
        n_rays: number of rays, if samples are packed; an empty ray counts 0.
        valid: which rays count; others may hold anything, NaN included.
        reduction: over valid rays.

    Returns:
        One value a ray, or its reduction, in the unit of ``starts``: a scene 10 times larger has 10
        times the loss. ≥ 0, with 0 where the ray is empty or stops at one point; a single interval
        keeps a third of its width.

    Raises:
        TypeError: an argument is not a floating-point array.
        ValueError: ``starts`` or ``ends`` is shaped otherwise than ``weights``; ``valid`` is not
            one a ray; a dense ray has no sample; ``reduction`` is unknown; or as
            :class:`~nerfreg.rays.RayTermination` for packed samples.

    Numerics: float32 or better, O(N) time and memory. With C_k the weight up to and with sample k
    and W that of the whole ray, the double sum is 2 Σ (m_{k+1} − m_k) C_k (W − C_k): each gap,
    times what lies in front of it, times what lies behind. No summand is negative, so nothing
    cancels, and only differences of bounds occur. Weights are probabilities: far beyond 1, their
    squares overflow beside bounds of 1e38.

    Source: Barron et al. 2022 (mip-NeRF 360), equation 15. *Differs from upstream in:* the open
    interval; gradients reach the bounds, as in multinerf and nerfstudio, but not in
    torch_efficient_distloss.

    Example:
        >>> import torch
        >>> starts, ends = torch.tensor([[0.0, 1.0, 2.0]]), torch.tensor([[1.0, 2.0, 3.0]])
        >>> one, two = torch.tensor([[0.0, 1.0, 0.0]]), torch.tensor([[0.5, 0.0, 0.5]])
        >>> [round(distortion(w, starts, ends).item(), 4) for w in (one, two)]
        [0.3333, 1.1667]
    """
    name = "distortion"
    require_floating(name, weights=weights, starts=starts, ends=ends)
    rays = ray_layout(name, ray_indices, n_rays, weights=weights, starts=starts, ends=ends)
    require_mask(name, rays.ray_shape, valid, weights)
    counted = None if valid is None else spread(rays, valid)
    weights, starts, ends = at_least_float32(
        *(fill_invalid(x, counted, 0.0) for x in (weights, starts, ends))
    )
    if _has_own_derivative(rays, weights, starts, ends):
        packed: Any = _Packed
        values, *_ = packed.apply(weights, starts, ends, rays.ray_indices, rays.offsets)
    else:
        values = _distortion(rays, weights, starts, ends)
    return reduce(values, reduction, valid, function=name)


def _distortion(rays: Layout, weights: Any, starts: Any, ends: Any) -> Any:
    """Sum over each ray, in any layout and library."""
    xp = namespace(weights)
    width = xp.where(ends < OPEN_END, ends - starts, 0.0)
    middle = starts + 0.5 * width
    front = through(rays, weights)
    behind = spread(rays, last(rays, front)) - front
    gap = following(rays, middle) - middle
    return 2.0 * total(rays, gap * front * behind) + total(rays, weights * weights * width) / 3.0


def _has_own_derivative(rays: Layout, *samples: Any) -> bool:
    """Tell packed tensors, of one dtype, outside of a compiled graph, which fuses by itself."""
    return (
        rays.ray_indices is not None
        and isinstance(samples[0], Tensor)
        and not torch.compiler.is_compiling()
        and len({x.dtype for x in samples}) == 1
        and samples[0].shape[0] > 0
    )


class _Packed(torch.autograd.Function):
    """The same of packed samples, with its derivative written out: half as many passes."""

    @staticmethod
    def forward(
        weights: Tensor, starts: Tensor, ends: Tensor, ray_indices: Tensor, offsets: Tensor
    ) -> tuple[Tensor, ...]:
        final = offsets[1:] - 1  # of an empty ray: that of one before, or, as −1, of the last ray
        # A mask of numbers is several times faster to make and to use than one of booleans.
        closed = torch.lt(ends, OPEN_END, out=torch.empty_like(ends))
        width = torch.clamp(ends, max=OPEN_END).sub_(starts).mul_(closed)
        middle = torch.add(starts, width, alpha=0.5)
        gap = torch.empty_like(middle)
        torch.sub(middle[1:], middle[:-1], out=gap[:-1])
        gap.index_fill_(0, final, 0.0)
        first, final = offsets[:-1].clamp_max(len(gap) - 1), final.clamp_min(0)
        length = middle.index_select(0, final).double() - middle.index_select(0, first)

        sums = cumulate(weights)
        at = sums.index_select(0, offsets)
        front = at[:-1].index_select(0, ray_indices)
        front = torch.sub(sums[1:], front, out=front).to(weights.dtype)
        whole = at[1:] - at[:-1]
        behind = whole.to(weights.dtype).index_select(0, ray_indices).sub_(front)

        summand = torch.mul(front, behind).mul_(gap)
        summand.addcmul_(weights * weights, width, value=1 / 6)
        values = torch.segment_reduce(summand, "sum", offsets=offsets, unsafe=True).mul_(2.0)
        return values, closed, width, gap, front, behind, whole * length

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_backward(*inputs, *output[1:])

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:  # pyright: ignore
        if grad is None:
            return (None,) * 5
        weights, starts, ends, ray_indices, offsets, *found = ctx.saved_tensors
        if torch.is_grad_enabled():  # someone wants to differentiate the derivative
            rays = Layout(tuple(grad.shape), ray_indices, offsets)
            values = _distortion(rays, weights, starts, ends)
            wanted = [x for x in (weights, starts, ends) if x.requires_grad]
            grads = iter(torch.autograd.grad(values, wanted, grad, create_graph=True))
            return *(next(grads) if x else None for x in ctx.needs_input_grad[:3]), None, None

        closed, width, gap, front, behind, moment = found
        # A mean or a sum over rays hands each the same number.
        grad = 2.0 * (grad[:1] if grad.stride(0) == 0 else grad.index_select(0, ray_indices))

        # To weight i belongs Σ_j w_j |m_i − m_j|. From a sample to the next it grows by
        # gap · (front − behind), and a ray's first and last sum to opacity times length.
        excess = front - behind
        sums = cumulate(excess * gap)
        at = sums.index_select(0, offsets)
        distance = 0.5 * (moment - at[1:] - at[:-1])
        distance = distance.index_select(0, ray_indices).add_(sums[:-1]).to(weights.dtype)
        to_weights = distance.addcmul_(weights, width, value=1 / 3).mul_(grad)
        if not any(ctx.needs_input_grad[1:3]):
            return to_weights, None, None, None, None

        # To mid-point i belongs w_i (front_i − w_i − behind_i), to width i w_i² / 6.
        scale = weights * grad
        to_ends = torch.sub(excess, weights, alpha=2 / 3).mul_(closed).mul_(scale).mul_(0.5)
        to_starts = excess.sub_(weights).mul_(scale).sub_(to_ends)
        return to_weights, to_starts, to_ends, None, None


class Distortion(nn.Module):
    """Gather the weight of each ray in one place: :func:`distortion`.

    Args:
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Example:
        >>> import torch
        >>> starts, ends = torch.tensor([[0.0, 1.0]]), torch.tensor([[1.0, 2.0]])
        >>> Distortion()(torch.tensor([[0.5, 0.5]]), starts, ends).item()  # ½ + (¼ + ¼) / 3
        0.6666666865348816
    """

    def __init__(self, *, reduction: Reduction = "mean") -> None:
        super().__init__()
        self.reduction: Reduction = reduction

    def forward(
        self,
        weights: Float[Array, "*rays samples"],
        starts: Float[Array, "*rays samples"],
        ends: Float[Array, "*rays samples"],
        *,
        ray_indices: Integer[Array, " samples"] | None = None,
        n_rays: int | None = None,
        valid: Bool[Array, "*n_rays"] | None = None,
    ) -> Float[Array, "..."]:
        """Compute the loss."""
        return distortion(
            weights,
            starts,
            ends,
            ray_indices=ray_indices,
            n_rays=n_rays,
            valid=valid,
            reduction=self.reduction,
        )

    def extra_repr(self) -> str:
        """Show the options."""
        return f"reduction={self.reduction!r}"
