"""Lengths and quotients that stay finite, gradients included, where the textbook ones do not."""

import torch
from torch import Tensor

__all__ = ["away_from_zero", "length", "unit"]


def length(v: Tensor, *, keepdim: bool = False) -> Tensor:
    """Return ‖v‖ over the last axis, with gradient 0 at 0."""
    return torch.linalg.vector_norm(v, dim=-1, keepdim=keepdim)  # pyright: ignore


def unit(v: Tensor) -> Tensor:
    """Return v / ‖v‖ over the last axis; 0 stays 0."""
    return v / length(v, keepdim=True).clamp_min(torch.finfo(v.dtype).tiny)


def away_from_zero(x: Tensor) -> Tensor:
    """Replace what is too small to divide by with ±eps of its dtype, 0 with +eps."""
    eps = torch.finfo(x.dtype).eps
    return torch.where(x.abs() < eps, torch.where(x < 0, -eps, eps), x)
