"""The two ways samples lie in memory, behind one set of verbs, so that a loss is written once.

*Dense*: (…, S), the last axis runs along the ray. *Packed*: (N,), the samples of all rays one after
the other, with sorted ``ray_indices`` (N,) and ``n_rays``; rays may be empty. The functions here
sum along rays, hand a ray's value to its samples, and tell who is whose neighbour, in either.
"""

from numbers import Integral
from typing import Any, NamedTuple

from torch import Tensor

from nerfreg.arrays import like, namespace, on_device_of, take, take_along
from nerfreg.checks import (
    require_arrays,
    require_one_device,
    require_same_shape,
    require_values,
    value_checks,
)
from nerfreg.rays.segments import (
    segment_largest,
    segment_offsets,
    segment_scan,
    segment_spread,
    segment_sum,
)

__all__ = [
    "Layout",
    "at_rank",
    "before",
    "first",
    "following",
    "largest",
    "last",
    "n_samples",
    "rank",
    "ray_layout",
    "spread",
    "through",
    "total",
    "total_of_first",
]


class Layout(NamedTuple):
    """How the samples of rays lie in memory.

    Attributes:
        ray_shape: shape of one value a ray: all axes of dense samples but the last; (n_rays,).
        ray_indices: (N,) ray of each packed sample; ``None`` means dense.
        offsets: (n_rays + 1,) where each ray begins, and at last N.
    """

    ray_shape: tuple[int, ...]
    ray_indices: Any = None
    offsets: Any = None


def total(rays: Layout, x: Any) -> Any:
    """Sum over each ray; 0 for an empty one."""
    if rays.ray_indices is None:
        return namespace(x).sum(x, axis=-1)
    return segment_sum(x, rays.ray_indices, rays.offsets)


def total_of_first(rays: Layout, x: Any, n: int) -> Any:
    """Sum the first ``n`` samples of each ray, or those that it has."""
    xp = namespace(x)
    if rays.ray_indices is None:
        return xp.sum(x[..., : min(n, x.shape[-1])], axis=-1)
    n_rays, n_all = rays.ray_shape[0], x.shape[0]
    if n_rays * n > n_all:  # so many that all had better be looked at
        return total(rays, xp.where(rank(rays, x) < n, x, 0.0))
    begins, ends = rays.offsets[:-1, None], rays.offsets[1:, None]
    index = begins + xp.arange(n, **like(rays.offsets))
    has = index < ends
    found = xp.reshape(take(x, xp.reshape(xp.where(has, index, 0), (-1,))), (n_rays, n))
    return xp.sum(xp.where(has, found, 0.0), axis=-1)


def spread(rays: Layout, per_ray: Any) -> Any:
    """Give each sample its ray's value (dense: an axis that broadcasts)."""
    if rays.ray_indices is None:
        return per_ray[..., None]
    return segment_spread(per_ray, rays.ray_indices, rays.offsets)


def through(rays: Layout, x: Any) -> Any:
    """Sum what lies on the ray up to and with each sample."""
    if rays.ray_indices is not None:
        return segment_scan(x, rays.ray_indices, rays.offsets, inclusive=True)
    if isinstance(x, Tensor):
        return x.cumsum(-1)
    return namespace(x).cumulative_sum(x, axis=-1)


def before(rays: Layout, x: Any) -> Any:
    """Sum what lies in front of each sample, without itself.

    Dense rays leave their last sample out of the sum, so that it may be infinite.
    """
    if rays.ray_indices is not None:
        return segment_scan(x, rays.ray_indices, rays.offsets, inclusive=False)
    xp = namespace(x)
    return xp.concat([xp.zeros_like(x[..., :1]), through(rays, x[..., :-1])], axis=-1)


def largest(rays: Layout, x: Any, floor: float = 0.0) -> Any:
    """Find each ray's largest among values ≥ ``floor``, which is what an empty ray has."""
    if rays.ray_indices is None:
        return namespace(x).max(x, axis=-1)
    return segment_largest(x, rays.ray_indices, rays.offsets, floor)


def following(rays: Layout, x: Any) -> Any:
    """Give each sample the value of the next one on its ray; the last keeps its own."""
    xp = namespace(x)
    if rays.ray_indices is None:
        return xp.concat([x[..., 1:], x[..., -1:]], axis=-1)
    at = rays.ray_indices
    same = xp.concat([at[1:] == at[:-1], at[-1:] != at[-1:]], axis=0)
    return xp.where(same, xp.concat([x[1:], x[-1:]], axis=0), x)


def rank(rays: Layout, x: Any) -> Any:
    """Number the samples ``x`` of each ray from 0 (dense: an axis that broadcasts)."""
    xp = namespace(x)
    if rays.ray_indices is None:
        return xp.arange(x.shape[-1], **on_device_of(x))
    begins = take(rays.offsets, rays.ray_indices)
    return xp.arange(x.shape[0], **like(begins)) - begins


def n_samples(rays: Layout, x: Any) -> Any:
    """Count the samples ``x`` of each ray (dense: one number for all)."""
    if rays.ray_indices is None:
        return namespace(x).full((), x.shape[-1], **on_device_of(x))
    return rays.offsets[1:] - rays.offsets[:-1]


def first(rays: Layout, x: Any) -> Any:
    """Take each ray's first value; 0 for an empty ray."""
    return x[..., 0] if rays.ray_indices is None else _pick(rays, x, rays.offsets[:-1])


def last(rays: Layout, x: Any) -> Any:
    """Take each ray's last value; 0 for an empty ray."""
    return x[..., -1] if rays.ray_indices is None else _pick(rays, x, rays.offsets[1:] - 1)


def at_rank(rays: Layout, x: Any, rank: Any) -> Any:
    """Take each ray's value at a rank, an integer per ray that lies on it; 0 for an empty ray."""
    if rays.ray_indices is None:
        return take_along(x, rank[..., None])[..., 0]
    return _pick(rays, x, rays.offsets[:-1] + rank)


def _pick(rays: Layout, x: Any, index: Any) -> Any:
    """Take one packed sample a ray; 0 for an empty ray."""
    xp = namespace(x)
    empty = rays.offsets[1:] == rays.offsets[:-1]
    # A zero behind the samples is what empty rays point at, and makes N = 0 no special case.
    padded = xp.concat([x, xp.zeros_like(rays.offsets[:1], dtype=x.dtype)], axis=0)
    return take(padded, xp.where(empty, x.shape[0], index))


def ray_layout(
    function: str,
    ray_indices: Any = None,
    n_rays: int | None = None,
    *,
    named: str = "ray_indices",
    **samples: Any,
) -> Layout:
    """Check that samples lie in one of the two layouts, and tell in which.

    Args:
        function: name of the public function, for the messages.
        ray_indices: (N,) sorted integers, if the samples are packed.
        n_rays: number of rays, if the samples are packed.
        named: what the public function calls ``ray_indices``, for the messages.
        **samples: the arrays with one value a sample, by name; ``None`` passes.

    Raises:
        TypeError: ``ray_indices`` is not int32 or int64, or of another library than the samples;
            ``n_rays`` is no whole number.
        ValueError: shapes or devices differ; a dense ray without samples; only one of
            ``ray_indices`` and ``n_rays``; while values are checked, ``ray_indices`` is unsorted or
            outside of [0, n_rays), an interval ends before it starts, or a weight, alpha or density
            is negative (NaN passes: it may lie where nothing counts).
    """
    given = {name: x for name, x in samples.items() if x is not None}
    name, x = next(iter(given.items()))
    if ray_indices is None:
        if n_rays is not None:
            raise ValueError(
                f"{function}: n_rays={n_rays} without ray_indices; packed samples need both"
            )
        require_same_shape(function, "(…, S)", **given)
        if len(x.shape) == 0 or x.shape[-1] == 0:
            raise ValueError(f"{function}: {name} must be (…, S) with S >= 1, got {tuple(x.shape)}")
        _check_values(function, given)
        return Layout(tuple(x.shape)[:-1])

    require_arrays(function, **given, **{named: ray_indices})
    xp = namespace(ray_indices)
    if not xp.isdtype(ray_indices.dtype, (xp.int32, xp.int64)):
        raise TypeError(f"{function}: {named} must be int32 or int64, got {ray_indices.dtype}")
    if n_rays is None:
        raise ValueError(
            f"{function}: ray_indices without n_rays; the last rays may be empty, so it cannot be"
            " told from the samples"
        )
    if isinstance(n_rays, bool) or not isinstance(n_rays, Integral):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"{function}: n_rays must be an int, got {type(n_rays).__name__}")
    if n_rays < 0:
        raise ValueError(f"{function}: n_rays must be >= 0, got {n_rays}")
    for name, x in given.items():
        if len(x.shape) != 1 or tuple(x.shape) != tuple(ray_indices.shape):
            raise ValueError(
                f"{function}: packed {name} must be (N,) as {named}, got {tuple(x.shape)} and"
                f" {named} {tuple(ray_indices.shape)}"
            )
    require_one_device(function, **given, **{named: ray_indices})
    if value_checks() and ray_indices.shape[0] > 0:
        in_range = (ray_indices >= 0) & (ray_indices < n_rays)
        rule = f"in [0, n_rays) = [0, {n_rays})"
        require_values(function, named, ray_indices, rule, in_range)
        rises = ray_indices[1:] >= ray_indices[:-1]
        require_values(function, named, ray_indices[1:], "sorted", rises)
    _check_values(function, given)
    return Layout((int(n_rays),), ray_indices, segment_offsets(ray_indices, int(n_rays)))


def _check_values(function: str, samples: dict[str, Any]) -> None:
    """Raise, while values are checked, where an interval runs backwards or a share is negative."""
    if not value_checks():
        return
    for name, x in samples.items():
        if name.endswith("ends"):
            starts = name.removesuffix("ends") + "starts"
            require_values(function, name, x, f">= {starts}", ~(x < samples[starts]))
        elif name.endswith(("weights", "alpha", "density")):
            require_values(function, name, x, ">= 0", ~(x < 0))
