"""Smoothness that lets depth slope: second differences (SfMLearner, thin plates)."""

from typing import Any, Literal

from jaxtyping import Bool, Float
from torch import nn

from nerfreg.arrays import Array, at_least_float32, namespace
from nerfreg.checks import (
    require_choice,
    require_finite,
    require_floating,
    require_mask,
    require_same_shape,
)
from nerfreg.losses.neighbours import ACROSS, DOWN, bounded, pixels, reduce_places, require_patch
from nerfreg.losses.reduction import Reduction, fill_invalid

__all__ = ["SecondOrderSmoothness", "second_order_smoothness"]

IN_A_ROW = ((0, 0), (0, 1), (0, 2))
IN_A_COLUMN = ((0, 0), (1, 0), (2, 0))
SQUARE = ((0, 0), (0, 1), (1, 0), (1, 1))


def second_order_smoothness(
    depth: Float[Array, "*patches height width"],
    opacity: Float[Array, "*patches height width"] | None = None,
    *,
    norm: Literal["l2", "l1"] = "l2",
    valid: Bool[Array, "*patches height width"] | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    r"""Penalise how the slope of depth changes from pixel to pixel.

    .. math:: \operatorname*{mean}_{y,x} f(d_{xx}) + 2\operatorname*{mean}_{y,x} f(d_{xy})
        + \operatorname*{mean}_{y,x} f(d_{yy})

    with f the square or the absolute value, and

    .. math:: d_{xx} = d_{y,x-1}-2d_{yx}+d_{y,x+1},\quad
        d_{yy} = d_{y-1,x}-2d_{yx}+d_{y+1,x},\quad
        d_{xy} = d_{yx}-d_{y,x+1}-d_{y+1,x}+d_{y+1,x+1}

    Args:
        depth: of patches of contiguous pixels, or of whole maps. Any kind of depth; the loss has
            its unit, squared for ``"l2"``. Of a plane seen at a slant it is *inverse z-depth* that
            is linear in the pixel: pass ``1 / z_depth`` (splatting gives z-depth) where slanted
            planes must cost nothing.
        opacity: weight of each pixel, detached; a second difference weighs as the least opaque of
            its pixels. ``None`` means unweighted. It weighs the sum, not the count.
        norm: ``"l2"`` is the bending energy of a thin plate, which does not see how the image is
            turned, and rounds folds; ``"l1"`` prices a fold by its angle, however sharp.
        valid: which pixels count. A second difference counts where its three or four pixels do.
        reduction: over patches that have a counted second difference.

    Returns:
        One value a patch, or its reduction; ≥ 0, with 0 exactly where depth is a linear ramp,
        a constant among them.

    Raises:
        TypeError: ``depth`` or ``opacity`` is not a floating-point array.
        ValueError: patches are smaller than 3×3; ``opacity`` or ``valid`` is shaped otherwise than
            ``depth``; ``norm`` or ``reduction`` is unknown; while values are checked, a valid
            input is not finite.

    Numerics: float32 or better. Depths beyond ±1e15 count as that, with gradient 0.
    Rounding of large depths is noise here: of a ramp at 1000 with slope 0.1 float32 leaves
    some 1e-4 a difference. On ramps ``"l1"`` has gradient 0. Pixels that are not valid may hold
    anything, NaN included.

    Source: Zhou et al. 2017 (SfMLearner), code: ``norm="l1"`` on inverse depth, where d_xy is
    counted once as d_xy and once as d_yx; ``"l2"`` is the quadratic variation of Grimson 1981.
    *Differs from upstream in:* nothing at one scale.

    Example:
        >>> import torch
        >>> ramp = torch.arange(3.0) + 2 * torch.arange(3.0)[:, None]
        >>> fold = torch.arange(3.0).sub(1).abs().expand(3, 3)
        >>> second_order_smoothness(ramp).item(), second_order_smoothness(fold).item()
        (0.0, 4.0)
    """
    name = "second_order_smoothness"
    require_choice(name, "norm", norm, ("l2", "l1"))
    require_floating(name, depth=depth, opacity=opacity)
    require_same_shape(name, "(…, H, W)", depth=depth, opacity=opacity)
    require_patch(name, "depth", "(…, H, W)", depth.shape, 3)
    require_mask(name, depth.shape, valid, depth)
    require_finite(name, valid, depth=depth, opacity=opacity)
    (depth,) = at_least_float32(fill_invalid(depth, valid, 0.0))
    depth, xp = bounded(depth), namespace(depth)
    across, down = (there - here for here, there in (pixels(depth, ACROSS), pixels(depth, DOWN)))
    terms: list[Any] = []
    for stencil, slope, step in (
        (IN_A_ROW, across, ACROSS),
        (IN_A_COLUMN, down, DOWN),
        (SQUARE, across, DOWN),
    ):
        here, there = pixels(slope, step)
        change = there - here
        bend = change**2 if norm == "l2" else xp.abs(change)
        terms.append((stencil, 2.0 * bend if stencil is SQUARE else bend))
    return reduce_places(terms, opacity, valid, reduction, function=name)


class SecondOrderSmoothness(nn.Module):
    """Penalise how the slope of depth changes: :func:`second_order_smoothness`.

    Args:
        norm: ``"l2"`` or ``"l1"``.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Example:
        >>> import torch
        >>> SecondOrderSmoothness()(torch.arange(8.0).expand(64, 8, 8)).item()
        0.0
    """

    def __init__(self, *, norm: Literal["l2", "l1"] = "l2", reduction: Reduction = "mean") -> None:
        super().__init__()
        self.norm: Literal["l2", "l1"] = norm
        self.reduction: Reduction = reduction

    def forward(
        self,
        depth: Float[Array, "*patches height width"],
        opacity: Float[Array, "*patches height width"] | None = None,
        *,
        valid: Bool[Array, "*patches height width"] | None = None,
    ) -> Float[Array, "..."]:
        """Compute the loss."""
        return second_order_smoothness(
            depth, opacity, norm=self.norm, valid=valid, reduction=self.reduction
        )

    def extra_repr(self) -> str:
        """Show the options."""
        return f"norm={self.norm!r}, reduction={self.reduction!r}"
