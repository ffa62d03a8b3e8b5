"""Mathematics of poses: averages, frames and focus points.

A pose is [c0 | c1 | c2 | p], (3, 4). Where nothing else is said a function is neutral to what the
camera calls its axes: flip two columns of what goes in, and the same two of what comes out are
flipped. :func:`look_at` speaks OpenCV: right, down, forward.
"""

from jaxtyping import Float

from nerfreg.arrays import Array, detach, in_double, is_traced, like, namespace
from nerfreg.checks import require_arrays
from nerfreg.vectors import cross, length, unit
from nerfreg.views.matrices import require_poses

__all__ = [
    "average_pose",
    "compose_poses",
    "focus_point",
    "invert_pose",
    "look_at",
    "recenter_poses",
    "to_unit_hemisphere",
    "view_matrix",
]

# The matrix of focus_point's normal equations has eigenvalues in [0, 1] that add up to 2, so its
# determinant is small just when the smallest is: the mean squared sine of the angles between the
# axes and their common direction, here of 10⁻⁴ rad.
PARALLEL_BELOW = 1e-8


def view_matrix(
    axis: Float[Array, "*#batch 3"],
    up: Float[Array, "*#batch 3"],
    position: Float[Array, "*#batch 3"],
) -> Float[Array, "*batch 3 4"]:
    """Build the pose whose third column points along ``axis``, its second nearest to ``up``.

        c2 = axis/‖axis‖,  c0 = (up × c2)/‖up × c2‖,  c1 = c2 × c0,  p = position

    Args:
        axis: direction of the third column, any length.
        up: direction that the second column comes close to, any length.
        position: the fourth column.

    Numerics:
        Where ``up`` is parallel to ``axis`` (a camera that looks straight down), the coordinate
        axis most at right angles to ``axis`` stands in for it, so that the result is always a
        rotation.
    """
    require_arrays("view_matrix", axis=axis, up=up, position=position)
    xp = namespace(axis)
    c2, up, position = xp.broadcast_arrays(unit(axis), up, position)
    side = cross(up, c2)
    across = xp.astype(xp.argmin(xp.abs(c2), axis=-1, keepdims=True), c2.dtype)
    stand_in = xp.astype(xp.arange(3, **like(c2)) == across, c2.dtype)
    parallel = length(side, keepdim=True) <= 1e-6 * length(up, keepdim=True)
    c0 = unit(xp.where(parallel, cross(stand_in, c2), side))
    return xp.stack([c0, cross(c2, c0), c2, position], axis=-1)


def look_at(
    position: Float[Array, "*#batch 3"],
    target: Float[Array, "*#batch 3"],
    up: Float[Array, "*#batch 3"],
) -> Float[Array, "*batch 3 4"]:
    """Build the OpenCV pose of a camera that looks from ``position`` at ``target``.

    Args:
        position: of the camera, world.
        target: what appears in the middle of the image; must differ from ``position``.
        up: the world direction that appears upright, any length.

    Example:
        >>> import torch
        >>> down_the_z_axis = torch.tensor([0.0, 0.0, -1.0])
        >>> look_at(torch.zeros(3), down_the_z_axis, torch.tensor([0.0, 1.0, 0.0]))
        tensor([[ 1.,  0.,  0.,  0.],
                [ 0., -1.,  0.,  0.],
                [ 0.,  0., -1.,  0.]])
    """
    require_arrays("look_at", position=position, target=target, up=up)
    return view_matrix(target - position, -up, position) + 0.0


def compose_poses(
    outer: Float[Array, "*#batch 3 4"], inner: Float[Array, "*#batch 3 4"]
) -> Float[Array, "*batch 3 4"]:
    """Return ``outer`` ∘ ``inner``, the product of the two as 4×4 matrices."""
    require_arrays("compose_poses", outer=outer, inner=inner)
    rotation, position = outer[..., :3] @ inner[..., :3], outer[..., :3] @ inner[..., 3:]
    return namespace(outer).concat([rotation, position + outer[..., 3:]], axis=-1)


def invert_pose(pose: Float[Array, "*batch 3 4"]) -> Float[Array, "*batch 3 4"]:
    """Return the inverse of a rigid pose: [Rᵀ | −Rᵀ·p]."""
    xp = namespace(pose)
    rotation = xp.matrix_transpose(pose[..., :3])
    return xp.concat([rotation, -rotation @ pose[..., 3:]], axis=-1)


def average_pose(poses: Float[Array, "n 3 4"]) -> Float[Array, "3 4"]:
    """Return the pose of the mean position, mean third column and, nearly, mean second column."""
    require_poses("average_pose", "poses", poses)
    mean = namespace(poses).mean(poses, axis=0)
    return view_matrix(mean[:, 2], mean[:, 1], mean[:, 3])


def recenter_poses(poses: Float[Array, "n 3 4"]) -> Float[Array, "n 3 4"]:
    """Move the world so that the average pose becomes the identity.

    The average camera then looks along +z if its third column is *forward* (OpenCV), along −z if it
    is *backward* (OpenGL). NDC needs the latter: recentre OpenGL poses, then convert them. A world
    point X goes to ``invert_pose(average_pose(poses))`` applied to X.

    Args:
        poses: of one convention.
    """
    return compose_poses(invert_pose(average_pose(poses)), poses)


def focus_point(poses: Float[Array, "n 3 4"]) -> Float[Array, "3"]:
    """Return the point nearest to all optical axes, in the sense of least squares.

        f = argmin Σ_k ‖M_k·(f − p_k)‖²,  M_k = I − a_k·a_kᵀ,  a_k the third column

    Args:
        poses: at least two, whose third columns are not parallel.

    Raises:
        ValueError: the optical axes are parallel, so that no point is nearest. While torch or JAX
            traces, values cannot be looked at: the result is then meaningless.

    Numerics:
        Computed in float64; in JAX in float32 unless 64 bits are switched on, which calls axes
        within 10⁻³ rad parallel (10⁻⁴ in float64).
    """
    require_poses("focus_point", "poses", poses)
    xp = namespace(poses)
    exact = in_double(poses)
    axes, positions = exact[..., 2:3], exact[..., 3:]
    across = xp.eye(3, **like(exact)) - axes @ xp.matrix_transpose(axes)
    square = xp.matrix_transpose(across) @ across
    normal = xp.mean(square, axis=0)
    # Where float64 is not to be had, rounding alone gives parallel axes a determinant of its eps.
    least = max(PARALLEL_BELOW, 8 * float(xp.finfo(exact.dtype).eps))
    if not is_traced(poses) and float(xp.linalg.det(detach(normal))) < least:
        raise ValueError(
            f"focus_point: the optical axes of the {poses.shape[0]} poses are parallel: no point is"
            " nearest to all of them"
        )
    right_side = xp.mean(square @ positions, axis=0)
    return xp.astype((xp.linalg.inv(normal) @ right_side)[:, 0], poses.dtype, copy=False)


def to_unit_hemisphere(
    poses: Float[Array, "n 3 4"],
) -> tuple[Float[Array, "n 3 4"], Float[Array, ""]]:
    """Move and scale the world so that the cameras lie around the upper unit hemisphere.

    The focus point becomes the origin, +z points from it to the cameras' mean position, and the
    mean squared distance of the cameras from it becomes 1.

    Args:
        poses: cameras around an object, of either convention.

    Returns:
        The poses, and the scale that lengths (near, far) are to be multiplied by.

    Source:
        RegNeRF's and mip-NeRF's code for 360° scenes. The rotation about the new z axis is as
        there: that which brings (0.1, 0.2, 0.3) into the plane of y and z.
    """
    focus = focus_point(poses)
    xp = namespace(poses)
    towards_cameras = xp.mean(poses[..., 3], axis=0) - focus
    frame = view_matrix(towards_cameras, xp.asarray([0.1, 0.2, 0.3], **like(poses)), focus)
    moved = compose_poses(invert_pose(frame), poses)
    scale = 1 / xp.sqrt(xp.mean(xp.sum(moved[..., 3] ** 2, axis=-1)))
    return xp.concat([moved[..., :3], moved[..., 3:] * scale], axis=-1), scale
