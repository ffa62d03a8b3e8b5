"""Total variation of rendered colour."""

from typing import Any, Literal

from jaxtyping import Bool, Float
from torch import nn

from nerfreg.arrays import Array, at_least_float32, namespace
from nerfreg.checks import require_choice, require_finite, require_floating, require_mask
from nerfreg.losses.neighbours import ACROSS, DOWN, bounded, pixels, reduce_places, require_patch
from nerfreg.losses.reduction import Reduction, fill_invalid

__all__ = ["TotalVariation", "total_variation"]


def total_variation(
    rgb: Float[Array, "*patches height width 3"],
    *,
    norm: Literal["l1", "l2"] = "l1",
    valid: Bool[Array, "*patches height width"] | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    r"""Penalise differences between the colours of neighbouring pixels.

    .. math:: \operatorname*{mean}_{y,x,c} f(\mathrm{rgb}_{y,x+1,c}-\mathrm{rgb}_{yxc})
        + \operatorname*{mean}_{y,x,c} f(\mathrm{rgb}_{y+1,x,c}-\mathrm{rgb}_{yxc})

    with f the absolute value or the square.

    Args:
        rgb: patches of contiguous pixels, or whole images, in [0, 1].
        norm: ``"l1"`` is total variation: an edge and a slope of equal height cost alike. ``"l2"``
            blurs edges.
        valid: which pixels count. A difference counts where its two pixels do.
        reduction: over patches that have a counted difference.

    Returns:
        One value a patch, or its reduction; ≥ 0, with 0 exactly on one colour. Colours in [0, 1]
        give at most 2.

    Raises:
        TypeError: ``rgb`` is not a floating-point array.
        ValueError: ``rgb`` is not (…, H, W, 3) or smaller than 2×2; ``valid`` is not one a pixel;
            ``norm`` or ``reduction`` is unknown; while values are checked, a valid colour is not
            finite.

    Numerics: float32 or better. Colours beyond ±1e15 count as that, with gradient 0. At equal
    colours ``"l1"`` has gradient 0. Pixels that are not valid may hold anything, NaN included.

    Source: Rudin, Osher, Fatemi 1992, by axis (anisotropic), as radiance fields use it. *Differs
    from upstream in:* TensoRF's, and nerfstudio's ``tv_loss``, is twice ``norm="l2"``; gsplat's
    ``tv`` divides the ``"l1"`` sums of a single channel by H·W, not by the number of differences,
    and is so (P−1)/P times this for P×P pixels.

    Example:
        >>> import torch
        >>> halves = torch.tensor([0.0, 1.0]).expand(3, 2, 2).movedim(0, -1)  # black | white
        >>> total_variation(halves).item()
        1.0
    """
    name = "total_variation"
    require_choice(name, "norm", norm, ("l1", "l2"))
    require_floating(name, rgb=rgb)
    if len(rgb.shape) < 3 or rgb.shape[-1] != 3:
        raise ValueError(f"{name}: rgb must be (…, H, W, 3), channels last, got {tuple(rgb.shape)}")
    require_patch(name, "rgb", "(…, H, W, 3)", rgb.shape[:-1], 2)
    require_mask(name, rgb.shape[:-1], valid, rgb)
    require_finite(name, valid, rgb=rgb)
    (rgb,) = at_least_float32(fill_invalid(rgb, None if valid is None else valid[..., None], 0.0))
    rgb, xp = bounded(rgb), namespace(rgb)
    terms: list[Any] = []
    for stencil in (ACROSS, DOWN):
        here, there = pixels(rgb, stencil, channels=True)
        step = there - here
        terms.append((stencil, xp.abs(step) if norm == "l1" else step**2))
    return reduce_places(terms, None, valid, reduction, channels=True, times=1 / 3, function=name)


class TotalVariation(nn.Module):
    """Penalise differences between the colours of neighbouring pixels: :func:`total_variation`.

    Args:
        norm: ``"l1"`` or ``"l2"``.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Example:
        >>> import torch
        >>> TotalVariation()(torch.ones(64, 8, 8, 3)).item()
        0.0
    """

    def __init__(self, *, norm: Literal["l1", "l2"] = "l1", reduction: Reduction = "mean") -> None:
        super().__init__()
        self.norm: Literal["l1", "l2"] = norm
        self.reduction: Reduction = reduction

    def forward(
        self,
        rgb: Float[Array, "*patches height width 3"],
        *,
        valid: Bool[Array, "*patches height width"] | None = None,
    ) -> Float[Array, "..."]:
        """Compute the loss."""
        return total_variation(rgb, norm=self.norm, valid=valid, reduction=self.reduction)

    def extra_repr(self) -> str:
        """Show the options."""
        return f"norm={self.norm!r}, reduction={self.reduction!r}"
