"""Other people's camera axes, converted at the door.

OpenCV and COLMAP: x right, y down, z forward. OpenGL, Blender and nerfstudio: x right, y up, z
    backward.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from nerfreg.views.quaternion import quaternion_to_rotation, rotation_to_quaternion

__all__ = ["colmap_to_opencv", "opencv_to_colmap", "opencv_to_opengl", "opengl_to_opencv"]


def opengl_to_opencv(c2w: Float[Tensor, "*batch rows 4"]) -> Float[Tensor, "*batch rows 4"]:
    """Turn camera-to-world matrices from OpenGL to OpenCV axes: the y and z columns change sign.

    The world stays as it is; only what a camera calls up and backward becomes down and forward.

    Example:
        >>> import torch
        >>> opengl_to_opencv(torch.eye(3, 4))
        tensor([[ 1.,  0.,  0.,  0.],
                [ 0., -1.,  0.,  0.],
                [ 0.,  0., -1.,  0.]])
    """
    return torch.cat([c2w[..., :1], -c2w[..., 1:3], c2w[..., 3:]], -1) + 0.0


def opencv_to_opengl(c2w: Float[Tensor, "*batch rows 4"]) -> Float[Tensor, "*batch rows 4"]:
    """Turn camera-to-world matrices from OpenCV to OpenGL axes: the same two columns flip back."""
    return opengl_to_opencv(c2w)


def colmap_to_opencv(
    qvec: Float[Tensor, "*batch 4"], tvec: Float[Tensor, "*batch 3"]
) -> Float[Tensor, "*batch 3 4"]:
    """Invert COLMAP's world-to-camera poses.

        c2w = [Rᵀ | −Rᵀ·t],  R the rotation of ``qvec``

    Args:
        qvec: quaternion (w, x, y, z), as in ``images.txt``; normalised here.
        tvec: translation.
    """
    rotation = quaternion_to_rotation(qvec)
    position = -(rotation * tvec[..., None]).sum(-2)
    return torch.cat([rotation.mT, position[..., None]], -1)


def opencv_to_colmap(
    c2w: Float[Tensor, "*batch 3 4"],
) -> tuple[Float[Tensor, "*batch 4"], Float[Tensor, "*batch 3"]]:
    """Return ``qvec`` (w ≥ 0) and ``tvec``, COLMAP's world-to-camera pose."""
    rotation = c2w[..., :3]
    return rotation_to_quaternion(rotation.mT), -(rotation * c2w[..., 3:]).sum(-2)
