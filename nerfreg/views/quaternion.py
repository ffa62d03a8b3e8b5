"""Rotations as unit quaternions (w, x, y, z), for reading COLMAP and for turning between poses."""

from jaxtyping import Float

from nerfreg.arrays import Array, namespace
from nerfreg.checks import require_arrays
from nerfreg.vectors import length, unit

__all__ = ["quaternion_to_rotation", "rotation_to_quaternion", "slerp"]


def quaternion_to_rotation(quaternion: Float[Array, "*batch 4"]) -> Float[Array, "*batch 3 3"]:
    """Return the rotation matrix of a quaternion (w, x, y, z) of any length but zero.

    Example:
        >>> import torch
        >>> quaternion_to_rotation(torch.tensor([1.0, 0.0, 0.0, 1.0]))
        tensor([[ 0., -1.,  0.],
                [ 1.,  0.,  0.],
                [ 0.,  0.,  1.]])
    """
    xp = namespace(quaternion)
    w, x, y, z = xp.unstack(quaternion, axis=-1)
    two = 2 / xp.sum(quaternion**2, axis=-1)
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
    return xp.reshape(xp.stack(entries, axis=-1), (*quaternion.shape[:-1], 3, 3))


def rotation_to_quaternion(rotation: Float[Array, "*batch 3 3"]) -> Float[Array, "*batch 4"]:
    """Return the unit quaternion (w, x, y, z) with w ≥ 0 of a rotation matrix.

    Numerics:
        q·qᵀ is linear in the matrix. Its column with the largest diagonal entry, normalised, is q:
        nothing small is ever divided by, whatever the angle.
    """
    xp = namespace(rotation)
    batch = tuple(rotation.shape[:-2])
    r00, r01, r02, r10, r11, r12, r20, r21, r22 = xp.unstack(
        xp.reshape(rotation, (*batch, 9)), axis=-1
    )
    ww, xx = 1 + r00 + r11 + r22, 1 + r00 - r11 - r22
    yy, zz = 1 - r00 + r11 - r22, 1 - r00 - r11 + r22
    entries = [
        *(ww, r21 - r12, r02 - r20, r10 - r01),
        *(r21 - r12, xx, r01 + r10, r02 + r20),
        *(r02 - r20, r01 + r10, yy, r12 + r21),
        *(r10 - r01, r02 + r20, r12 + r21, zz),
    ]
    outer = xp.reshape(xp.stack(entries, axis=-1), (*batch, 4, 4))
    largest = xp.argmax(xp.stack([ww, xx, yy, zz], axis=-1), axis=-1)
    quaternion = unit(xp.take_along_axis(outer, largest[..., None, None], axis=-1)[..., 0])
    return xp.where(quaternion[..., :1] < 0, -quaternion, quaternion)


def slerp(
    first: Float[Array, "*batch 4"],
    second: Float[Array, "*batch 4"],
    weight: Float[Array, " *batch"],
) -> Float[Array, "*batch 4"]:
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
    require_arrays("slerp", first=first, second=second, weight=weight)
    xp = namespace(first)
    dot = xp.sum(first * second, axis=-1)
    first = xp.where(dot[..., None] < 0, -first, first)
    # atan2 of half-sums keeps its precision where acos loses it, for nearly equal rotations.
    angle = 2 * xp.atan2(length(second - first), length(second + first))
    close = angle < 2.5e-4
    safe = xp.where(close, 1.0, angle)
    a = xp.where(close, 1 - weight, xp.sin((1 - weight) * safe) / xp.sin(safe))
    b = xp.where(close, weight, xp.sin(weight * safe) / xp.sin(safe))
    return unit(a[..., None] * first + b[..., None] * second)
