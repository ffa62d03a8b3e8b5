"""Neighbouring pixels of patches, and means over the places where all of them count.

A stencil is the (row, column) offsets of a few pixels. It lies at every place of a patch at which
all its pixels are inside.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from nerfreg.arrays import at_least_float32, clip, detach, namespace, within
from nerfreg.losses.reduction import Reduction, fill_invalid, reduce

__all__ = ["ACROSS", "DOWN", "bounded", "pixels", "reduce_places", "require_patch"]

Stencil = Sequence[tuple[int, int]]

ACROSS: Stencil = ((0, 0), (0, 1))
DOWN: Stencil = ((0, 0), (1, 0))

# Squares of its differences, and their sums over any image, are finite in float32.
LARGEST = 1e15


def require_patch(function: str, name: str, expected: str, size: Sequence[int], least: int) -> None:
    """Raise ``ValueError`` unless a patch has ``least`` rows and columns.

    Args:
        function: name of the public function, for the message.
        name: the argument's name.
        expected: its shape in words, for example ``"(…, H, W)"``.
        size: its shape without channels.
        least: how many pixels in a row the differences need.
    """
    if len(size) < 2 or min(size[-2:]) < least:
        raise ValueError(
            f"{function}: {name} must be {expected} with H, W >= {least}, so that pixels have"
            f" neighbours, got H, W = {tuple(size[-2:])}"
        )


def pixels(x: Any, stencil: Stencil, *, channels: bool = False) -> list[Any]:
    """Align the pixels of a stencil: an array for each offset, with a value for each place.

    Example:
        >>> import numpy as np
        >>> left, right = pixels(np.arange(6.0).reshape(2, 3), ACROSS)
        >>> (right - left).tolist()
        [[1.0, 1.0], [1.0, 1.0]]
    """
    height, width = x.shape[-3:-1] if channels else x.shape[-2:]
    height -= max(row for row, _ in stencil)
    width -= max(column for _, column in stencil)
    if channels:
        return [x[..., row : row + height, col : col + width, :] for row, col in stencil]
    return [x[..., row : row + height, col : col + width] for row, col in stencil]


def bounded(x: Any) -> Any:
    """Count what lies beyond ±1e15 as that, with gradient 0."""
    return within(x, -LARGEST, LARGEST)


def reduce_places(
    terms: Iterable[tuple[Stencil, Any]],
    opacity: Any,
    valid: Any,
    reduction: Reduction,
    *,
    channels: bool = False,
    times: float = 1.0,
    function: str,
) -> Any:
    """Add up each term's mean over the places that count, then reduce over patches.

    Args:
        terms: stencils, each with one value a place.
        opacity: of each pixel, or ``None``: a place weighs as its least opaque pixel, in the sum,
            not in the count. Detached.
        valid: of each pixel, or ``None``: a place counts where all its pixels do, a patch where one
            of its places does.
        reduction: over patches.
        channels: values have a last axis, over which they are summed.
        times: factor of the result.
        function: name of the public function, for the messages.
    """
    if opacity is not None:
        (opacity,) = at_least_float32(fill_invalid(detach(opacity), valid, 0.0))
    # Channels are summed with the places: a sum over a short last axis alone is slow.
    axes = (-3, -2, -1) if channels else (-2, -1)
    per_patch: Any = 0.0
    n_counted: Any = None
    for stencil, values in terms:
        xp = namespace(values)
        size = values.shape[:-1] if channels else values.shape
        weight, count = None, size[-2] * size[-1]
        if opacity is not None:
            weight, *others = pixels(opacity, stencil)
            for other in others:
                weight = xp.minimum(weight, other)
        if valid is not None:
            counted, *others = pixels(valid, stencil)
            for other in others:
                counted = counted & other
            found = xp.sum(xp.astype(counted, xp.int32), axis=(-2, -1))
            n_counted = found if n_counted is None else n_counted + found
            counted = xp.astype(counted, values.dtype)
            weight = counted if weight is None else counted * weight
            count = xp.astype(clip(found, 1), values.dtype)
        if weight is not None:
            # Values are finite, also where they do not count. In torch a product is several times
            # faster than a choice by a mask that is broadcast over channels.
            values = values * (weight[..., None] if channels else weight)
        # A mean's gradient would be divided place by place.
        per_patch = per_patch + xp.sum(values, axis=axes) / count
    seen = None if n_counted is None else n_counted > 0
    return reduce(times * per_patch, reduction, seen, function=function)
