"""The intervals a ray is cut into, and what to do with the one that never ends."""

from typing import Any

from jaxtyping import Float

from nerfreg.arrays import Array, namespace
from nerfreg.checks import require_floating

__all__ = ["OPEN_END", "edges_to_intervals", "representative_t"]

OPEN_END = 1e9
"""An interval that ends at or beyond this is open: renderers write infinity as 1e10."""


def edges_to_intervals(
    edges: Float[Array, "*rays edges"],
) -> tuple[Float[Array, "*rays samples"], Float[Array, "*rays samples"]]:
    """Split the S+1 edges of samples without gaps into their S ``starts`` and S ``ends``.

    Call it once, where edges enter; everything in nerfreg takes starts and ends, since intervals
    may have gaps (occupancy grids). Both are views of ``edges``.

    Args:
        edges: sorted along the last axis.

    Raises:
        TypeError: ``edges`` is not a floating-point array.
        ValueError: fewer than two edges.

    Example:
        >>> import torch
        >>> starts, ends = edges_to_intervals(torch.tensor([0.0, 1.0, 3.0]))
        >>> starts.tolist(), ends.tolist()
        ([0.0, 1.0], [1.0, 3.0])
    """
    require_floating("edges_to_intervals", edges=edges)
    if len(edges.shape) == 0 or edges.shape[-1] < 2:
        raise ValueError(
            f"edges_to_intervals: edges must be (…, S+1) with S >= 1, got {tuple(edges.shape)}"
        )
    return edges[..., :-1], edges[..., 1:]


def representative_t(starts: Any, ends: Any) -> Any:
    """Give each interval one t: its mid-point, and the start of an open one.

    The mid-point of [3, 1e10] would put the faintest background five billion units away.
    """
    return namespace(ends).where(ends < OPEN_END, 0.5 * (starts + ends), starts)
