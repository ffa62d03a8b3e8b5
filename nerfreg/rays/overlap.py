"""How much of one step function lies in the intervals of another, ray by ray.

A ray is often cut twice: a proposal and what was sampled from it, or a ray and its neighbour. Their
samples differ in number and place. All here goes through prefix sums and a search for each bound:
O(N log N) time and O(N) memory, never all pairs of intervals.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from nerfreg.arrays import (
    at_least_float32,
    clip,
    detach,
    namespace,
    on_device_of,
    take,
    take_along,
)
from nerfreg.rays.layout import Layout, ray_layout, spread, through

__all__ = [
    "Steps",
    "in_one_layout",
    "layout_beside",
    "mass_around",
    "mass_inside",
    "mass_over",
    "steps_of",
]

# What is narrower counts as a point; its inverse is finite, also beside other large factors.
MIN_WIDTH = 1e-30


class Steps(NamedTuple):
    """A step function along each ray: a weight is spread evenly over its interval [start, end).

    Attributes:
        rays: how the samples lie.
        weights: one a sample.
        starts: lower bounds of the intervals, which are disjoint, in order, and may have gaps.
        ends: upper bounds.
    """

    rays: Layout
    weights: Any
    starts: Any
    ends: Any


def mass_over(cells: Steps, steps: Steps) -> Any:
    """Integrate ``steps`` over each interval of ``cells``, in whose layout the masses come.

    A weight on an interval without width is a point, which lies in (start, end].
    """
    begun = _last(cells.rays, cells.starts, steps.rays, steps.starts)
    begun_by_end = _last(cells.rays, cells.ends, steps.rays, steps.starts)
    whole = _between(steps, begun, begun_by_end)
    # Where it is empty, a large gradient would enter twice, and leave its rounding in all weights.
    whole = namespace(whole).where(begun == begun_by_end, 0.0, whole)
    parts = _ahead(steps, begun, cells.starts) - _ahead(steps, begun_by_end, cells.ends)
    return clip(whole + parts, 0.0)


def mass_around(cells: Steps, steps: Steps) -> Any:
    """Sum the whole weights of what meets [start, end] of ``cells``: never less than is over.

    An interval of ``steps`` that ends where the cell starts does not meet it; one that starts where
    the cell ends does.
    """
    met = _last(cells.rays, cells.ends, steps.rays, steps.starts)
    passed = _last(cells.rays, cells.starts, steps.rays, steps.ends)
    return _between(steps, passed, met)


def mass_inside(cells: Steps, steps: Steps) -> Any:
    """Sum the whole weights of what lies in (start, end] of ``cells``: never more than is over."""
    begun = _last(cells.rays, cells.starts, steps.rays, steps.starts)
    ended = _last(cells.rays, cells.ends, steps.rays, steps.ends)
    return clip(_between(steps, begun, ended), 0.0)  # one that holds the cell has not ended


def layout_beside(
    function: str, rays: Layout, prefix: str, ray_indices: Any = None, **samples: Any
) -> Layout:
    """Check that further samples lie on the same rays, and tell in which layout; it may be another.

    Args:
        function: name of the public function, for the messages.
        rays: how the samples lie that these are compared with.
        prefix: what the names of these begin with, for example ``"proposal_"``.
        ray_indices: (N,) sorted integers, if these samples are packed.
        **samples: the arrays with one value a sample, by name.

    Raises:
        TypeError: ``ray_indices`` is not int32 or int64.
        ValueError: there are samples of other rays; or as for
            :func:`~nerfreg.rays.layout.ray_layout`.
    """
    if ray_indices is not None:
        if len(rays.ray_shape) != 1:
            raise ValueError(
                f"{function}: {prefix}ray_indices need rays (R,), got rays {rays.ray_shape}"
            )
        name = f"{prefix}ray_indices"
        return ray_layout(function, ray_indices, rays.ray_shape[0], named=name, **samples)
    for name, x in samples.items():
        if len(x.shape) == 0 or tuple(x.shape)[:-1] != rays.ray_shape:
            shape = ", ".join(str(n) for n in (*rays.ray_shape, "S"))
            raise ValueError(
                f"{function}: {name} must have shape ({shape}), samples of the same rays as"
                f" weights (or packed, with {prefix}ray_indices), got {tuple(x.shape)}"
            )
    return ray_layout(function, **samples)


def steps_of(rays: Layout, valid: Any, weights: Any, starts: Any, ends: Any) -> Steps:
    """Make a step function in float32 or better, of 0 on rays that are not ``valid``."""
    samples = weights, starts, ends
    if valid is not None:
        counted, xp = spread(rays, valid), namespace(weights)
        samples = (xp.where(counted, x, 0.0) for x in samples)
    return Steps(rays, *at_least_float32(*samples))


def in_one_layout(*steps: Steps) -> list[Steps]:
    """Pack dense samples where others are packed already."""
    if all(one.rays.ray_indices is None for one in steps):
        return list(steps)
    return [_packed(one) if one.rays.ray_indices is None else one for one in steps]


def _packed(steps: Steps) -> Steps:
    """Lay dense samples of rays (R,) one after the other."""
    rays, *samples = steps
    xp = namespace(*samples)
    n_rays, n_samples = samples[0].shape
    begins = xp.arange(n_rays + 1, **on_device_of(samples[0]))
    ray_indices = xp.reshape(xp.broadcast_to(begins[:-1, None], samples[0].shape), (-1,))
    rays = Layout(rays.ray_shape, ray_indices, begins * n_samples)
    return Steps(rays, *(xp.reshape(x, (-1,)) for x in samples))


def _between(steps: Steps, before: Any, last: Any) -> Any:
    """Sum the weights after one sample and up to another."""
    sums = _after_zero(steps.rays, through(steps.rays, steps.weights))
    return _take(steps.rays, sums, last) - _take(steps.rays, sums, before)


def _ahead(steps: Steps, at: Any, t: Any) -> Any:
    """Tell what of the weight of a sample, whose interval has begun at t, lies beyond t."""
    xp = namespace(t)
    samples = (_after_zero(steps.rays, x) for x in steps[1:])
    weight, start, end = (_take(steps.rays, x, at) for x in samples)
    length = xp.where((start <= t) & (t < end), end - t, 0.0)
    return weight * (length / clip(end - start, MIN_WIDTH))


def _after_zero(rays: Layout, x: Any) -> Any:
    """Put a zero in front of the samples of each ray (packed: of all)."""
    xp = namespace(x)
    if rays.ray_indices is None:
        return xp.concat([xp.zeros_like(x[..., :1]), x], axis=-1)
    return xp.concat([xp.zeros_like(rays.offsets[:1], dtype=x.dtype), x], axis=0)


def _take(rays: Layout, x: Any, place: Any) -> Any:
    """Take from what :func:`_after_zero` gave at places that :func:`_last` found."""
    if rays.ray_indices is None:
        return take_along(x, place)
    return take(x, place)


def _last(rays: Layout, t: Any, of: Layout, bounds: Any) -> Any:
    """Find the last of a ray's ``bounds`` that is ≤ t: its place, from 1 (packed: among all), or 0.

    Args:
        rays: how ``t`` lies, in order on each ray.
        t: where to look.
        of: how ``bounds`` lie, in order on each ray.
        bounds: among what to look.
    """
    xp = namespace(t, bounds)
    dtype = xp.result_type(t, bounds)
    t, bounds = (xp.astype(detach(x), dtype, copy=False) for x in (t, bounds))
    if of.ray_indices is None:
        return _last_dense(t, bounds)
    begins = take(of.offsets, rays.ray_indices)
    if isinstance(t, Tensor) and dtype == torch.float32:
        keys = _keys(of.ray_indices, bounds), _keys(rays.ray_indices, t)
        found = torch.searchsorted(*keys, right=True)
    else:
        found = _bisect(t, bounds, begins, take(of.offsets[1:], rays.ray_indices))
    return xp.where(found > begins, found, 0)


def _last_dense(t: Any, bounds: Any) -> Any:
    if isinstance(t, Tensor):
        return torch.searchsorted(bounds.contiguous(), t.contiguous(), right=True)
    # Sorted together, with bounds first among equals, each t has its own rank and the bounds ≤ t in
    # front of it.
    xp = namespace(t)
    order = xp.argsort(xp.concat([bounds, t], axis=-1), axis=-1, stable=True)
    place = xp.argsort(order, axis=-1)[..., bounds.shape[-1] :]
    return place - xp.arange(t.shape[-1], dtype=place.dtype)


def _bisect(t: Any, bounds: Any, low: Any, high: Any) -> Any:
    """Find the first of ``bounds[low:high]`` that is > t, or ``high``; all searches at once."""
    xp = namespace(t)
    for _ in range(bounds.shape[0].bit_length()):
        middle = (low + high) // 2
        probe = take(bounds, clip(middle, None, bounds.shape[0] - 1))
        above = (middle < high) & (probe <= t)
        low, high = xp.where(above, middle + 1, low), xp.where(above, high, middle)
    return low


def _keys(ray_indices: Tensor, t: Tensor) -> Tensor:
    """Number pairs (ray, t) in their order, so that one search serves all rays."""
    # The bits of a float count its magnitude. A negative one's, below its sign, are turned into
    # their complement, plus 1: so −0 is 0.
    bits = t.contiguous().view(torch.int32)
    sign = bits >> 31
    bits = (bits ^ (sign & 0x7FFFFFFF)) - sign
    return torch.add(bits, ray_indices.long(), alpha=2**32)
