"""Mathematics of poses: averages, frames and focus points.

A pose is [c0 | c1 | c2 | p], (3, 4). Where nothing else is said a function is neutral to what the
camera calls its axes: flip two columns of what goes in, and the same two of what comes out are
flipped. :func:`look_at` speaks OpenCV: right, down, forward.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from nerfreg.views.matrices import require_poses
from nerfreg.views.vectors import length, unit

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
    axis: Float[Tensor, "*#batch 3"],
    up: Float[Tensor, "*#batch 3"],
    position: Float[Tensor, "*#batch 3"],
) -> Float[Tensor, "*batch 3 4"]:
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
    shape = (axis + up + position).shape
    c2, up = unit(axis).expand(shape), up.expand(shape)
    side = torch.cross(up, c2, dim=-1)
    across = c2.abs().argmin(-1, keepdim=True)
    stand_in = (torch.arange(3, device=c2.device) == across).to(c2.dtype)
    parallel = length(side, keepdim=True) <= 1e-6 * length(up, keepdim=True)
    c0 = unit(torch.where(parallel, torch.cross(stand_in, c2, dim=-1), side))
    return torch.stack([c0, torch.cross(c2, c0, dim=-1), c2, position.expand(shape)], -1)


def look_at(
    position: Float[Tensor, "*#batch 3"],
    target: Float[Tensor, "*#batch 3"],
    up: Float[Tensor, "*#batch 3"],
) -> Float[Tensor, "*batch 3 4"]:
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
    return view_matrix(target - position, -up, position) + 0.0


def compose_poses(
    outer: Float[Tensor, "*#batch 3 4"], inner: Float[Tensor, "*#batch 3 4"]
) -> Float[Tensor, "*batch 3 4"]:
    """Return ``outer`` ∘ ``inner``, the product of the two as 4×4 matrices."""
    rotation, position = outer[..., :3] @ inner[..., :3], outer[..., :3] @ inner[..., 3:]
    return torch.cat([rotation, position + outer[..., 3:]], -1)


def invert_pose(pose: Float[Tensor, "*batch 3 4"]) -> Float[Tensor, "*batch 3 4"]:
    """Return the inverse of a rigid pose: [Rᵀ | −Rᵀ·p]."""
    rotation = pose[..., :3].mT
    return torch.cat([rotation, -rotation @ pose[..., 3:]], -1)


def average_pose(poses: Float[Tensor, "n 3 4"]) -> Float[Tensor, "3 4"]:
    """Return the pose of the mean position, mean third column and, nearly, mean second column."""
    require_poses("average_pose", "poses", poses)
    return view_matrix(poses[..., 2].mean(0), poses[..., 1].mean(0), poses[..., 3].mean(0))


def recenter_poses(poses: Float[Tensor, "n 3 4"]) -> Float[Tensor, "n 3 4"]:
    """Move the world so that the average pose becomes the identity.

    The average camera then looks along +z if its third column is *forward* (OpenCV), along −z if it
    is *backward* (OpenGL). NDC needs the latter: recentre OpenGL poses, then convert them. A world
    point X goes to ``invert_pose(average_pose(poses))`` applied to X.

    Args:
        poses: of one convention.
    """
    return compose_poses(invert_pose(average_pose(poses)), poses)


def focus_point(poses: Float[Tensor, "n 3 4"]) -> Float[Tensor, "3"]:
    """Return the point nearest to all optical axes, in the sense of least squares.

        f = argmin Σ_k ‖M_k·(f − p_k)‖²,  M_k = I − a_k·a_kᵀ,  a_k the third column

    Args:
        poses: at least two, whose third columns are not parallel.

    Raises:
        ValueError: the optical axes are parallel, so that no point is nearest.
    """
    require_poses("focus_point", "poses", poses)
    exact = poses.double()
    axes, positions = exact[..., 2:3], exact[..., 3:]
    across = torch.eye(3, dtype=exact.dtype, device=exact.device) - axes @ axes.mT
    normal = (across.mT @ across).mean(0)
    if float(normal.detach().det()) < PARALLEL_BELOW:
        raise ValueError(
            f"focus_point: the optical axes of the {len(poses)} poses are parallel: no point is"
            " nearest to all of them"
        )
    right_side = (across.mT @ across @ positions).mean(0)
    return (normal.inverse() @ right_side)[:, 0].to(poses.dtype)


def to_unit_hemisphere(
    poses: Float[Tensor, "n 3 4"],
) -> tuple[Float[Tensor, "n 3 4"], Float[Tensor, ""]]:
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
    towards_cameras = poses[..., 3].mean(0) - focus
    frame = view_matrix(towards_cameras, poses.new_tensor([0.1, 0.2, 0.3]), focus)
    moved = compose_poses(invert_pose(frame), poses)
    scale = 1 / (moved[..., 3] ** 2).sum(-1).mean().sqrt()
    return torch.cat([moved[..., :3], moved[..., 3:] * scale], -1), scale
