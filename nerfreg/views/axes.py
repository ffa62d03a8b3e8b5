"""Other people's camera axes, converted at the door.

OpenCV and COLMAP: x right, y down, z forward. OpenGL, Blender and nerfstudio: x right, y up, z
    backward.
"""

from jaxtyping import Float

from nerfreg.arrays import Array, namespace
from nerfreg.checks import require_arrays
from nerfreg.views.quaternion import quaternion_to_rotation, rotation_to_quaternion

__all__ = ["colmap_to_opencv", "opencv_to_colmap", "opencv_to_opengl", "opengl_to_opencv"]


def opengl_to_opencv(c2w: Float[Array, "*batch rows 4"]) -> Float[Array, "*batch rows 4"]:
    """Turn camera-to-world matrices from OpenGL to OpenCV axes: the y and z columns change sign.

    The world stays as it is; only what a camera calls up and backward becomes down and forward.

    Example:
        >>> import torch
        >>> opengl_to_opencv(torch.eye(3, 4))
        tensor([[ 1.,  0.,  0.,  0.],
                [ 0., -1.,  0.,  0.],
                [ 0.,  0., -1.,  0.]])
    """
    xp = namespace(c2w)
    return xp.concat([c2w[..., :1], -c2w[..., 1:3], c2w[..., 3:]], axis=-1) + 0.0


def opencv_to_opengl(c2w: Float[Array, "*batch rows 4"]) -> Float[Array, "*batch rows 4"]:
    """Turn camera-to-world matrices from OpenCV to OpenGL axes: the same two columns flip back."""
    return opengl_to_opencv(c2w)


def colmap_to_opencv(
    qvec: Float[Array, "*batch 4"], tvec: Float[Array, "*batch 3"]
) -> Float[Array, "*batch 3 4"]:
    """Invert COLMAP's world-to-camera poses.

        c2w = [Rᵀ | −Rᵀ·t],  R the rotation of qvec

    Args:
        qvec: quaternion (w, x, y, z), as in ``images.txt``; normalised here.
        tvec: translation.
    """
    require_arrays("colmap_to_opencv", qvec=qvec, tvec=tvec)
    xp = namespace(qvec)
    rotation = quaternion_to_rotation(qvec)
    position = -xp.sum(rotation * tvec[..., None], axis=-2)
    return xp.concat([xp.matrix_transpose(rotation), position[..., None]], axis=-1)


def opencv_to_colmap(
    c2w: Float[Array, "*batch 3 4"],
) -> tuple[Float[Array, "*batch 4"], Float[Array, "*batch 3"]]:
    """Return ``qvec`` (w ≥ 0) and ``tvec``, COLMAP's world-to-camera pose."""
    xp = namespace(c2w)
    rotation = c2w[..., :3]
    tvec = -xp.sum(rotation * c2w[..., 3:], axis=-2)
    return rotation_to_quaternion(xp.matrix_transpose(rotation)), tvec
