"""Where a ray is looked at: evenly at first, then where the first look found something."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["Spacing", "blur_pool", "even_edges", "invert_cdf", "resample", "stratify"]

Spacing = Literal["linear", "disparity"]

# Below this much total weight a histogram counts as empty; samples stay this far from its upper
# end. Published code uses the constant of float32 in every precision.
EPS = torch.finfo(torch.float32).eps


def even_edges(near: Tensor, far: Tensor, n_samples: int, spacing: Spacing = "linear") -> Tensor:
    """Divide [near, far] into ``n_samples`` intervals, even in t or in 1/t.

    Args:
        near: (…, 1), t of the first edge; > 0 for ``"disparity"``.
        far: (…, 1), t of the last edge.
        n_samples: number of intervals S.
        spacing: ``"linear"``, or ``"disparity"``, which spends samples on the foreground.

    Returns:
        (…, S+1), increasing.
    """
    s = torch.linspace(0, 1, n_samples + 1, dtype=near.dtype, device=near.device)
    if spacing == "disparity":
        return 1 / ((1 - s) / near + s / far)
    return near * (1 - s) + far * s


def stratify(edges: Tensor, uniform: Tensor) -> Tensor:
    """Move each edge to a random place between the middles of its two intervals.

    Args:
        edges: (…, S+1).
        uniform: (…, S+1) in [0, 1), one draw an edge.
    """
    middles = (edges[..., 1:] + edges[..., :-1]) / 2
    upper = torch.cat((middles, edges[..., -1:]), -1)
    lower = torch.cat((edges[..., :1], middles), -1)
    return lower + (upper - lower) * uniform


def blur_pool(weights: Tensor) -> Tensor:
    """Widen a histogram by one bin: the maximum of neighbours, then the mean of neighbours.

    An upper envelope: the second look also covers what lies just beside a peak of the first.
    """
    padded = torch.cat((weights[..., :1], weights, weights[..., -1:]), -1)
    envelope = torch.maximum(padded[..., :-1], padded[..., 1:])
    return (envelope[..., :-1] + envelope[..., 1:]) / 2


def invert_cdf(edges: Tensor, weights: Tensor, quantiles: Tensor) -> Tensor:
    """Give the t below which the given share of a piecewise-constant distribution lies.

    Args:
        edges: (…, S+1), the bins' bounds, increasing.
        weights: (…, S) ≥ 0, mass of each bin up to a common factor. All zero means uniform over
            the bins.
        quantiles: (…, n) in [0, 1).

    Returns:
        (…, n), increasing where ``quantiles`` are.
    """
    weights = weights + (EPS - weights.sum(-1, keepdim=True)).clamp_min(0)
    share = weights / weights.sum(-1, keepdim=True)
    inner = share[..., :-1].cumsum(-1).clamp_max(1)
    cdf = F.pad(F.pad(inner, (1, 0)), (0, 1), value=1.0)
    # The first bound above each quantile; a run of equal bounds (empty bins) is jumped as one.
    above = torch.searchsorted(cdf, quantiles, right=True).clamp_max(weights.shape[-1])
    below = above - 1
    cdf_below, cdf_above = cdf.gather(-1, below), cdf.gather(-1, above)
    width = cdf_above - cdf_below
    fraction = torch.where(width > 0, (quantiles - cdf_below) / torch.where(width > 0, width, 1), 0)
    start, end = edges.gather(-1, below), edges.gather(-1, above)
    return start + fraction.clamp(0, 1) * (end - start)


def resample(
    edges: Tensor,
    weights: Tensor,
    n_samples: int,
    *,
    padding: float = 0.01,
    uniform: Tensor | None = None,
) -> Tensor:
    """Lay ``n_samples`` new intervals where the weights are.

    Args:
        edges: (…, S+1), the first look's bounds.
        weights: (…, S), what the first look found.
        n_samples: number of new intervals n.
        padding: added to each blurred weight, so that nowhere goes unseen.
        uniform: (…, n+1) in [0, 1), a draw for each new edge within its share of the distribution;
            ``None`` gives evenly spaced quantiles.

    Returns:
        (…, n+1), increasing.

    Source: Barron et al., "Mip-NeRF" (2021), section 3.3.
    """
    n = n_samples + 1
    if uniform is None:
        quantiles = torch.linspace(0, 1 - EPS, n, dtype=edges.dtype, device=edges.device)
        quantiles = quantiles.expand(*edges.shape[:-1], n).contiguous()
    else:
        strata = torch.arange(n, dtype=edges.dtype, device=edges.device) / n
        quantiles = (strata + uniform * (1 / n - EPS)).clamp_max(1 - EPS)
    return invert_cdf(edges, blur_pool(weights) + padding, quantiles)
