"""Two summaries of where a ray stops: the expected and the median depth."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from nerfreg.arrays import at_least_float32
from nerfreg.checks import require_floating, require_same_shape
from nerfreg.rays.intervals import OPEN_END, representative_t

__all__ = ["expected_depth", "median_depth"]


def expected_depth(
    weights: Float[Tensor, "*rays samples"],
    starts: Float[Tensor, "*rays samples"],
    ends: Float[Tensor, "*rays samples"],
    *,
    normalize: bool = True,
) -> Float[Tensor, "*rays"]:
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

    Returns:
        t, in the unit of ``starts``: z-depth where the directions' camera z is 1, distance where
        they have unit length. A ray without opacity is at ``starts``' first.

    Raises:
        TypeError: an argument is not a floating-point tensor.
        ValueError: shapes differ, or there is no sample.

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
    eps = _least_opacity(weights)
    weights, starts, ends = _dense("expected_depth", weights, starts, ends)
    total = (weights * representative_t(starts, ends)).sum(-1)
    if not normalize:
        return total
    depth = total / weights.sum(-1).clamp_min(eps)
    return torch.minimum(torch.maximum(depth, starts[..., 0]), ends[..., -1])


def median_depth(
    weights: Float[Tensor, "*rays samples"],
    starts: Float[Tensor, "*rays samples"],
    ends: Float[Tensor, "*rays samples"],
    *,
    form: Literal["uniform", "released"] = "uniform",
) -> Float[Tensor, "*rays"]:
    """Find the t by which half of the ray that stops has stopped.

    Args:
        weights: probability of stopping in each interval.
        starts: lower bounds of the intervals, in the ray parameter t.
        ends: upper bounds.
        form: ``"uniform"`` spreads each weight evenly over its interval and interpolates there.
            ``"released"`` does what RegNeRF's code does: it interpolates the mid-points between the
            cumulated weights of whole intervals, about half an interval too near; for comparison
            with its numbers.

    Returns:
        t, in the unit of ``starts``. An empty ray is at ``starts``' first; an open last interval
        (end ≥ 1e9) counts at its start.

    Raises:
        TypeError: an argument is not a floating-point tensor.
        ValueError: shapes differ, there is no sample, or ``form`` is unknown.

    Numerics: float32 or better. The gradient holds the interval in which the median lies fixed, and
    is bounded as that of :func:`expected_depth`; ``"released"`` has none.

    Source: mip-NeRF's and RegNeRF's ``distance_median`` (``form="released"``).

    Example:
        >>> import torch
        >>> starts, ends = torch.tensor([[1.0, 2.0]]), torch.tensor([[2.0, 4.0]])
        >>> median_depth(torch.tensor([[0.25, 0.75]]), starts, ends).item()  # a third into [2, 4]
        2.6666667461395264
    """
    if form not in ("uniform", "released"):
        raise ValueError(f'median_depth: form must be "uniform" or "released", got {form!r}')
    eps = _least_opacity(weights)
    weights, starts, ends = _dense("median_depth", weights, starts, ends)
    if form == "uniform":
        left, right = starts, torch.where(ends < OPEN_END, ends, starts)
    else:
        weights, eps = weights.detach(), torch.finfo(weights.dtype).tiny
        right = representative_t(starts, ends)
        left = torch.cat([right[..., :1], right[..., :-1]], dim=-1)
    stopped = weights.cumsum(-1)
    half = 0.5 * stopped[..., -1:]
    crossing = (stopped < half).sum(-1, keepdim=True).clamp_max(weights.shape[-1] - 1)
    weight = weights.gather(-1, crossing)
    before = stopped.gather(-1, crossing) - weight
    share = ((half - before) / weight.clamp_min(eps)).clamp(0.0, 1.0)
    near, far = left.gather(-1, crossing), right.gather(-1, crossing)
    return (near + share * (far - near)).squeeze(-1)


def _least_opacity(weights: Tensor) -> float:
    """Choose what probabilities are divided by at least.

    It is float32's machine epsilon in float64 too, as upstream: one is then the other's twin.
    """
    return 2.0**-10 if weights.dtype == torch.float16 else torch.finfo(torch.float32).eps


def _dense(name: str, weights: Tensor, starts: Tensor, ends: Tensor) -> tuple[Tensor, ...]:
    """Check the three and lift them to float32."""
    require_floating(name, weights=weights, starts=starts, ends=ends)
    require_same_shape(name, "(…, S)", weights=weights, starts=starts, ends=ends)
    if weights.ndim == 0 or weights.shape[-1] == 0:
        raise ValueError(
            f"{name}: weights must have at least one sample, got {tuple(weights.shape)}"
        )
    return at_least_float32(weights, starts, ends)
