"""Pairs of pixels on the last axis, (…, 2): what the losses that compare two depths check alike."""

from typing import Any

from nerfreg.arrays import namespace
from nerfreg.checks import require_finite, require_floating, require_mask, require_same_shape

__all__ = ["alike", "both", "require_pairs"]


def require_pairs(function: str, rendered: Any, depth: Any, valid: Any) -> None:
    """Raise unless rendered and given depths, (…, 2), and a mask, (…,), belong together."""
    require_floating(function, rendered=rendered, depth=depth)
    require_same_shape(function, "(…, 2)", rendered=rendered, depth=depth)
    if len(rendered.shape) < 1 or rendered.shape[-1] != 2:
        raise ValueError(
            f"{function}: rendered must be (…, 2), the depths of two pixels,"
            f" got {tuple(rendered.shape)}"
        )
    require_mask(function, rendered.shape[:-1], valid, rendered)
    require_finite(function, valid, depth=depth)


def both(valid: Any) -> Any:
    """Give both pixels of a pair its mask, ready to be broadcast over the last axis."""
    return None if valid is None else valid[..., None]


def alike(depth: Any, tolerance: float) -> Any:
    """Tell the pairs whose depths differ by at most this share of the larger."""
    if tolerance == 0:
        return depth[..., 0] == depth[..., 1]
    xp = namespace(depth)
    size = xp.abs(depth)
    larger = xp.maximum(size[..., 0], size[..., 1])
    return xp.abs(depth[..., 0] - depth[..., 1]) <= tolerance * larger
