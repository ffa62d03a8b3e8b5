"""Rotations as unit quaternions (w, x, y, z), for reading COLMAP and for turning between poses."""

import torch
from jaxtyping import Float
from torch import Tensor

from nerfreg.views.vectors import length, unit

__all__ = ["quaternion_to_rotation", "rotation_to_quaternion", "slerp"]


def quaternion_to_rotation(quaternion: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 3 3"]:
    """Return the rotation matrix of a quaternion (w, x, y, z) of any length but zero.

    Example:
        >>> import torch
        >>> quaternion_to_rotation(torch.tensor([1.0, 0.0, 0.0, 1.0]))
        tensor([[ 0., -1.,  0.],
                [ 1.,  0.,  0.],
                [ 0.,  0.,  1.]])
    """
    w, x, y, z = quaternion.unbind(-1)
    two = 2 / (quaternion**2).sum(-1)
    entries = [
        1 - two * (y * y + z * z),
        two * (x * y - w * z),
        two * (x * z + w * y),
        two * (x * y + w * z),
        1 - two * (x * x + z * z),
        two * (y * z - w * x),
        two * (x * z - w * y),
        two * (y * z + w * x),
        1 - two * (x * x + y * y),
    ]
    return torch.stack(entries, -1).reshape(*quaternion.shape[:-1], 3, 3)


def rotation_to_quaternion(rotation: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 4"]:
    """Return the unit quaternion (w, x, y, z) with w ≥ 0 of a rotation matrix.

    Numerics:
        q·qᵀ is linear in the matrix. Its column with the largest diagonal entry, normalised, is q:
        nothing small is ever divided by, whatever the angle.
    """
    r00, r01, r02, r10, r11, r12, r20, r21, r22 = rotation.flatten(-2).unbind(-1)
    outer = torch.stack(
        [
            *(1 + r00 + r11 + r22, r21 - r12, r02 - r20, r10 - r01),
            *(r21 - r12, 1 + r00 - r11 - r22, r01 + r10, r02 + r20),
            *(r02 - r20, r01 + r10, 1 - r00 + r11 - r22, r12 + r21),
            *(r10 - r01, r02 + r20, r12 + r21, 1 - r00 - r11 + r22),
        ],
        -1,
    ).reshape(*r00.shape, 4, 4)
    largest = outer.diagonal(dim1=-2, dim2=-1).argmax(-1)
    quaternion = unit(torch.take_along_dim(outer, largest[..., None, None], -1)[..., 0])
    return torch.where(quaternion[..., :1] < 0, -quaternion, quaternion)


def slerp(
    first: Float[Tensor, "*batch 4"],
    second: Float[Tensor, "*batch 4"],
    weight: Float[Tensor, " *batch"],
) -> Float[Tensor, "*batch 4"]:
    """Turn from one unit quaternion to another at constant speed, the short way round.

        q(w) = (sin((1−w)·θ)·q₀ + sin(w·θ)·q₁) / sin θ,  θ the angle between ±q₀ and q₁

    Args:
        first: q₀.
        second: q₁.
        weight: w in [0, 1]: 0 is ``first``, 1 is ``second``.

    Returns:
        Unit quaternions.

    Numerics:
        Below an angle of about 0.03° sin θ is not divided by: both factors are then linear in w to
        the dtype's precision.
    """
    dot = (first * second).sum(-1)
    first = torch.where(dot[..., None] < 0, -first, first)
    # atan2 of half-sums keeps its precision where acos loses it, for nearly equal rotations.
    angle = 2 * torch.atan2(length(second - first), length(second + first))
    close = angle < 2.5e-4
    safe = torch.where(close, torch.ones_like(angle), angle)
    a = torch.where(close, 1 - weight, torch.sin((1 - weight) * safe) / torch.sin(safe))
    b = torch.where(close, weight, torch.sin(weight * safe) / torch.sin(safe))
    return unit(a[..., None] * first + b[..., None] * second)
