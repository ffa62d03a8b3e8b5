"""Depth smoothness of patches (RegNeRF)."""

from typing import Literal

from jaxtyping import Bool, Float
from torch import nn

from nerfreg.arrays import Array, at_least_float32, clip, detach, namespace
from nerfreg.checks import (
    require_choice,
    require_finite,
    require_floating,
    require_mask,
    require_same_shape,
)
from nerfreg.losses.reduction import Reduction, fill_invalid, reduce

__all__ = ["DepthSmoothness", "depth_smoothness"]


def depth_smoothness(
    depth: Float[Array, "*patches height width"],
    opacity: Float[Array, "*patches height width"] | None = None,
    *,
    norm: Literal["l2", "l1"] = "l2",
    valid: Bool[Array, "*patches height width"] | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    r"""Penalise differences between the depths of neighbouring pixels.

    .. math:: \frac{1}{|C|}\sum_{(y,x)\in C} \mathrm{opacity}_{yx}\,\big[
        f(d_{yx}-d_{y,x+1}) + f(d_{yx}-d_{y+1,x})\big]

    with f the square or the absolute value, and C the counted positions of a patch's top-left
    (H−1)×(W−1) grid.

    Args:
        depth: of patches of contiguous pixels, or of whole maps. Any kind of depth; the loss has
            the kind's unit, squared for ``"l2"``: a scene 10 times larger has 100 times the loss.
        opacity: weight of each position, detached: it says where a depth is worth smoothing and
            receives no gradient (or turning transparent would be the easiest way to be smooth).
            ``None`` means unweighted. It weighs the sum, not the count: a patch of half opacity has
            half the loss.
        norm: ``"l2"`` squares differences, and spreads an edge into a slope; ``"l1"`` takes
            absolute values, and prices an edge and a slope of equal height alike.
        valid: which pixels count. A position counts where its three pixels do.
        reduction: over patches that have a counted position.

    Returns:
        One value a patch, or its reduction; ≥ 0, with 0 on a patch of constant depth (its
        bottom-right pixel takes part in no difference).

    Raises:
        TypeError: ``depth`` or ``opacity`` is not a floating-point array.
        ValueError: patches are smaller than 2×2; ``opacity`` or ``valid`` is shaped otherwise than
            ``depth``; ``norm`` or ``reduction`` is unknown; while values are checked, a valid input
            is not finite.

    Numerics: float32 or better; finite for depths up to 1e18, whose squares are. Pixels that are
    not valid may hold anything, NaN included: neither value nor gradient sees them. At equal depths
    ``"l1"`` has gradient 0.

    Source: Niemeyer et al. 2022 (RegNeRF), geometry regularization. *Differs from upstream in:*
    nothing by default (the paper writes sums, its code takes means). As released, the code
    multiplied the whole loss by a "mask weight" that the LLFF configurations left at 0, so they
    trained without it; here ``opacity=None`` is a weight of one.

    Example:
        >>> import torch
        >>> step = torch.tensor([[1.0, 1.0, 3.0], [1.0, 1.0, 3.0]])  # one of two positions has it
        >>> depth_smoothness(step).item(), depth_smoothness(step, norm="l1").item()
        (2.0, 1.0)
    """
    name = "depth_smoothness"
    require_choice(name, "norm", norm, ("l2", "l1"))
    require_floating(name, depth=depth, opacity=opacity)
    require_same_shape(name, "(…, H, W)", depth=depth, opacity=opacity)
    require_mask(name, depth.shape, valid, depth)
    require_finite(name, valid, depth=depth, opacity=opacity)
    if len(depth.shape) < 2 or depth.shape[-1] < 2 or depth.shape[-2] < 2:
        raise ValueError(
            f"{name}: depth must be (…, H, W) with H, W >= 2, so that pixels have neighbours,"
            f" got {tuple(depth.shape)}"
        )
    (depth,) = at_least_float32(fill_invalid(depth, valid, 0.0))
    xp = namespace(depth)

    corner = depth[..., :-1, :-1]
    across, down = corner - depth[..., :-1, 1:], corner - depth[..., 1:, :-1]
    roughness = across**2 + down**2 if norm == "l2" else xp.abs(across) + xp.abs(down)
    if opacity is not None:
        (weight,) = at_least_float32(fill_invalid(detach(opacity), valid, 0.0))
        roughness = roughness * weight[..., :-1, :-1]
    if valid is None:
        n_pixels = roughness.shape[-2] * roughness.shape[-1]
        per_patch = xp.sum(roughness, axis=(-2, -1)) / n_pixels
        return reduce(per_patch, reduction, function=name)

    counted = valid[..., :-1, :-1] & valid[..., :-1, 1:] & valid[..., 1:, :-1]
    n_counted = xp.sum(xp.astype(counted, xp.int32), axis=(-2, -1))
    total = xp.sum(fill_invalid(roughness, counted, 0.0), axis=(-2, -1))
    per_patch = total / xp.astype(clip(n_counted, 1), total.dtype)
    return reduce(per_patch, reduction, n_counted > 0, function=name)


class DepthSmoothness(nn.Module):
    """Penalise differences between the depths of neighbouring pixels: :func:`depth_smoothness`.

    Args:
        norm: ``"l2"`` or ``"l1"``.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Example:
        >>> import torch
        >>> DepthSmoothness()(torch.ones(64, 8, 8)).item()
        0.0
    """

    def __init__(self, norm: Literal["l2", "l1"] = "l2", reduction: Reduction = "mean") -> None:
        super().__init__()
        self.norm: Literal["l2", "l1"] = norm
        self.reduction: Reduction = reduction

    def forward(
        self,
        depth: Float[Array, "*patches height width"],
        opacity: Float[Array, "*patches height width"] | None = None,
        valid: Bool[Array, "*patches height width"] | None = None,
    ) -> Float[Array, "..."]:
        """Compute the loss."""
        return depth_smoothness(
            depth, opacity, norm=self.norm, valid=valid, reduction=self.reduction
        )

    def extra_repr(self) -> str:
        """Show the options."""
        return f"norm={self.norm!r}, reduction={self.reduction!r}"
