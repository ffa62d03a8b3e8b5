"""Depth smoothness that stops at the edges of the image (Monodepth)."""

from typing import Any

from jaxtyping import Bool, Float
from torch import nn

from nerfreg.arrays import Array, at_least_float32, clip, detach, namespace
from nerfreg.checks import (
    require_finite,
    require_floating,
    require_mask,
    require_number,
    require_one_device,
    require_same_shape,
    require_shape,
)
from nerfreg.losses.neighbours import ACROSS, DOWN, bounded, pixels, reduce_places, require_patch
from nerfreg.losses.reduction import Reduction, fill_invalid

__all__ = ["EdgeAwareSmoothness", "edge_aware_smoothness"]

LEAST_MEAN = 1e-7


def edge_aware_smoothness(
    depth: Float[Array, "*patches height width"],
    rgb: Float[Array, "*patches height width 3"],
    opacity: Float[Array, "*patches height width"] | None = None,
    *,
    sharpness: float = 1.0,
    normalize: bool = False,
    valid: Bool[Array, "*patches height width"] | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    r"""Penalise differences between the depths of neighbouring pixels of similar colour.

    .. math:: \operatorname*{mean}_{y,x}\ |d_{y,x+1}-d_{yx}|\, e^{-k\,\|c_{y,x+1}-c_{yx}\|}
        + \operatorname*{mean}_{y,x}\ |d_{y+1,x}-d_{yx}|\, e^{-k\,\|c_{y+1,x}-c_{yx}\|}

    with d the depth, c the colour, k the ``sharpness``, and ‖·‖ the mean absolute value over the
    three channels.

    Args:
        depth: of patches of contiguous pixels, or of whole maps. Any kind of depth (splatting gives
            z-depth), or its inverse, as upstream; the loss has its unit.
        rgb: colour of the same pixels, in [0, 1], detached: of the photograph, or rendered where
            there is none.
        opacity: weight of each pixel, detached; a difference weighs as the less opaque of its two
            pixels. ``None`` means unweighted. It weighs the sum, not the count.
        sharpness: k, ≥ 0: at 1, as published, black beside white still counts 0.37; at 10, a step
            of a tenth counts so. 0 sees no colour.
        normalize: divide each patch's depth by its mean over valid pixels, as Monodepth2 does with
            inverse depth. The loss is then without unit, and shrinking the scene no way out.
        valid: which pixels count. A difference counts where its two pixels do.
        reduction: over patches that have a counted difference.

    Returns:
        One value a patch, or its reduction; ≥ 0, with 0 exactly where depth is constant.

    Raises:
        TypeError: ``depth``, ``rgb`` or ``opacity`` is not a floating-point array.
        ValueError: patches are smaller than 2×2; ``rgb`` is not one colour for each depth;
            ``opacity`` or ``valid`` is shaped otherwise than ``depth``; ``sharpness`` < 0;
            ``reduction`` is unknown; while values are checked, a valid input is not finite.

    Numerics: float32 or better. What lies beyond ±1e15 counts as that, and a mean depth below 1e-7
    as 1e-7, with gradient 0; ``normalize`` expects depth ≥ 0. At equal depths the gradient is 0.
    Pixels that are not valid may hold anything, NaN included.

    Source: Godard et al. 2017 (Monodepth), disparity smoothness; as their code does, ‖·‖ averages
    over channels; Godard et al. 2019 (Monodepth2) for ``normalize``. *Differs from
    upstream in:* Monodepth2 adds 1e-7 to the mean.

    Example:
        >>> import torch
        >>> depth = torch.tensor([[1.0, 3.0], [1.0, 3.0]])
        >>> grey = torch.full((2, 2, 3), 0.5)
        >>> edge = grey * torch.tensor([0.0, 2.0])[:, None]  # black | white, where depth jumps
        >>> edge_aware_smoothness(depth, grey).item()
        2.0
        >>> round(edge_aware_smoothness(depth, edge).item(), 4)  # 2 / e
        0.7358
    """
    name = "edge_aware_smoothness"
    require_floating(name, depth=depth, rgb=rgb, opacity=opacity)
    require_same_shape(name, "(…, H, W)", depth=depth, opacity=opacity)
    require_patch(name, "depth", "(…, H, W)", depth.shape, 2)
    require_shape(name, "one colour for each depth", (*depth.shape, 3), rgb=rgb)
    require_one_device(name, depth=depth, rgb=rgb)
    require_mask(name, depth.shape, valid, depth)
    require_finite(name, valid, depth=depth, rgb=rgb, opacity=opacity)
    require_number(name, "sharpness", sharpness, ">= 0", lambda x: x >= 0)

    in_colour = None if valid is None else valid[..., None]
    rgb = fill_invalid(detach(rgb), in_colour, 0.0)
    depth, rgb = at_least_float32(fill_invalid(depth, valid, 0.0), rgb)
    depth, rgb = bounded(depth), bounded(rgb)
    if normalize:
        depth = depth / _mean(depth, valid)
    xp = namespace(depth)
    terms: list[Any] = []
    for stencil in (ACROSS, DOWN):
        here, there = pixels(depth, stencil)
        colour, other = pixels(rgb, stencil, channels=True)
        edge = xp.mean(xp.abs(other - colour), axis=-1)
        terms.append((stencil, xp.abs(there - here) * xp.exp(-sharpness * edge)))
    return reduce_places(terms, opacity, valid, reduction, function=name)


def _mean(depth: Any, valid: Any) -> Any:
    """Average over the valid pixels of each patch, the others being 0, away from 0."""
    xp = namespace(depth)
    if valid is None:
        mean = xp.mean(depth, axis=(-2, -1), keepdims=True)
    else:
        count = xp.sum(xp.astype(valid, xp.int32), axis=(-2, -1), keepdims=True)
        total = xp.sum(depth, axis=(-2, -1), keepdims=True)
        mean = total / xp.astype(clip(count, 1), depth.dtype)
    return clip(mean, LEAST_MEAN)


class EdgeAwareSmoothness(nn.Module):
    """Penalise depth differences between pixels of similar colour: :func:`edge_aware_smoothness`.

    Args:
        sharpness: how fast a difference of colour forgives one of depth.
        normalize: divide depth by its mean.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Example:
        >>> import torch
        >>> EdgeAwareSmoothness()(torch.ones(64, 8, 8), torch.rand(64, 8, 8, 3)).item()
        0.0
    """

    def __init__(
        self,
        *,
        sharpness: float = 1.0,
        normalize: bool = False,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        self.sharpness = sharpness
        self.normalize = normalize
        self.reduction: Reduction = reduction

    def forward(
        self,
        depth: Float[Array, "*patches height width"],
        rgb: Float[Array, "*patches height width 3"],
        opacity: Float[Array, "*patches height width"] | None = None,
        *,
        valid: Bool[Array, "*patches height width"] | None = None,
    ) -> Float[Array, "..."]:
        """Compute the loss."""
        return edge_aware_smoothness(
            depth,
            rgb,
            opacity,
            sharpness=self.sharpness,
            normalize=self.normalize,
            valid=valid,
            reduction=self.reduction,
        )

    def extra_repr(self) -> str:
        """Show the options."""
        return (
            f"sharpness={self.sharpness}, normalize={self.normalize}, reduction={self.reduction!r}"
        )
