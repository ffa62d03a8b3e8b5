"""Normalised device coordinates (NDC): a forward-facing scene's frustum, bent into a box.

The world's cameras look along −z. A point (X, Y, Z) goes to (sx·X, sy·Y, ·) / −Z with the frustum's
scale (sx, sy) = (2·fx/W, 2·fy/H); along a ray, t = 0 is the near plane z = −near and t = 1 is
infinity. Equal steps of t are equal steps of disparity, 1/−Z.
"""

from typing import Any

from jaxtyping import Float

from nerfreg.arrays import Array, at_least_float32, clip, namespace
from nerfreg.checks import require_arrays, require_floating
from nerfreg.vectors import away_from_zero, length
from nerfreg.views.pinhole import PIXEL_RADIUS, pinhole_rays
from nerfreg.views.rays import Rays

__all__ = ["depth_to_ndc", "ndc_rays", "ndc_scale", "ndc_to_depth", "to_ndc"]

# Depths nearer to the camera's plane than this share of `near` have no place in NDC.
NEAREST = 1e-6


def ndc_scale(
    intrinsics: Float[Array, "*batch 3 3"], width: int, height: int
) -> Float[Array, "*batch 2"]:
    """Return (2·fx/W, 2·fy/H): the scale that brings a camera's frustum to [−1, 1]².

    All rays that meet in one field need one scale. Where cameras differ, take one of theirs for
    all.
    """
    fx, fy = intrinsics[..., 0, 0], intrinsics[..., 1, 1]
    return namespace(intrinsics).stack([2 * fx / width, 2 * fy / height], axis=-1)


def to_ndc(
    origins: Float[Array, "*batch 3"],
    directions: Float[Array, "*#batch 3"],
    scale: Float[Array, "*#batch 2"],
    near: float = 1.0,
) -> tuple[Float[Array, "*batch 3"], Float[Array, "*batch 3"]]:
    """Map rays to NDC.

        o' = (s·o_xy / −o_z, −1) of the point where the ray meets z = −near
        d' = (s·(d_xy / −d_z − o_xy / −o_z), 2)

    Args:
        origins: in a world whose cameras look along −z.
        directions: any length; must point towards −z.
        scale: s, from :func:`ndc_scale`.
        near: distance of the near plane from the world's origin, world units.

    Returns:
        Origins and directions in NDC: t = 0 at the near plane, t = 1 at infinity.

    Source:
        Mildenhall et al., NeRF, ECCV 2020, appendix C, for a near plane at any distance.
    """
    require_arrays("to_ndc", origins=origins, directions=directions, scale=scale)
    xp = namespace(origins)
    slope = _slope(directions)
    start = scale * (origins[..., :2] - (near + origins[..., 2:]) * slope) / near
    end = -scale * slope
    one = xp.ones_like(start[..., :1])
    return xp.concat([start, -one], axis=-1), xp.concat([end - start, 2 * one], axis=-1)


def ndc_rays(
    c2w: Float[Array, "*#batch 3 4"],
    intrinsics: Float[Array, "*#batch 3 3"],
    xy: Float[Array, "*#batch 2"],
    size: tuple[int, int],
    scale: Float[Array, "2"],
    near: float = 1.0,
) -> Rays[Array]:
    """Trace rays from cameras through points of their images, and give them in NDC.

    The radius is 2/√12 of the mean distance between the NDC origins of this ray and of those of the
    next pixel row and column. Those neighbours are computed for the asked rays alone.

    Args:
        c2w: camera-to-world, OpenCV axes, in a world whose cameras look along −z (their forward
            column is about (0, 0, −1)).
        intrinsics: K, pixels.
        xy: pixel coordinates, continuous.
        size: width and height of the image, pixels.
        scale: of the space, from :func:`ndc_scale`; one for all rays that meet in a field.
        near: distance of the near plane, world units.

    Returns:
        Rays in NDC, to be sampled at t in [0, 1]; ``viewdirs`` are those of the world. The true
        z-depth at t is ``ndc_to_depth(t, world_rays, near)``.

    Source:
        RegNeRF's code for LLFF, also in that the last row (column) has no next one and takes the
        distance of the last but one pair.
    """
    require_arrays("ndc_rays", c2w=c2w, intrinsics=intrinsics, xy=xy, scale=scale)
    world = pinhole_rays(c2w, intrinsics, xy)
    origins, directions = to_ndc(world.origins, world.directions, scale, near)

    width, height = size
    fx, fy, skew = intrinsics[..., 0, 0], intrinsics[..., 1, 1], intrinsics[..., 0, 1]
    right = c2w[..., 0] / fx[..., None]
    down = (c2w[..., 1] - skew[..., None] * right) / fy[..., None]

    # On the near plane two rays of one camera are apart by ‖s ⊙ (Δ of d_xy/d_z)‖·|near + o_z|/near.
    magnification = scale * (near + world.origins[..., 2:]) / near
    across = _slope_step(world.directions, right, xy[..., 0], width)
    along = _slope_step(world.directions, down, xy[..., 1], height)
    gaps = length(magnification * across, keepdim=True) + length(
        magnification * along, keepdim=True
    )
    return Rays(origins, directions, world.viewdirs, gaps / 2 * PIXEL_RADIUS)


def _slope(directions: Any) -> Any:
    return directions[..., :2] / away_from_zero(directions[..., 2:])


def _slope_step(directions: Any, step: Any, at: Any, count: int) -> Any:
    """How the slope changes to the next of ``count`` rows; at the last, from the one before."""
    if count > 2:
        last = namespace(step).astype(at >= count - 1, step.dtype)[..., None]
        directions = directions - 2 * last * step
    return _slope(directions + step) - _slope(directions)


def depth_to_ndc(
    depth: Float[Array, "..."], rays: Rays[Array], near: float = 1.0
) -> Float[Array, "..."]:
    """Convert the ray parameter in the world to that in NDC.

        t_ndc = 1 − near / Z(D),  Z(D) = −(o_z + D·d_z)

    Args:
        depth: D (…) or (…, S), the parameter of ``rays``: z-depth for rays from a camera.
        rays: (…) **before** NDC, in a world whose cameras look along −z.
        near: as the NDC rays were made with.

    Returns:
        t_ndc, shaped as ``depth``: 0 at the near plane, towards 1 at infinity; negative in front of
        the near plane.

    Raises:
        TypeError: ``depth`` is not floating point.
        ValueError: ``depth`` is neither (…) nor (…, S); ``near`` is not > 0.

    Numerics:
        A point with Z < 1e-6·near (beside or behind the camera's plane) is taken at 1e-6·near, with
        gradient 0. Half precision is computed, and answered, in float32.

    Example:
        >>> import torch
        >>> ahead = torch.tensor([[0.0, 0.0, -1.0]])
        >>> rays = Rays(torch.zeros(1, 3), ahead, ahead, torch.ones(1, 1))
        >>> depth_to_ndc(torch.tensor([[1.0, 2.0, 4.0]]), rays)
        tensor([[0.0000, 0.5000, 0.7500]])
    """
    oz, dz = _along_z("depth_to_ndc", "depth", depth, rays, near)
    (depth,) = at_least_float32(depth)
    return 1 - near / clip(-(oz + depth * dz), NEAREST * near)


def ndc_to_depth(
    t: Float[Array, "..."], rays: Rays[Array], near: float = 1.0
) -> Float[Array, "..."]:
    """Convert the ray parameter in NDC to that in the world; the inverse of :func:`depth_to_ndc`.

        D = −(Z + o_z) / d_z,  Z = near / (1 − t_ndc)

    Args:
        t: t_ndc (…) or (…, S).
        rays: (…) **before** NDC, in a world whose cameras look along −z. The parameter of rays from
            a camera is z-depth, so that is what comes back.
        near: as the NDC rays were made with.

    Returns:
        D, shaped as ``t``.

    Raises:
        TypeError: ``t`` is not floating point.
        ValueError: ``t`` is neither (…) nor (…, S); ``near`` is not > 0.

    Numerics:
        t = 1 is infinity. 1 − t is clamped to the dtype's eps from below, so Z is at most near/eps
        (8·10⁶ near in float32, 5·10¹⁵ near in float64), with gradient 0 there. Half precision is
        computed, and answered, in float32.

    Example:
        >>> import torch
        >>> ahead = torch.tensor([[0.0, 0.0, -1.0]])
        >>> rays = Rays(torch.zeros(1, 3), ahead, ahead, torch.ones(1, 1))
        >>> ndc_to_depth(torch.tensor([[0.0, 0.5, 0.75]]), rays)
        tensor([[1., 2., 4.]])
    """
    oz, dz = _along_z("ndc_to_depth", "t", t, rays, near)
    (t,) = at_least_float32(t)
    xp = namespace(t)
    z = near / clip(1 - t, float(xp.finfo(t.dtype).eps))
    return -(z + oz) / away_from_zero(dz)


def _along_z(function: str, name: str, t: Any, rays: Rays[Any], near: float) -> tuple[Any, Any]:
    """World z of origins and directions, shaped to go with (…) or (…, S)."""
    require_floating(function, **{name: t, "origins": rays.origins, "directions": rays.directions})
    if not near > 0:
        raise ValueError(f"{function}: near must be > 0, got {near}")
    oz, dz = rays.origins[..., 2], rays.directions[..., 2]
    if t.shape == oz.shape:
        return oz, dz
    if len(t.shape) == len(oz.shape) + 1 and t.shape[:-1] == oz.shape:
        return oz[..., None], dz[..., None]
    batch = tuple(oz.shape)
    raise ValueError(
        f"{function}: {name} must have the rays' shape {batch} or one more axis of samples,"
        f" got {tuple(t.shape)}"
    )
