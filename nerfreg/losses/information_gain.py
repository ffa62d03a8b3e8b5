"""How differently two neighbouring rays stop (InfoNeRF's second term)."""

from typing import Any, Literal

from jaxtyping import Bool, Float, Integer
from torch import nn

from nerfreg.arrays import Array, clip, detach, is_float16, namespace
from nerfreg.checks import (
    require_choice,
    require_floating,
    require_mask,
    require_number,
    require_one_device,
)
from nerfreg.losses.reduction import Reduction, reduce
from nerfreg.rays.layout import largest, ray_layout, spread, total
from nerfreg.rays.overlap import Steps, in_one_layout, layout_beside, mass_over, steps_of

__all__ = ["InformationGain", "information_gain"]

Form = Literal["aligned", "released", "softmax"]


def information_gain(
    weights: Float[Array, "*rays samples"],
    starts: Float[Array, "*rays samples"],
    ends: Float[Array, "*rays samples"],
    neighbor_weights: Float[Array, "*neighbor_rays neighbors"],
    neighbor_starts: Float[Array, "*neighbor_rays neighbors"],
    neighbor_ends: Float[Array, "*neighbor_rays neighbors"],
    *,
    form: Form = "aligned",
    threshold: float = 0.1,
    eps: float | None = None,
    ray_indices: Integer[Array, " samples"] | None = None,
    n_rays: int | None = None,
    neighbor_ray_indices: Integer[Array, " neighbors"] | None = None,
    valid: Bool[Array, "*n_rays"] | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    r"""Ask two rays that pass close to one another to stop at the same depths.

    ``form="aligned"`` is KL[ray ‖ neighbour], given that both stop, on the intervals of the ray:

    .. math:: \sum_{k=1}^{S+1} (p_k+\varepsilon)\log\frac{p_k+\varepsilon}{q_k+\varepsilon},\qquad
        p_k = \frac{\mathrm{weights}_k}{\sum_j\mathrm{weights}_j},\quad
        q_k = \frac{\text{mass of the neighbour in } [\mathrm{starts}_k, \mathrm{ends}_k]}
        {\sum_j\mathrm{neighbor\_weights}_j}

    each weight of the neighbour being spread evenly over its own interval, and cell S + 1 holding
    what the neighbour has elsewhere. It is 0 where the opacity (the sum of weights) of either does
    not exceed ``threshold``.

    ``form="released"`` is the published code, which compares by number of sample, wherever the
    samples are:

    .. math:: \sum_{k=1}^{S} q_k \log\frac{q_k}{p_k},\qquad p_k =
        \frac{\mathrm{weights}_k}{\varepsilon+\sum_j\mathrm{weights}_j}+\varepsilon,\quad q_k =
        \frac{\mathrm{neighbor\_weights}_k}{\varepsilon+\sum_j\mathrm{neighbor\_weights}_j}+\varepsilon

    and ``form="softmax"`` the same with p and q the softmax of the weights, its other setting.

    Args:
        weights: ≥ 0: probability that the ray stops in each interval, or, as published, the alpha
            of each sample.
        starts: lower bounds of the intervals, in the ray parameter t.
        ends: upper bounds. Intervals are disjoint, in order and may have gaps; the last may be open
            (1e10): its mass lies far out, in what is open on the other ray.
        neighbor_weights: of the same kind, of a ray close to each: of the next pixel, or of the
            same pixel after a turn of the camera by some degrees.
        neighbor_starts: lower bounds of its intervals, in the same kind and unit of t.
        neighbor_ends: their upper bounds.
        form: ``"aligned"``, ``"released"`` or ``"softmax"``. The last two use no bounds; the
            neighbours then lie as the rays do, dense or packed.
        threshold: ≥ 0, opacity that both rays must exceed to be compared, for ``"aligned"``.
        eps: ε; ``None`` means 1e-6, and 1e-10 as published; 1e-4 for float16 weights, whose
            gradient cannot hold 1/ε. Without effect on ``"softmax"``.
        ray_indices: ray of each sample, sorted, if samples are packed (N,).
        n_rays: number of rays, if samples are packed; an empty ray counts 0.
        neighbor_ray_indices: ray of each of the neighbours' samples, sorted, if those are packed;
            either may be dense beside the other. Numbers are those of the rays they belong to.
        valid: which pairs count; others may hold anything, NaN included.
        reduction: over valid pairs.

    Returns:
        One value a pair, or its reduction, in nats: ≥ 0, with 0 exactly where p = q; ``"aligned"``
        is at most about log(1/ε). Pairs below the threshold count 0 and stay in the mean.
        ``"aligned"`` does not change when all bounds are scaled or shifted, nor with the scale of
        the weights above the threshold.

    Raises:
        TypeError: an argument is not a floating-point array.
        ValueError: arguments of one ray differ in shape; the neighbours are not one a ray;
            ``valid`` is not one a ray; a dense ray has no sample; an option is unknown, ``eps`` ≤ 0
            or ``threshold`` < 0; ``neighbor_ray_indices`` beside another form than ``"aligned"``;
            or as :class:`~nerfreg.rays.RayTermination` for packed samples of either.

    Numerics: float32 or better; O(N log N) time, O(N) memory. Both rays receive gradient through
    their weights, none through their bounds: moving samples does not change a scene. The sum is
    computed as Σ p log(p/q) − p + q, the same as both sum to 1, of which no summand is negative. A
    mass is a difference of sums, some 1e-7 off in float32, below ε. The threshold bounds the
    gradient's factor 1/opacity. As published, a ray without weights has a gradient of 1e18, which
    in float16 is infinite.

    Source: Kim et al. 2022 (InfoNeRF), information gain reduction. *Differs from upstream in:*
    comparison by depth; the direction, as the code's is KL[neighbour ‖ ray]; the threshold, which
    upstream has in its entropy term only; ε, which bounds a value by 14 instead of 23 nats.

    Example:
        >>> import torch
        >>> starts, ends = torch.tensor([[1.0, 2.0]]), torch.tensor([[2.0, 3.0]])
        >>> near = torch.tensor([[0.9, 0.0]])
        >>> halves = torch.tensor([[0.9]]), starts[:, :1], ends[:, 1:]  # spread over both
        >>> round(information_gain(near, starts, ends, *halves).item(), 4)  # log 2
        0.6931
    """
    name = "information_gain"
    require_choice(name, "form", form, ("aligned", "released", "softmax"))
    require_number(name, "threshold", threshold, ">= 0", lambda x: x >= 0)
    own = {"weights": weights, "starts": starts, "ends": ends}
    neighbor = {
        "neighbor_weights": neighbor_weights,
        "neighbor_starts": neighbor_starts,
        "neighbor_ends": neighbor_ends,
    }
    require_floating(name, **own, **neighbor)
    rays = ray_layout(name, ray_indices, n_rays, **own)
    if form == "aligned":
        beside = layout_beside(name, rays, "neighbor_", neighbor_ray_indices, **neighbor)
    else:
        if neighbor_ray_indices is not None:
            raise ValueError(
                f'{name}: form="{form}" compares sample by sample, so neighbours lie as the rays'
                " do; leave neighbor_ray_indices out"
            )
        beside = ray_layout(name, ray_indices, n_rays, **own, **neighbor)
    require_one_device(name, **own, **neighbor)
    require_mask(name, rays.ray_shape, valid, weights)
    if eps is None:
        eps = 1e-4 if is_float16(weights) else 1e-6 if form == "aligned" else 1e-10
    require_number(name, "eps", eps, "> 0", lambda x: x > 0)

    ray, other = in_one_layout(
        steps_of(rays, valid, weights, detach(starts), detach(ends)),
        steps_of(beside, valid, neighbor_weights, detach(neighbor_starts), detach(neighbor_ends)),
    )
    if form == "aligned":
        values = _aligned(ray, other, threshold, eps)
    else:
        p, q = (_by_sample(steps, form, eps) for steps in (ray, other))
        xp = namespace(p)
        values = total(ray.rays, q * (xp.log(q) - xp.log(p)))
    return reduce(values, reduction, valid, function=name)


def _aligned(ray: Steps, other: Steps, threshold: float, eps: float) -> Any:
    """Sum p log(p/q) − p + q over the ray's intervals and the cell for what is elsewhere."""
    xp = namespace(ray.weights)
    opacity, other_opacity = (total(steps.rays, steps.weights) for steps in (ray, other))
    p = ray.weights / spread(ray.rays, clip(opacity, eps))
    q = mass_over(ray, other) / spread(ray.rays, clip(other_opacity, eps))
    elsewhere = clip(1.0 - total(ray.rays, q), 0.0)
    values = total(ray.rays, (p + eps) * (xp.log(p + eps) - xp.log(q + eps)) - p + q)
    values = values + elsewhere - eps * xp.log1p(elsewhere / eps)  # where p is 0
    both = (opacity > threshold) & (other_opacity > threshold)
    return xp.where(both, values, 0.0)


def _by_sample(steps: Steps, form: Form, eps: float) -> Any:
    """Make probabilities of weights, as the published code does."""
    xp, rays = namespace(steps.weights), steps.rays
    if form == "released":
        return steps.weights / (spread(rays, total(rays, steps.weights)) + eps) + eps
    largest_on_ray = detach(largest(rays, steps.weights))
    exponential = xp.exp(steps.weights - spread(rays, largest_on_ray))
    return exponential / spread(rays, total(rays, exponential))


class InformationGain(nn.Module):
    """Ask two rays that pass close to one another to stop at the same depths.

    The function is :func:`information_gain`.

    Args:
        form: ``"aligned"``, ``"released"`` or ``"softmax"``.
        threshold: opacity that both rays must exceed, for ``"aligned"``.
        eps: ``None`` means the form's own.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Example:
        >>> import torch
        >>> weights, starts = torch.tensor([[0.5, 0.4]]), torch.tensor([[1.0, 2.0]])
        >>> ray = weights, starts, starts + 1
        >>> round(InformationGain()(*ray, *ray).item(), 4)
        0.0
    """

    def __init__(
        self,
        *,
        form: Form = "aligned",
        threshold: float = 0.1,
        eps: float | None = None,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        self.form: Form = form
        self.threshold = threshold
        self.eps = eps
        self.reduction: Reduction = reduction

    def forward(
        self,
        weights: Float[Array, "*rays samples"],
        starts: Float[Array, "*rays samples"],
        ends: Float[Array, "*rays samples"],
        neighbor_weights: Float[Array, "*neighbor_rays neighbors"],
        neighbor_starts: Float[Array, "*neighbor_rays neighbors"],
        neighbor_ends: Float[Array, "*neighbor_rays neighbors"],
        *,
        ray_indices: Integer[Array, " samples"] | None = None,
        n_rays: int | None = None,
        neighbor_ray_indices: Integer[Array, " neighbors"] | None = None,
        valid: Bool[Array, "*n_rays"] | None = None,
    ) -> Float[Array, "..."]:
        """Compute the loss."""
        return information_gain(
            weights,
            starts,
            ends,
            neighbor_weights,
            neighbor_starts,
            neighbor_ends,
            form=self.form,
            threshold=self.threshold,
            eps=self.eps,
            ray_indices=ray_indices,
            n_rays=n_rays,
            neighbor_ray_indices=neighbor_ray_indices,
            valid=valid,
            reduction=self.reduction,
        )

    def extra_repr(self) -> str:
        """Show the options."""
        return (
            f"form={self.form!r}, threshold={self.threshold}, eps={self.eps},"
            f" reduction={self.reduction!r}"
        )
