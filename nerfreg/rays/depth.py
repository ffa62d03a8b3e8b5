"""Two summaries of where a ray stops: the expected and the median depth."""

from typing import Any, Literal

from jaxtyping import Float, Integer

from nerfreg.arrays import Array, at_least_float32, clip, detach, is_float16, namespace
from nerfreg.checks import require_choice, require_floating
from nerfreg.rays.intervals import OPEN_END, representative_t
from nerfreg.rays.layout import (
    Layout,
    at_rank,
    first,
    last,
    n_samples,
    ray_layout,
    spread,
    through,
    total,
)

__all__ = ["expected_depth", "median_depth"]


def expected_depth(
    weights: Float[Array, "*rays samples"],
    starts: Float[Array, "*rays samples"],
    ends: Float[Array, "*rays samples"],
    *,
    normalize: bool = True,
    ray_indices: Integer[Array, " samples"] | None = None,
    n_rays: int | None = None,
) -> Float[Array, "*n_rays"]:
    r"""Average the mid-points of the intervals by where the ray stops.

    .. math:: d = \mathrm{clip}\Big(\frac{\sum_k w_k m_k}{\max(\sum_k w_k, \varepsilon)},\,
        \mathrm{starts}_1,\, \mathrm{ends}_S\Big), \qquad m_k =
        \tfrac12(\mathrm{starts}_k+\mathrm{ends}_k)

    Args:
        weights: probability of stopping in each interval.
        starts: lower bounds of the intervals, in the ray parameter t.
        ends: upper bounds. Samples that are points rather than intervals come as
            ``starts=t, ends=t``.
        normalize: divide by opacity, so that a half-transparent wall is where it is. ``False``
            gives Σ w m, unclipped: the probability-weighted sum that DS-NeRF and gsplat's "D"
            render, 0 for an empty ray.
        ray_indices: ray of each sample, sorted, if samples are packed (N,).
        n_rays: number of rays, if samples are packed.

    Returns:
        t, in the unit of ``starts``: z-depth where the directions' camera z is 1, distance where
        they have unit length. A ray without opacity is at ``starts``' first; one without samples
        at 0.

    Raises:
        TypeError: an argument is not a floating-point array.
        ValueError: shapes differ, or a dense ray has no sample; or as :class:`RayTermination` for
            packed samples.

    Numerics: float32 or better; ε = 1.2e-7 (1e-3 for float16 weights, whose gradient cannot hold
    1/ε), below which the clip takes over with gradient 0. An open last interval (end ≥ 1e9) counts
    at its start, so the result stays within the scene.

    Source: Niemeyer et al. 2022 (RegNeRF), the depth of their smoothness term. *Differs from
    upstream in:* the open interval, which upstream does not know.

    Example:
        >>> import torch
        >>> starts, ends = torch.tensor([[1.0, 2.0]]), torch.tensor([[2.0, 4.0]])
        >>> expected_depth(torch.tensor([[0.25, 0.25]]), starts, ends).item()  # (1.5 + 3) / 2
        2.25
    """
    rays, eps, weights, starts, ends = _samples(
        "expected_depth", weights, starts, ends, ray_indices, n_rays
    )
    depth = total(rays, weights * representative_t(starts, ends))
    if not normalize:
        return depth
    xp = namespace(weights)
    depth = depth / clip(total(rays, weights), eps)
    return xp.minimum(xp.maximum(depth, first(rays, starts)), last(rays, ends))


def median_depth(
    weights: Float[Array, "*rays samples"],
    starts: Float[Array, "*rays samples"],
    ends: Float[Array, "*rays samples"],
    *,
    form: Literal["uniform", "released"] = "uniform",
    ray_indices: Integer[Array, " samples"] | None = None,
    n_rays: int | None = None,
) -> Float[Array, "*n_rays"]:
    """Find the t by which half of the ray that stops has stopped.

    Args:
        weights: probability of stopping in each interval.
        starts: lower bounds of the intervals, in the ray parameter t.
        ends: upper bounds.
        form: ``"uniform"`` spreads each weight evenly over its interval and interpolates there.
            ``"released"`` does what RegNeRF's code does: it interpolates the mid-points between the
            cumulated weights of whole intervals, about half an interval too near; for comparison
            with its numbers.
        ray_indices: ray of each sample, sorted, if samples are packed (N,).
        n_rays: number of rays, if samples are packed.

    Returns:
        t, in the unit of ``starts``. A ray without opacity is at ``starts``' first, one
        without samples at 0; an open last interval (end ≥ 1e9) counts at its start.

    Raises:
        TypeError: an argument is not a floating-point array.
        ValueError: shapes differ, a dense ray has no sample, or ``form`` is unknown; or as
            :class:`RayTermination` for packed samples.

    Numerics: float32 or better. The gradient holds the interval in which the median lies fixed, and
    is bounded as that of :func:`expected_depth`; ``"released"`` has none.

    Source: mip-NeRF's and RegNeRF's ``distance_median`` (``form="released"``).

    Example:
        >>> import torch
        >>> starts, ends = torch.tensor([[1.0, 2.0]]), torch.tensor([[2.0, 4.0]])
        >>> median_depth(torch.tensor([[0.25, 0.75]]), starts, ends).item()  # a third into [2, 4]
        2.6666667461395264
    """
    require_choice("median_depth", "form", form, ("uniform", "released"))
    rays, eps, weights, starts, ends = _samples(
        "median_depth", weights, starts, ends, ray_indices, n_rays
    )
    xp = namespace(weights)
    if form == "uniform":
        left, right = starts, xp.where(ends < OPEN_END, ends, starts)
    else:
        weights, eps = detach(weights), float(xp.finfo(weights.dtype).smallest_normal)
        left = right = representative_t(starts, ends)
    stopped = through(rays, weights)
    half = 0.5 * last(rays, stopped)
    in_first_half = detach(stopped) < spread(rays, detach(half))
    n_before = xp.astype(total(rays, xp.astype(in_first_half, weights.dtype)), xp.int32)
    crossing = xp.minimum(n_before, n_samples(rays, weights) - 1)
    weight = at_rank(rays, weights, crossing)
    share = (half - (at_rank(rays, stopped, crossing) - weight)) / clip(weight, eps)
    left_crossing = clip(crossing - 1, 0) if form == "released" else crossing
    near, far = at_rank(rays, left, left_crossing), at_rank(rays, right, crossing)
    return near + clip(share, 0.0, 1.0) * (far - near)


def _samples(
    name: str, weights: Any, starts: Any, ends: Any, ray_indices: Any, n_rays: int | None
) -> tuple[Layout, float, Any, Any, Any]:
    """Check the samples, choose what opacity counts at least as, and lift to float32."""
    require_floating(name, weights=weights, starts=starts, ends=ends)
    rays = ray_layout(name, ray_indices, n_rays, weights=weights, starts=starts, ends=ends)
    # float32's machine epsilon in float64 too, as upstream: one is then the other's twin. The
    # gradient of float16 weights cannot hold its inverse.
    eps = 2.0**-10 if is_float16(weights) else 2.0**-23
    return rays, eps, *at_least_float32(weights, starts, ends)
