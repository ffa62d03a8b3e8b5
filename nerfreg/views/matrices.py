"""What makes a matrix a camera's pose or intrinsics, and what is said about one that is not."""

import torch
from torch import Tensor

from nerfreg.checks import require_floating, value_checks
from nerfreg.views.vectors import length

__all__ = ["require_intrinsics", "require_poses"]

# Poses written with six digits, or bundle-adjusted in float32, stay well below this; a scaled,
# sheared or mirrored matrix does not.
ORTHONORMAL_WITHIN = 1e-3


def require_poses(function: str, name: str, c2w: Tensor) -> None:
    """Raise unless ``c2w`` is floating (n, 3, 4), n ≥ 1; with value checks on: finite and rigid."""
    require_floating(function, **{name: c2w})
    if c2w.ndim != 3 or tuple(c2w.shape[1:]) != (3, 4) or not len(c2w):
        raise ValueError(f"{function}: {name} must be (n, 3, 4), n ≥ 1, got {tuple(c2w.shape)}")
    if not value_checks() or torch.compiler.is_compiling():
        return
    finite = c2w.isfinite().flatten(1).all(1)
    if not bool(finite.all()):
        where = (~finite).nonzero()[0, 0].item()
        raise ValueError(f"{function}: {name}[{where}] has a NaN or infinite entry")
    rotation = c2w[..., :3].detach().double()
    error = (rotation.mT @ rotation - torch.eye(3, dtype=torch.float64, device=c2w.device)).abs()
    determinant = rotation.det()
    wrong = (error.flatten(1).amax(1) > ORTHONORMAL_WITHIN) | (determinant < 0)
    if bool(wrong.any()):
        where = int(wrong.nonzero()[0, 0].item())
        lengths = ", ".join(f"{float(x):.4g}" for x in length(rotation[where].mT))
        raise ValueError(
            f"{function}: {name}[{where}] must begin with a rotation, but its columns have"
            f" lengths {lengths} and its determinant is {float(determinant[where]):.4g}"
        )


def require_intrinsics(function: str, intrinsics: Tensor) -> None:
    """Raise unless ``intrinsics`` is floating (n, 3, 3); with value checks on: of pinholes."""
    require_floating(function, intrinsics=intrinsics)
    if intrinsics.ndim != 3 or tuple(intrinsics.shape[1:]) != (3, 3) or not len(intrinsics):
        got = tuple(intrinsics.shape)
        raise ValueError(f"{function}: intrinsics must be (n, 3, 3), n ≥ 1, got {got}")
    if not value_checks() or torch.compiler.is_compiling():
        return
    focal = intrinsics[:, [0, 1], [0, 1]]
    below = intrinsics[:, [1, 2, 2], [0, 0, 1]]
    good = intrinsics.isfinite().flatten(1).all(1) & (focal > 0).all(1)
    good = good & (below == 0).all(1) & (intrinsics[:, 2, 2] == 1)
    if not bool(good.all()):
        where = int((~good).nonzero()[0, 0].item())
        raise ValueError(
            f"{function}: intrinsics[{where}] must be [[fx, s, cx], [0, fy, cy], [0, 0, 1]] with"
            f" fx, fy > 0, got"
            f" {[[float(x) for x in row] for row in intrinsics[where]]}"
        )
