"""The pinhole: from pixels to rays, and from points back to pixels."""

import torch
from jaxtyping import Float
from torch import Tensor

from nerfreg.views.rays import Rays
from nerfreg.views.vectors import away_from_zero, unit

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
    """Return the coordinates of all pixel centres, row by row.

    Example:
        >>> pixel_centres(2, 1)
        tensor([[[0.5000, 0.5000],
                 [1.5000, 0.5000]]])
    """
    x = torch.arange(width, dtype=dtype, device=device) + 0.5
    y = torch.arange(height, dtype=dtype, device=device) + 0.5
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)


def camera_directions(
    intrinsics: Float[Tensor, "*#batch 3 3"], xy: Float[Tensor, "*#batch 2"]
) -> tuple[Tensor, Tensor]:
    """Return x and y of K⁻¹·(u, v, 1), in closed form: torch's inverse would wait for the host."""
    u, v = xy.unbind(-1)
    y = (v - intrinsics[..., 1, 2]) / intrinsics[..., 1, 1]
    x = (u - intrinsics[..., 0, 2] - intrinsics[..., 0, 1] * y) / intrinsics[..., 0, 0]
    return x, y


def pinhole_rays(
    c2w: Float[Tensor, "*#batch 3 4"],
    intrinsics: Float[Tensor, "*#batch 3 3"],
    xy: Float[Tensor, "*#batch 2"],
) -> Rays:
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
    x, y = camera_directions(intrinsics, xy.to(c2w.dtype))
    rotation = c2w[..., :3]
    directions = (
        x[..., None] * rotation[..., 0] + y[..., None] * rotation[..., 1] + rotation[..., 2]
    )
    skew = intrinsics[..., 0, 1] / intrinsics[..., 0, 0]
    radii = (1 + skew**2).sqrt() / intrinsics[..., 1, 1].abs() * PIXEL_RADIUS
    return Rays(
        origins=c2w[..., 3].expand_as(directions),
        directions=directions,
        viewdirs=unit(directions),
        radii=radii[..., None].expand(*directions.shape[:-1], 1),
    )


def project_points(
    c2w: Float[Tensor, "*#batch 3 4"],
    intrinsics: Float[Tensor, "*#batch 3 3"],
    points: Float[Tensor, "*#batch 3"],
) -> tuple[Float[Tensor, "*batch 2"], Float[Tensor, " *batch"]]:
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
    local = (c2w[..., :3] * (points - c2w[..., 3])[..., None]).sum(-2)
    z = local[..., 2]
    plane = local[..., :2] / away_from_zero(z)[..., None]
    x, y = plane.unbind(-1)
    u = intrinsics[..., 0, 0] * x + intrinsics[..., 0, 1] * y + intrinsics[..., 0, 2]
    v = intrinsics[..., 1, 1] * y + intrinsics[..., 1, 2]
    return torch.stack([u, v], -1), z.expand_as(u)
