"""KL divergence between where a point is known to be and where its ray stops (DS-NeRF)."""

import math
from typing import Any, Literal

from jaxtyping import Bool, Float, Integer
from torch import nn

from nerfreg.arrays import Array, at_least_float32, clip, erfc, is_float16, namespace, within
from nerfreg.checks import (
    require_choice,
    require_finite,
    require_floating,
    require_mask,
    require_number,
    require_one_device,
    require_shape,
    require_values,
)
from nerfreg.losses.reduction import Reduction, fill_invalid, reduce
from nerfreg.rays.layout import Layout, largest, n_samples, rank, ray_layout, spread, total

__all__ = ["DepthKL", "depth_kl"]

Form = Literal["kl", "dsnerf"]

MIN_STD = 1e-12


def depth_kl(
    weights: Float[Array, "*rays samples"],
    starts: Float[Array, "*rays samples"],
    ends: Float[Array, "*rays samples"],
    depth: Float[Array, "*n_rays"],
    std: Float[Array, "*n_rays"],
    *,
    form: Form = "kl",
    eps: float | None = None,
    bound_last: bool = True,
    ray_indices: Integer[Array, " samples"] | None = None,
    n_rays: int | None = None,
    valid: Bool[Array, "*n_rays"] | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    r"""Pull the distribution of where a ray stops towards N(depth, std²).

    ``form="kl"`` is KL[N(depth, std²) ‖ weights] on the cells of the ray: its S intervals and one
    cell *elsewhere* for all that lies before, between and beyond them:

    .. math:: \sum_{k=1}^{S+1} (q_k+\varepsilon)\log\frac{q_k+\varepsilon}{p_k+\varepsilon},\qquad
        q_k = \Phi\Big(\frac{\mathrm{ends}_k-\mathrm{depth}}{\mathrm{std}}\Big)
            - \Phi\Big(\frac{\mathrm{starts}_k-\mathrm{depth}}{\mathrm{std}}\Big),\quad
        p_k = \mathrm{weights}_k

    and q, p of *elsewhere* are what the intervals leave of 1. The target is integrated over each
    interval, so a target narrower than its interval pulls as any other.

    ``form="dsnerf"`` is the published sum:

    .. math:: -\sum_{k=1}^{S} \log(\mathrm{weights}_k+\varepsilon)\,
        \exp\Big(-\frac{(\mathrm{starts}_k-\mathrm{depth})^2}{2\,\mathrm{std}^2}\Big)\,
        (\mathrm{ends}_k-\mathrm{starts}_k)

    Args:
        weights: probability that the ray stops in each interval, with sum ≤ 1.
        starts: lower bounds of the intervals, in the ray parameter t.
        ends: upper bounds. Intervals are disjoint and may have gaps; the last may be open (1e10).
        depth: target in t's kind and unit (z-depth where directions have camera z = 1; in
            NDC convert ``starts`` and ``ends`` to z-depth first).
        std: standard deviation of ``depth``, > 0, in its unit. *Not* a variance, as in DS-NeRF's
            and nerfstudio's code.
        form: ``"kl"`` or ``"dsnerf"``.
        eps: ε; ``None`` means 1e-6 for ``"kl"`` and, as published, 1e-5 for ``"dsnerf"``; 1e-4 for
            float16 weights, whose gradient cannot hold 1/ε.
        bound_last: count the last interval as no wider than the widest other one, for ``"dsnerf"``,
            where an open interval otherwise multiplies its term by 1e10 (a lone interval keeps its
            width). ``"kl"`` needs no bound: q is a mass.
        ray_indices: ray of each sample, sorted, if samples are packed (N,).
        n_rays: number of rays, if samples are packed; an empty ray stops *elsewhere*.
        valid: which rays count; the ``depth`` and ``std`` of others may be anything, NaN included.
        reduction: over valid rays.

    Returns:
        One value a ray, or its reduction. ``"kl"``: nats; ≥ 0, with 0 exactly where p = q; at most
        about log(1/ε). It does not change when ``starts``, ``ends``, ``depth`` and ``std`` are all
        multiplied by 10, and intervals of width and weight zero change nothing. ``"dsnerf"``: a
        density integrated over t, so 10 times larger in a scene 10 times larger; it grows with
        ``std``, and its minimum is not 0.

    Raises:
        TypeError: an argument is not a floating-point array.
        ValueError: ``starts`` or ``ends`` is shaped otherwise than ``weights``; ``depth``, ``std``
            or ``valid`` is not one a ray (nothing is broadcast); a dense ray has no sample;
            ``eps`` ≤ 0; an option is unknown; while values are checked, a valid ``std`` ≤ 0, or
            ``depth`` or ``std`` that is not finite; or as
            :class:`~nerfreg.rays.RayTermination` for packed samples.

    Numerics: float32 or better. ε lies above float32's error in 1 − Σ weights (some 1e-7), which
    would otherwise decide the loss of an opaque ray, and below any mass that matters. It bounds the
    value by about 13.8 nats, and the gradient by (q + ε)/(p + ε) ≤ 10⁶; that meets a derivative of
    the weight with respect to density which is as small as p. The sum is computed as
    Σ q log(q/p) − q + p, the same since p and q both sum to 1, of which no summand is negative even
    where rounding makes them sum to a little else. Φ is evaluated in its smaller tail, so distant
    targets keep their relative precision. A ``std`` below 1e-12, 0 and less included, counts as
    1e-12: what lies above has a finite gradient, also in ``std``. Bounds and targets may lie out to
    1e30.

    A target outside the sampled range lies *elsewhere*: it asks the ray not to stop in its samples.
    Extend near and far to cover the targets, or mask those that they do not cover.

    Source: Deng et al. 2022 (DS-NeRF), and their code. *Differs from upstream in:* a normalised
    target (theirs integrates to std·√2π), its entropy subtracted, integrated instead of sampled;
    ``std`` is per ray (the code's caller leaves a variance of 1); the last interval.
    ``bound_last=False, form="dsnerf"`` is the released sum. nerfstudio samples at mid-points: pass
    ``starts=mids, ends=mids + widths``, ``eps=1e-7``.

    Example:
        >>> import torch
        >>> starts, ends = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[2.0, 3.0, 1e10]])
        >>> depth, std = torch.tensor([2.5]), torch.tensor([0.1])
        >>> there, nowhere = torch.tensor([[0.0, 1.0, 0.0]]), torch.zeros(1, 3)
        >>> round(depth_kl(there, starts, ends, depth, std).item(), 4)
        0.0
        >>> round(depth_kl(nowhere, starts, ends, depth, std).item(), 2)  # log(1e6)
        13.82
    """
    name = "depth_kl"
    require_choice(name, "form", form, ("kl", "dsnerf"))
    require_floating(name, weights=weights, starts=starts, ends=ends, depth=depth, std=std)
    rays = ray_layout(name, ray_indices, n_rays, weights=weights, starts=starts, ends=ends)
    require_shape(name, "one a ray", rays.ray_shape, depth=depth, std=std)
    require_one_device(name, weights=weights, depth=depth, std=std)
    require_mask(name, rays.ray_shape, valid, weights)
    require_finite(name, valid, depth=depth, std=std)
    if eps is None:
        eps = 1e-4 if is_float16(weights) else 1e-6 if form == "kl" else 1e-5
    require_number(name, "eps", eps, "> 0", lambda x: x > 0)
    weights, starts, ends, depth, std = at_least_float32(weights, starts, ends, depth, std)
    counted = None if valid is None else spread(rays, valid)
    weights, starts, ends = (fill_invalid(x, counted, 0.0) for x in (weights, starts, ends))
    depth, std = fill_invalid(depth, valid, 0.0), fill_invalid(std, valid, 1.0)
    require_values(name, "std", std, "> 0", lambda x: x > 0)

    # Far below any depth's resolution, and large enough for 1/std² to be finite in a gradient.
    xp = namespace(weights)
    depth, std = spread(rays, depth), spread(rays, clip(std, MIN_STD))
    if form == "kl":
        values = _kl(rays, weights, _normal_mass(starts, ends, depth, std), eps)
    else:
        width = _bounded_widths(rays, starts, ends) if bound_last else ends - starts
        kernel = xp.exp(-0.5 * ((starts - depth) / std) ** 2)
        values = -total(rays, xp.log(weights + eps) * kernel * width)
    return reduce(values, reduction, valid, function=name)


def _normal_mass(starts: Any, ends: Any, mean: Any, std: Any) -> Any:
    """Integrate N(mean, std²) over each interval."""
    xp = namespace(starts)
    low, high = (starts - mean) / std, (ends - mean) / std
    # Φ(8.1) − Φ(8) is 0 in float32, Φ(−8) − Φ(−8.1) is not: mirror what lies right of the mean.
    right = low + high > 0
    low, high = xp.where(right, -high, low), xp.where(right, -low, high)
    mass = 0.5 * (erfc(high * -math.sqrt(0.5)) - erfc(low * -math.sqrt(0.5)))
    return within(mass, 0.0)  # an interval that ends before it starts has none


def _bounded_widths(rays: Layout, starts: Any, ends: Any) -> Any:
    """Measure the intervals, the last of several no wider than the widest other one."""
    xp = namespace(starts)
    width = ends - starts
    last = rank(rays, width) == spread(rays, n_samples(rays, width) - 1)
    widest_other = spread(rays, largest(rays, xp.where(last, 0.0, width)))
    several = spread(rays, n_samples(rays, width) > 1)
    return xp.where(last & several, xp.minimum(width, widest_other), width)


def _kl(rays: Layout, p: Any, q: Any, eps: float) -> Any:
    """Sum q log(q/p) − q + p over the given cells and the one that takes what they leave of 1."""
    p_elsewhere, q_elsewhere = (clip(1.0 - total(rays, x), 0.0) for x in (p, q))
    return total(rays, _gap(p, q, eps)) + _gap(p_elsewhere, q_elsewhere, eps)


def _gap(p: Any, q: Any, eps: float) -> Any:
    xp = namespace(p)
    return (q + eps) * (xp.log(q + eps) - xp.log(p + eps)) - q + p


class DepthKL(nn.Module):
    """Pull the distribution of where a ray stops towards N(depth, std²): :func:`depth_kl`.

    Args:
        form: ``"kl"`` or ``"dsnerf"``.
        eps: ``None`` means the form's own.
        bound_last: bound an open last interval, for ``"dsnerf"``.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Example:
        >>> import torch
        >>> weights = torch.tensor([[0.5, 0.5]])
        >>> starts, ends = torch.tensor([[1.0, 2.0]]), torch.tensor([[2.0, 3.0]])
        >>> depth, std = torch.tensor([2.0]), torch.tensor([0.1])
        >>> round(DepthKL()(weights, starts, ends, depth, std).item(), 4)  # half on either side
        0.0
    """

    def __init__(
        self,
        *,
        form: Form = "kl",
        eps: float | None = None,
        bound_last: bool = True,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        self.form: Form = form
        self.eps = eps
        self.bound_last = bound_last
        self.reduction: Reduction = reduction

    def forward(
        self,
        weights: Float[Array, "*rays samples"],
        starts: Float[Array, "*rays samples"],
        ends: Float[Array, "*rays samples"],
        depth: Float[Array, "*n_rays"],
        std: Float[Array, "*n_rays"],
        *,
        ray_indices: Integer[Array, " samples"] | None = None,
        n_rays: int | None = None,
        valid: Bool[Array, "*n_rays"] | None = None,
    ) -> Float[Array, "..."]:
        """Compute the loss."""
        return depth_kl(
            weights,
            starts,
            ends,
            depth,
            std,
            form=self.form,
            eps=self.eps,
            bound_last=self.bound_last,
            ray_indices=ray_indices,
            n_rays=n_rays,
            valid=valid,
            reduction=self.reduction,
        )

    def extra_repr(self) -> str:
        """Show the options."""
        return (
            f"form={self.form!r}, eps={self.eps}, bound_last={self.bound_last},"
            f" reduction={self.reduction!r}"
        )
