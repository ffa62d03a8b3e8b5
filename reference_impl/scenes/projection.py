"""Projection matrices, as calibrated rigs come with, taken apart into lens and pose."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reference_impl.scenes.scene import SceneError

__all__ = ["decompose"]


def decompose(source: Path, matrices: NDArray[np.float64]) -> tuple[Tensor, Tensor]:
    """Take apart P = K [R | t].

    Args:
        source: of the matrices, for the error.
        matrices: (N, 3, 4), world to homogeneous pixels, of any scale and sign.

    Returns:
        (N, 3, 3) intrinsics with positive focal lengths and (N, 3, 4) camera-to-world poses, OpenCV
        axes, float64.

    Raises:
        SceneError: a matrix is not finite, or does not project onto a plane.
    """
    if not np.isfinite(matrices).all():
        raise SceneError(source, "NaN or infinity in a projection matrix")
    left = matrices[:, :, :3]
    singular = np.flatnonzero(np.abs(np.linalg.det(left)) < 1e-12)
    if len(singular):
        raise SceneError(source, f"projection matrix of view(s) {singular.tolist()} is singular")
    # K⁻¹ is upper triangular: (K R)⁻¹ = Rᵀ K⁻¹ is a QR decomposition.
    turns, uppers = np.linalg.qr(np.linalg.inv(left))
    signs = np.sign(np.diagonal(uppers, axis1=1, axis2=2))
    turns, uppers = turns * signs[:, None, :], uppers * signs[:, :, None]
    # P and −P project alike; a camera does not mirror.
    turns *= np.sign(np.linalg.det(turns))[:, None, None]
    intrinsics = np.linalg.inv(uppers)
    intrinsics /= intrinsics[:, 2:, 2:]
    # What is below the diagonal is rounding.
    intrinsics = np.triu(intrinsics)
    positions = -np.linalg.solve(left, matrices[:, :, 3:])
    c2w = np.concatenate([turns, positions], -1)
    return torch.from_numpy(intrinsics), torch.from_numpy(c2w)
