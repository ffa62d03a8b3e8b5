"""nerfstudio's cameras and nerfreg's: the door between OpenGL's and OpenCV's axes."""

from typing import Any

import torch
from torch import Tensor

from nerfreg.views import Cameras, PatchRays, opencv_to_opengl

__all__ = ["to_nerfreg", "to_patch_camera"]

# nerfstudio.cameras.cameras.CameraType.PERSPECTIVE
PERSPECTIVE = 1


def to_nerfreg(cameras: Any) -> Cameras[Tensor]:
    """Take nerfstudio's ``Cameras`` as pinholes, without their distortion.

    Images of several sizes count as reduced or enlarged to the first one's.

    Args:
        cameras: of a nerfstudio data set, (n,).

    Raises:
        ValueError: a camera is no perspective one; or a pose is not rigid.
    """
    kinds = sorted({int(kind) for kind in cameras.camera_type.flatten()} - {PERSPECTIVE})
    if kinds:
        raise ValueError(
            "nerfreg regularizes pinholes: expected cameras of nerfstudio's type PERSPECTIVE"
            f" ({PERSPECTIVE}), got also type {', '.join(map(str, kinds))}; undistort the images"
        )
    width, height = int(cameras.width[0]), int(cameras.height[0])
    sx, sy = width / cameras.width[:, 0], height / cameras.height[:, 0]
    intrinsics = torch.zeros(len(sx), 3, 3, device=sx.device)
    intrinsics[:, 0, 0], intrinsics[:, 0, 2] = cameras.fx[:, 0] * sx, cameras.cx[:, 0] * sx
    intrinsics[:, 1, 1], intrinsics[:, 1, 2] = cameras.fy[:, 0] * sy, cameras.cy[:, 0] * sy
    intrinsics[:, 2, 2] = 1.0
    return Cameras.from_opengl(cameras.camera_to_worlds.float(), intrinsics, width, height)


def to_patch_camera(nerfstudio_cameras: Any, patches: PatchRays, index: int) -> Any:
    """Make the ``Cameras`` of one patch, as Gaussian models render it.

    Args:
        nerfstudio_cameras: the module ``nerfstudio.cameras.cameras``.
        patches: in nerfstudio's world.
        index: of the patch.
    """
    one = slice(index, index + 1)
    lens = patches.lens()[one]
    height, width = patches.xy.shape[1:3]
    return nerfstudio_cameras.Cameras(
        camera_to_worlds=opencv_to_opengl(patches.c2w[one]),
        fx=lens[:, 0, :1],
        fy=lens[:, 1, 1:2],
        cx=lens[:, 0, 2:],
        cy=lens[:, 1, 2:],
        width=width,
        height=height,
    )
