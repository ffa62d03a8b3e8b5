"""Lengths and quotients that stay finite, gradients included, where the textbook ones do not."""

from typing import Any

import torch
from torch import Tensor

from nerfreg.arrays import clip, detach, namespace

__all__ = ["away_from_zero", "cross", "length", "safe_unit", "unit"]


def length(v: Any, *, keepdim: bool = False) -> Any:
    """Return ‖v‖ over the last axis, with gradient 0 at 0."""
    if isinstance(v, Tensor):
        # One kernel with just that gradient, on the way of every ray.
        return torch.linalg.vector_norm(v, dim=-1, keepdim=keepdim)  # pyright: ignore
    xp = namespace(v)
    square = xp.sum(v * v, axis=-1, keepdims=keepdim)
    positive = square > 0.0
    return xp.where(positive, xp.sqrt(xp.where(positive, square, 1.0)), 0.0)


def unit(v: Any) -> Any:
    """Return v / ‖v‖ over the last axis, for vectors of ordinary size; 0 stays 0."""
    xp = namespace(v)
    return v / clip(length(v, keepdim=True), float(xp.finfo(v.dtype).smallest_normal))


def safe_unit(x: Any, *, least: float = 1e-20) -> Any:
    """Divide vectors of any size, also of none, by their length, over the last axis.

    Args:
        x: vectors, float32 or better.
        least: vectors without a component beyond it are 0, with gradient 0: they have no direction.

    Returns:
        Vectors of length 1 or 0. Squares are taken of vectors scaled to a largest component of 1,
        so they neither overflow nor underflow.

    Example:
        >>> import torch
        >>> safe_unit(torch.tensor([[3e30, 4e30], [0.0, 0.0]]))
        tensor([[0.6000, 0.8000],
                [0.0000, 0.0000]])
    """
    xp = namespace(x)
    # Lengths cancel, so the gradient is that of x / ‖x‖ although the scale is held fixed.
    largest = xp.max(xp.abs(detach(x)), axis=-1, keepdims=True)
    directed = largest > least
    scaled = x / xp.where(directed, largest, 1.0)
    squared = xp.where(directed, xp.sum(scaled**2, axis=-1, keepdims=True), 1.0)
    return xp.where(directed, scaled / xp.sqrt(squared), 0.0)


def cross(a: Any, b: Any) -> Any:
    """Return a × b over the last axis; a and b have one number of axes."""
    if isinstance(a, Tensor):
        # The standard's, in torch, takes three times as long to check its arguments.
        return torch.linalg.cross(a, b, dim=-1)  # pyright: ignore
    return namespace(a).linalg.cross(a, b)


def away_from_zero(x: Any) -> Any:
    """Replace what is too small to divide by with ±eps of its dtype, 0 with +eps."""
    xp = namespace(x)
    eps = float(xp.finfo(x.dtype).eps)
    nearest = xp.where(x < 0.0, -eps, xp.full_like(x, eps))
    return xp.where(xp.abs(x) < eps, nearest, x)
