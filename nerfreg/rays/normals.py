"""Surface normals from a depth map, by the differences of its points."""

from typing import Any, Literal

from jaxtyping import Float

from nerfreg.arrays import Array, at_least_float32, clip, namespace
from nerfreg.checks import (
    require_choice,
    require_finite,
    require_floating,
    require_one_device,
    require_shape,
)
from nerfreg.vectors import safe_unit

__all__ = ["normals_from_depth"]

# Sums and products of points within it are finite in float32.
FARTHEST = 1e15
# The sine of the angle between two differences, below which it is rounding.
LEAST_SINE = 1e-6


def normals_from_depth(
    depth: Float[Array, "*patches height width"],
    directions: Float[Array, "*patches height width 3"],
    *,
    kind: Literal["z_depth", "distance"],
) -> Float[Array, "*patches height width 3"]:
    r"""Compute the unit normals, towards the camera, of the surface that a depth map shows.

    .. math:: n_{yx} = \pm\frac{p_{,y}\times p_{,x}}{\|p_{,y}\times p_{,x}\|},\qquad
        p_{,x} = p_{y,x+1}-p_{y,x-1},\quad p_{,y} = p_{y+1,x}-p_{y-1,x},\quad
        p = t\cdot\mathrm{directions}

    with the sign that faces the camera. At the border the missing neighbour is the pixel itself.

    Args:
        depth: of patches of contiguous pixels, or of whole maps of one camera each; normalised by
            opacity, as gsplat's ED and splatfacto give it (D is not).
        directions: of the pixels' rays, in the frame in which normals are wanted. Those that
            :class:`nerfreg.views.Cameras` gives (camera z = 1) serve both kinds. All rays of a
            patch start at one point, so not in NDC.
        kind: of ``depth``: ``"z_depth"`` (gsplat, splatfacto, COLMAP, sensors) takes
            p = depth · directions and so needs directions with camera z = 1; ``"distance"`` takes
            p = depth · directions / ‖directions‖, of any length. Taking one for the other bends
            planes.

    Returns:
        Vectors of length 1, or 0 where there is no normal: where the points of neighbours coincide
        (depth 0) or lie on one line. Of a plane exact to rounding, also at the border.

    Raises:
        TypeError: ``depth`` or ``directions`` is not a floating-point array.
        ValueError: maps are smaller than 2×2; ``directions`` is not one for each depth; ``kind`` is
            unknown; while values are checked, an input is not finite.

    Numerics: float32 or better. Differences are brought to unit length before they are multiplied,
    so no scale of the scene under- or overflows; depths beyond ±1e15 count as ±1e15. A difference
    without a component beyond 1e-20, or two whose angle has a sine below 1e-6, give the zero vector
    with gradient 0. Where a surface is seen edge-on, the sign may jump.

    Source: Huang et al. 2024 (2DGS), the normals of its normal consistency. *Differs from upstream
    in:* normals face the camera, and exist at the border (there 0).

    Example:
        >>> import torch
        >>> from nerfreg.views import Cameras, pinhole
        >>> rays = Cameras(torch.eye(3, 4)[None], pinhole(8.0, 4, 4)[None], 4, 4).image_rays(0)
        >>> wall = torch.full((4, 4), 2.0)  # parallel to the image
        >>> normals_from_depth(wall, rays.directions, kind="z_depth")[1, 2]
        tensor([ 0.,  0., -1.])
    """
    name = "normals_from_depth"
    require_choice(name, "kind", kind, ("z_depth", "distance"))
    require_floating(name, depth=depth, directions=directions)
    if len(depth.shape) < 2 or min(depth.shape[-2:]) < 2:
        raise ValueError(
            f"{name}: depth must be (…, H, W) with H, W >= 2, so that pixels have neighbours,"
            f" got {tuple(depth.shape)}"
        )
    require_shape(name, "one for each depth", (*depth.shape, 3), directions=directions)
    require_one_device(name, depth=depth, directions=directions)
    require_finite(name, depth=depth, directions=directions)
    depth, directions = at_least_float32(depth, directions)
    if kind == "distance":
        directions = safe_unit(directions)
    xp = namespace(depth)
    points = clip(depth, -FARTHEST, FARTHEST)[..., None] * directions

    down, across = safe_unit(_difference(points, -3)), safe_unit(_difference(points, -2))
    normals = safe_unit(xp.linalg.cross(down, across), least=LEAST_SINE)
    away = xp.sum(normals * directions, axis=-1, keepdims=True) > 0
    return xp.where(away, -normals, normals)


def _difference(points: Any, axis: int) -> Any:
    """Subtract the neighbour before from the one after, along rows (-3) or columns (-2)."""
    xp = namespace(points)
    if axis == -3:
        first, last = points[..., :1, :, :], points[..., -1:, :, :]
        before, after = points[..., :-1, :, :], points[..., 1:, :, :]
    else:
        first, last = points[..., :, :1, :], points[..., :, -1:, :]
        before, after = points[..., :, :-1, :], points[..., :, 1:, :]
    return xp.concat([after, last], axis=axis) - xp.concat([first, before], axis=axis)
