"""Depth maps known up to scale and shift: cut into patches, brought into [0, 1], averaged.

Losses that compare the shapes of two maps divide by how far each map spreads. A spread of 0 has no
inverse, and one of 1e-30 squares to 0. Bringing a map into [0, 1] by its own bounds removes both,
and changes neither value nor gradient of a loss that scale and shift leave alone.
"""

import math
from typing import Any

import torch
from torch import Tensor

from nerfreg.arrays import at_least_float32, clip, detach, is_float16, namespace
from nerfreg.checks import require_finite, require_floating, require_mask, require_same_shape
from nerfreg.losses.reduction import fill_invalid

__all__ = [
    "cut",
    "mean",
    "require_integer",
    "require_maps",
    "require_patch_size",
    "root",
    "standard",
    "unit_range",
]

Axes = int | tuple[int, ...]


def require_maps(function: str, rendered: Any, depth: Any, valid: Any) -> None:
    """Raise unless two depth maps and their mask, (…, H, W), belong together."""
    require_floating(function, rendered=rendered, depth=depth)
    require_same_shape(function, "(…, H, W)", rendered=rendered, depth=depth)
    if len(depth.shape) < 2 or depth.shape[-1] * depth.shape[-2] < 2:
        raise ValueError(
            f"{function}: rendered and depth must be (…, H, W) with two pixels or more,"
            f" got {tuple(depth.shape)}"
        )
    if depth.shape[-1] == 1:
        raise ValueError(
            f"{function}: rendered and depth must be (…, H, W) with several pixels in a row; drop a"
            f" last axis of one channel, got {tuple(depth.shape)}"
        )
    require_mask(function, depth.shape, valid, depth)
    require_finite(function, valid, depth=depth)


def require_patch_size(function: str, patch_size: int | None, depth: Any) -> None:
    """Raise unless a patch of this side has several pixels and fits (``None`` is the whole map)."""
    if patch_size is None:
        return
    require_integer(function, "patch_size", patch_size, 2)
    height, width = depth.shape[-2:]
    if patch_size > min(height, width):
        raise ValueError(
            f"{function}: patch_size must be at most the maps' height and width,"
            f" got {patch_size} for maps of {height} x {width}"
        )


def require_integer(function: str, name: str, value: object, least: int) -> None:
    """Raise ``ValueError`` unless an option is an integer and not less than this."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{function}: {name} must be an integer >= {least}, got {value!r}")


def cut(x: Any, patch_size: int | None) -> Any:
    """Cut (…, H, W) into the patches that tile it from its top left: (…, patches, pixels).

    Rows and columns at the bottom and right that fill no patch are left out. ``None`` makes the
    whole map one patch, and of ``None`` is ``None``.
    """
    if x is None:
        return None
    xp = namespace(x)
    *maps, height, width = x.shape
    if patch_size is None:
        return xp.reshape(x, (*maps, 1, height * width))
    down, across = height // patch_size, width // patch_size
    x = x[..., : down * patch_size, : across * patch_size]
    x = xp.reshape(x, (*maps, down, patch_size, across, patch_size))
    return xp.reshape(xp.moveaxis(x, -3, -2), (*maps, down * across, patch_size**2))


def mean(x: Any, valid: Any, axis: Axes) -> Any:
    """Average over what is valid, 0 where nothing is; the axes stay, with length 1."""
    xp = namespace(x)
    if valid is None:
        # The library's own mean has a gradient that is divided number by number.
        axes = (axis,) if isinstance(axis, int) else axis
        return xp.sum(x, axis=axis, keepdims=True) / math.prod([x.shape[i] for i in axes])
    n_valid = xp.sum(xp.astype(valid, xp.int32), axis=axis, keepdims=True)
    total = xp.sum(xp.where(valid, x, 0.0), axis=axis, keepdims=True)
    return total / xp.astype(clip(n_valid, 1), x.dtype)


def unit_range(x: Any, valid: Any, axis: Axes) -> tuple[Any, Any]:
    """Bring what is valid into [0, 1] by its bounds, which are held fixed; constants become 0.

    Returns:
        The numbers, in float32 or better, and, with axes of length 1, where they are not constant:
        where the bounds differ by more than a millionth of the larger (less is rounding), and more
        than 1e-12 (2⁻¹⁰ for float16, whose gradient cannot hold the inverse of less). From one end
        of the numbers to the other, where the difference is infinite, nothing varies either.
    """
    xp = namespace(x)
    resolution = 2.0**-10 if is_float16(x) else 1e-12
    (x,) = at_least_float32(fill_invalid(x, valid, 0.0))
    still = detach(x)
    low = xp.min(fill_invalid(still, valid, math.inf), axis=axis, keepdims=True)
    high = xp.max(fill_invalid(still, valid, -math.inf), axis=axis, keepdims=True)
    spread = high - low
    rounding = 1e-6 * xp.maximum(-low, high)
    varies = (spread > clip(rounding, resolution)) & (spread < math.inf)
    low, spread = xp.where(varies, low, 0.0), xp.where(varies, spread, math.inf)
    # The gradient of a factor takes fewer passes than that of a divisor.
    return (x - low) * (1.0 / spread), varies


def standard(x: Any, valid: Any) -> Any:
    """Shift and scale the last axis of :func:`unit_range` to mean 0 and variance 1.

    What is not valid, and constants, become 0.
    """
    if isinstance(x, Tensor) and valid is None:
        # One pass. Numbers that span [0, 1] have a variance beside which this eps is nothing.
        return torch.nn.functional.layer_norm(x, x.shape[-1:], eps=1e-30)
    xp = namespace(x)
    centred = fill_invalid(x - mean(x, valid, -1), valid, 0.0)
    deviation = root(mean(centred**2, valid, -1))
    return centred * (1.0 / xp.where(deviation > 0, deviation, 1.0))


def root(x: Any) -> Any:
    """Take the square root, with gradient 0 at 0."""
    xp = namespace(x)
    positive = x > 0
    return xp.where(positive, xp.sqrt(xp.where(positive, x, 1.0)), 0.0)
