"""Sums within rays whose samples lie packed on one axis: no loop over rays, no padding.

``ray_indices`` (N,) is sorted; samples of ray r are ``offsets[r]`` to ``offsets[r + 1]``, and a ray
may have none. torch has autograd functions of its own here, since each sum's derivative is another
one of these sums, where autograd would scatter sample by sample. JAX differentiates its own.
"""

import sys
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nerfreg.arrays import clip, is_jax, namespace

__all__ = [
    "cumulate",
    "segment_largest",
    "segment_offsets",
    "segment_scan",
    "segment_spread",
    "segment_sum",
]


def segment_offsets(ray_indices: Any, n_rays: int) -> Any:
    """Find where each ray begins, and at last where the samples end: (n_rays + 1,)."""
    xp = namespace(ray_indices)
    if isinstance(ray_indices, Tensor):
        rays = torch.arange(n_rays + 1, dtype=ray_indices.dtype, device=ray_indices.device)
        # A column of `nonzero()` is strided, of which the search warns.
        return torch.searchsorted(ray_indices.contiguous(), rays)
    return xp.searchsorted(ray_indices, xp.arange(n_rays + 1, dtype=ray_indices.dtype))


def segment_sum(x: Any, ray_indices: Any, offsets: Any) -> Any:
    """Sum over each ray: (N, …) -> (n_rays, …); an empty ray's is 0."""
    if isinstance(x, Tensor):
        return _run(_torch_sum, _Sum, x, ray_indices, offsets)
    n_rays = offsets.shape[0] - 1
    if is_jax(x):
        add = sys.modules["jax"].ops.segment_sum
        return add(x, ray_indices, num_segments=n_rays, indices_are_sorted=True)
    out = np.zeros((n_rays, *x.shape[1:]), x.dtype)
    np.add.at(out, ray_indices, x)
    return out


def segment_spread(per_ray: Any, ray_indices: Any, offsets: Any) -> Any:
    """Give each sample its ray's value: (n_rays, …) -> (N, …)."""
    if isinstance(per_ray, Tensor):
        return _run(_torch_spread, _Spread, per_ray, ray_indices, offsets)
    return namespace(per_ray).take(per_ray, ray_indices, axis=0)


def segment_largest(x: Any, ray_indices: Any, offsets: Any, floor: float = 0.0) -> Any:
    """Find each ray's largest among values ≥ floor: (N,) -> (n_rays,); an empty ray's is floor."""
    n_rays = offsets.shape[0] - 1
    if isinstance(x, Tensor):
        out = x.new_full((n_rays,), floor)
        return out.scatter_reduce(0, ray_indices.long(), x, "amax")
    if is_jax(x):
        largest = sys.modules["jax"].ops.segment_max
        found = largest(x, ray_indices, num_segments=n_rays, indices_are_sorted=True)
        return clip(found, floor)
    out = np.full(n_rays, floor, x.dtype)
    np.maximum.at(out, ray_indices, x)
    return out


def segment_scan(
    x: Any, ray_indices: Any, offsets: Any, *, inclusive: bool, backwards: bool = False
) -> Any:
    """Sum what lies in front of each sample (or, ``backwards``, behind it) on its ray: (N,).

    torch and NumPy cumulate all rays at once in float64 and take off what was there where the ray
    begins. So a sum is off by float64's rounding of what all rays together sum to: by some 1e-15 of
    Σ|x| on rays of 128 samples, growing with the root of their number. A thousand rays of weights
    are thus off by 1e-12. That is nothing beside float32's rounding of 1; a ray whose own sum is
    below 2e-8 of Σ|x| has fewer digits left than float32 could hold. JAX, which has no float64 by
    default, scans each ray by itself.

    Args:
        x: (N,) of moderate size, without NaN or infinity, which would reach every later ray.
        ray_indices: sorted.
        offsets: of the same.
        inclusive: count the sample itself.
        backwards: sum from the ray's end.
    """
    if isinstance(x, Tensor):
        return _run(_torch_scan, _Scan, x, ray_indices, offsets, inclusive, backwards)
    if is_jax(x):
        return _jax_scan(x, ray_indices, inclusive, backwards)
    sums = np.concatenate([np.zeros(1), np.cumsum(x, dtype=np.float64)])
    inner = sums[:-1] if backwards == inclusive else sums[1:]
    if backwards:
        return (sums[offsets[1:]][ray_indices] - inner).astype(x.dtype)
    return (inner - sums[offsets[:-1]][ray_indices]).astype(x.dtype)


def cumulate(x: Tensor) -> Tensor:
    """Sum over all rays in float64, beginning with 0: (N,) -> (N + 1,)."""
    sums = x.new_empty(x.shape[0] + 1, dtype=torch.float64)
    sums[0] = 0.0
    sums[1:] = x
    sums[1:].cumsum_(0)
    return sums


def _run(plain: Any, function: Any, *inputs: Any) -> Any:
    """Run an autograd function, or, in a compiled graph, what it consists of.

    The compiler differentiates and fuses plain operations well, and warns of autograd functions.
    """
    return plain(*inputs) if torch.compiler.is_compiling() else function.apply(*inputs)


def _torch_sum(x: Tensor, ray_indices: Tensor, offsets: Tensor) -> Tensor:
    # `unsafe` leaves out checks that would wait for the device.
    return torch.segment_reduce(x.contiguous(), "sum", offsets=offsets, unsafe=True)


def _torch_spread(per_ray: Tensor, ray_indices: Tensor, offsets: Tensor) -> Tensor:
    return per_ray.index_select(0, ray_indices)


def _torch_scan(
    x: Tensor, ray_indices: Tensor, offsets: Tensor, inclusive: bool, backwards: bool
) -> Tensor:
    sums = cumulate(x)
    inner = sums[:-1] if backwards == inclusive else sums[1:]
    edge = sums.index_select(0, offsets[1:] if backwards else offsets[:-1])
    edge = edge.index_select(0, ray_indices)
    found = edge.sub_(inner) if backwards else edge.neg_().add_(inner)
    return found.to(x.dtype)


class _Sum(torch.autograd.Function):
    forward = staticmethod(_torch_sum)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[1:])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:  # pyright: ignore
        ray_indices, offsets = ctx.saved_tensors
        if grad.stride(0) == 0 and not torch.is_grad_enabled():
            # A sum or mean over rays hands each the same number.
            return grad[:1].expand(ray_indices.shape[0], *grad.shape[1:]), None, None
        return _run(_torch_spread, _Spread, grad, ray_indices, offsets), None, None


class _Spread(torch.autograd.Function):
    forward = staticmethod(_torch_spread)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[1:])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:  # pyright: ignore
        return _run(_torch_sum, _Sum, grad, *ctx.saved_tensors), None, None


class _Scan(torch.autograd.Function):
    forward = staticmethod(_torch_scan)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _, ray_indices, offsets, ctx.inclusive, ctx.backwards = inputs
        ctx.save_for_backward(ray_indices, offsets)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore
        flags = ctx.inclusive, not ctx.backwards
        found = _run(_torch_scan, _Scan, grad, *ctx.saved_tensors, *flags)
        return found, None, None, None, None


def _jax_scan(x: Any, ray_indices: Any, inclusive: bool, backwards: bool) -> Any:
    jax = sys.modules["jax"]
    xp = namespace(x)

    def join(left: tuple[Any, Any], right: tuple[Any, Any]) -> tuple[Any, Any]:
        # Sums of two runs of samples, each with the ray at its far end: they add on one ray only.
        return xp.where(left[1] == right[1], left[0], 0.0) + right[0], right[1]

    if not inclusive:
        # Each gets its neighbour's number: its own, taken off the sum, would take along what a big
        # one hides. (0.1 + 128) − 128 is not 0.1.
        end, same = xp.zeros_like(x[:1]), ray_indices[1:] == ray_indices[:-1]
        if backwards:
            x = xp.concat([xp.where(same, x[1:], 0.0), end], axis=0)
        else:
            x = xp.concat([end, xp.where(same, x[:-1], 0.0)], axis=0)
    sums, _ = jax.lax.associative_scan(join, (x, ray_indices), reverse=backwards)
    return sums
