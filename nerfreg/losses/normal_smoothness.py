"""Smoothness of surface normals."""

from typing import Any, Literal

from jaxtyping import Bool, Float
from torch import nn

from nerfreg.arrays import Array, at_least_float32, namespace
from nerfreg.checks import (
    require_choice,
    require_finite,
    require_floating,
    require_mask,
    require_one_device,
    require_shape,
)
from nerfreg.losses.neighbours import ACROSS, DOWN, bounded, pixels, reduce_places, require_patch
from nerfreg.losses.reduction import Reduction, fill_invalid

__all__ = ["NormalSmoothness", "normal_smoothness"]


def normal_smoothness(
    normals: Float[Array, "*patches height width 3"],
    opacity: Float[Array, "*patches height width"] | None = None,
    *,
    norm: Literal["l2", "l1"] = "l2",
    valid: Bool[Array, "*patches height width"] | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    r"""Penalise differences between the normals of neighbouring pixels.

    .. math:: \operatorname*{mean}_{y,x} f(n_{y,x+1}-n_{yx})
        + \operatorname*{mean}_{y,x} f(n_{y+1,x}-n_{yx}),\qquad
        f(v) = \tfrac12\|v\|^2\ \text{or}\ \|v\|_1

    Args:
        normals: unit vectors of contiguous pixels, in one frame: of
            :func:`nerfreg.rays.normals_from_depth` (which asks for the kind of depth), or rendered
            and normalised. A pixel whose normal is the zero vector has none, and takes part in no
            difference.
        opacity: weight of each pixel, detached; a difference weighs as the less opaque of its two
            pixels. ``None`` means unweighted. It weighs the sum, not the count.
        norm: ``"l2"`` is 1 − cos of the angle between two normals, and rounds corners; ``"l1"`` is
            total variation, which prices a corner and a curve of equal angle nearly alike, and
            depends on the axes.
        valid: which pixels count. A difference counts where its two pixels do.
        reduction: over patches that have a counted difference.

    Returns:
        One value a patch, or its reduction; ≥ 0, with 0 exactly on planes, and for unit normals at
        most 4 (``"l2"``) or 4√3 (``"l1"``). No unit: the scene's scale makes no difference.

    Raises:
        TypeError: ``normals`` or ``opacity`` is not a floating-point array.
        ValueError: ``normals`` is not (…, H, W, 3) or smaller than 2×2; ``opacity`` or ``valid`` is
            not one a pixel; ``norm`` or ``reduction`` is unknown; while values are checked, a valid
            input is not finite.

    Numerics: float32 or better. 1 − cos is computed as half a squared difference, which is precise,
    and not below 0, near 0. Components beyond ±1e15 count as that, with gradient 0. Pixels that
    are not valid may hold anything, NaN included.

    Source: Turkulainen et al. 2024 (DN-Splatter), the total variation of normals: ``norm="l1"``,
    which they average over the three components: a third of this. ``"l2"`` is the cosine distance
    that 2DGS and MonoSDF take between two kinds of normals, here between neighbours.

    Example:
        >>> import torch
        >>> corner = torch.eye(3)[None, :2].expand(2, 2, 3)  # x beside y, in both rows
        >>> normal_smoothness(corner).item(), normal_smoothness(corner, norm="l1").item()
        (1.0, 2.0)
    """
    name = "normal_smoothness"
    require_choice(name, "norm", norm, ("l2", "l1"))
    require_floating(name, normals=normals, opacity=opacity)
    if len(normals.shape) < 3 or normals.shape[-1] != 3:
        raise ValueError(f"{name}: normals must be (…, H, W, 3), got {tuple(normals.shape)}")
    size = normals.shape[:-1]
    require_patch(name, "normals", "(…, H, W, 3)", size, 2)
    require_shape(name, "one a pixel", size, opacity=opacity)
    require_one_device(name, normals=normals, opacity=opacity)
    require_mask(name, size, valid, normals)
    require_finite(name, valid, normals=normals, opacity=opacity)
    in_axes = None if valid is None else valid[..., None]
    (normals,) = at_least_float32(fill_invalid(normals, in_axes, 0.0))
    xp = namespace(normals)
    # What is not valid has become a zero vector, so this is all that counts.
    x, y, z = (normals[..., axis] != 0 for axis in range(3))
    exists = x | y | z
    normals = bounded(normals)
    terms: list[Any] = []
    for stencil in (ACROSS, DOWN):
        here, there = pixels(normals, stencil, channels=True)
        step = there - here
        terms.append((stencil, step**2 if norm == "l2" else xp.abs(step)))
    times = 0.5 if norm == "l2" else 1.0
    return reduce_places(
        terms, opacity, exists, reduction, channels=True, times=times, function=name
    )


class NormalSmoothness(nn.Module):
    """Penalise differences between the normals of neighbouring pixels: :func:`normal_smoothness`.

    Args:
        norm: ``"l2"`` or ``"l1"``.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Example:
        >>> import torch
        >>> NormalSmoothness()(torch.tensor([0.0, 0.0, -1.0]).expand(64, 8, 8, 3)).item()
        0.0
    """

    def __init__(self, *, norm: Literal["l2", "l1"] = "l2", reduction: Reduction = "mean") -> None:
        super().__init__()
        self.norm: Literal["l2", "l1"] = norm
        self.reduction: Reduction = reduction

    def forward(
        self,
        normals: Float[Array, "*patches height width 3"],
        opacity: Float[Array, "*patches height width"] | None = None,
        *,
        valid: Bool[Array, "*patches height width"] | None = None,
    ) -> Float[Array, "..."]:
        """Compute the loss."""
        return normal_smoothness(
            normals, opacity, norm=self.norm, valid=valid, reduction=self.reduction
        )

    def extra_repr(self) -> str:
        """Show the options."""
        return f"norm={self.norm!r}, reduction={self.reduction!r}"
