"""The pinhole: from pixels to rays, and from points back to pixels."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from nerfreg.arrays import Array, namespace
from nerfreg.checks import require_arrays
from nerfreg.vectors import away_from_zero, unit
from nerfreg.views.rays import Rays

__all__ = ["pinhole", "pinhole_rays", "pixel_centres", "project_points"]

# A pixel's footprint as a disc: twice the standard deviation of a uniform distribution one pixel
# wide.
PIXEL_RADIUS = 2 / 12**0.5


def pinhole(
    focal: float | tuple[float, float],
    width: int,
    height: int,
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
) -> Float[Tensor, "3 3"]:
    """Build the intrinsics of a camera whose optical axis meets the middle of the image.

    It is a tensor: no argument tells of another library. NumPy and JAX convert it.

    Args:
        focal: focal length in pixels, or those of x and y.
        width: of the image, in pixels.
        height: of the image, in pixels.
        dtype: of the result.
        device: of the result.

    Example:
        >>> pinhole(50.0, 64, 48)
        tensor([[50.,  0., 32.],
                [ 0., 50., 24.],
                [ 0.,  0.,  1.]])
    """
    fx, fy = focal if isinstance(focal, tuple) else (focal, focal)
    rows = [[fx, 0.0, width / 2], [0.0, fy, height / 2], [0.0, 0.0, 1.0]]
    return torch.tensor(rows, dtype=dtype, device=device)


def pixel_centres(
    width: int,
    height: int,
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
) -> Float[Tensor, "h w 2"]:
    """Return the coordinates of all pixel centres, row by row, as a tensor (see :func:`pinhole`).

    Example:
        >>> pixel_centres(2, 1)
        tensor([[[0.5000, 0.5000],
                 [1.5000, 0.5000]]])
    """
    return pixel_grid(torch, width, height, dtype=dtype, device=device)


def pixel_grid(xp: Any, width: int, height: int, **options: Any) -> Any:
    """Return the coordinates of all pixel centres, made by one library with these options."""
    x, y = xp.arange(width, **options) + 0.5, xp.arange(height, **options) + 0.5
    return xp.stack(xp.meshgrid(x, y, indexing="xy"), axis=-1)


def camera_directions(
    intrinsics: Float[Array, "*#batch 3 3"], xy: Float[Array, "*#batch 2"]
) -> tuple[Any, Any]:
    """Return x and y of K⁻¹·(u, v, 1), in closed form: torch's inverse would wait for the host."""
    u, v = xy[..., 0], xy[..., 1]
    y = (v - intrinsics[..., 1, 2]) / intrinsics[..., 1, 1]
    x = (u - intrinsics[..., 0, 2] - intrinsics[..., 0, 1] * y) / intrinsics[..., 0, 0]
    return x, y


def pinhole_rays(
    c2w: Float[Array, "*#batch 3 4"],
    intrinsics: Float[Array, "*#batch 3 3"],
    xy: Float[Array, "*#batch 2"],
) -> Rays[Array]:
    """Trace a ray from each camera through a point of its image.

        o = c2w[:, 3],  d = c2w[:, :3] · K⁻¹ · (x, y, 1),  ṙ = ‖K⁻¹ · (0, 1, 0)‖ · 2/√12

    Args:
        c2w: camera-to-world, OpenCV axes (right, down, forward).
        intrinsics: K, pixels; upper triangular, last row (0, 0, 1).
        xy: pixel coordinates, continuous; may lie outside the image.

    Returns:
        Rays of the common batch shape. Directions have camera z = 1, so t is z-depth. The cone's
        radius is that of the vertical step to the next pixel.

    Source:
        Barron et al., Mip-NeRF, ICCV 2021, section 3.1. The same directions as RegNeRF's, which
        writes them in OpenGL axes as (x, −y, −1). *Differs from upstream in* the view directions of
        LLFF's training rays, which RegNeRF leaves un-normalised (those of its unseen views are
        units): here they are always units.

    Example:
        >>> import torch
        >>> rays = pinhole_rays(torch.eye(3, 4), pinhole(50.0, 64, 48), torch.tensor([57.0, 24.0]))
        >>> rays.directions
        tensor([0.5000, 0.0000, 1.0000])
    """
    require_arrays("pinhole_rays", c2w=c2w, intrinsics=intrinsics, xy=xy)
    xp = namespace(c2w)
    x, y = camera_directions(intrinsics, xp.astype(xy, c2w.dtype, copy=False))
    rotation = c2w[..., :3]
    directions = (
        x[..., None] * rotation[..., 0] + y[..., None] * rotation[..., 1] + rotation[..., 2]
    )
    skew = intrinsics[..., 0, 1] / intrinsics[..., 0, 0]
    radii = xp.sqrt(1 + skew**2) / xp.abs(intrinsics[..., 1, 1]) * PIXEL_RADIUS
    return Rays(
        origins=xp.broadcast_to(c2w[..., 3], directions.shape),
        directions=directions,
        viewdirs=unit(directions),
        radii=xp.broadcast_to(radii[..., None], (*directions.shape[:-1], 1)),
    )


def project_points(
    c2w: Float[Array, "*#batch 3 4"],
    intrinsics: Float[Array, "*#batch 3 3"],
    points: Float[Array, "*#batch 3"],
) -> tuple[Float[Array, "*batch 2"], Float[Array, " *batch"]]:
    """Project world points into cameras; the inverse of :func:`pinhole_rays`.

        z·(x, y, 1) = K · Rᵀ · (X − o)

    Args:
        c2w: camera-to-world, OpenCV axes.
        intrinsics: K, pixels.
        points: X, in the world.

    Returns:
        Pixel coordinates, and z-depth. A point with z-depth ≤ 0 lies behind the camera: its
        coordinates are finite and mean nothing.
    """
    require_arrays("project_points", c2w=c2w, intrinsics=intrinsics, points=points)
    xp = namespace(c2w)
    local = xp.sum(c2w[..., :3] * (points - c2w[..., 3])[..., None], axis=-2)
    z = local[..., 2]
    plane = local[..., :2] / away_from_zero(z)[..., None]
    x, y = plane[..., 0], plane[..., 1]
    u = intrinsics[..., 0, 0] * x + intrinsics[..., 0, 1] * y + intrinsics[..., 0, 2]
    v = intrinsics[..., 1, 1] * y + intrinsics[..., 1, 2]
    return xp.stack([u, v], axis=-1), xp.broadcast_to(z, u.shape)
