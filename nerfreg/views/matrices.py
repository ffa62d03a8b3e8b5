"""What makes a matrix a camera's pose or intrinsics, and what is said about one that is not."""

from typing import Any

from nerfreg.arrays import detach, in_double, is_traced, like, namespace
from nerfreg.checks import require_floating, value_checks
from nerfreg.vectors import length

__all__ = ["require_intrinsics", "require_poses"]

# Poses written with six digits, or bundle-adjusted in float32, stay well below this; a scaled,
# sheared or mirrored matrix does not.
ORTHONORMAL_WITHIN = 1e-3


def require_poses(function: str, name: str, c2w: Any) -> None:
    """Raise unless ``c2w`` is floating (n, 3, 4), n ≥ 1; with value checks on: finite and rigid."""
    require_floating(function, **{name: c2w})
    if len(c2w.shape) != 3 or tuple(c2w.shape[1:]) != (3, 4) or not c2w.shape[0]:
        raise ValueError(f"{function}: {name} must be (n, 3, 4), n ≥ 1, got {tuple(c2w.shape)}")
    if not value_checks() or is_traced(c2w):
        return
    xp = namespace(c2w)
    finite = xp.all(xp.isfinite(c2w), axis=(1, 2))
    if not bool(xp.all(finite)):
        raise ValueError(f"{function}: {name}[{_first(~finite)}] has a NaN or infinite entry")
    rotation = in_double(detach(c2w[..., :3]))
    gram = xp.matrix_transpose(rotation) @ rotation
    error = xp.max(xp.abs(gram - xp.eye(3, **like(gram))), axis=(1, 2))
    determinant = xp.linalg.det(rotation)
    wrong = (error > ORTHONORMAL_WITHIN) | (determinant < 0)
    if bool(xp.any(wrong)):
        where = _first(wrong)
        columns = length(xp.matrix_transpose(rotation[where, ...]))
        lengths = ", ".join(f"{float(x):.4g}" for x in xp.unstack(columns))
        raise ValueError(
            f"{function}: {name}[{where}] must begin with a rotation, but its columns have"
            f" lengths {lengths} and its determinant is {float(determinant[where]):.4g}"
        )


def require_intrinsics(function: str, intrinsics: Any) -> None:
    """Raise unless ``intrinsics`` is floating (n, 3, 3); with value checks on: of pinholes."""
    require_floating(function, intrinsics=intrinsics)
    k = intrinsics
    if len(k.shape) != 3 or tuple(k.shape[1:]) != (3, 3) or not k.shape[0]:
        raise ValueError(f"{function}: intrinsics must be (n, 3, 3), n ≥ 1, got {tuple(k.shape)}")
    if not value_checks() or is_traced(k):
        return
    xp = namespace(k)
    good = xp.all(xp.isfinite(k), axis=(1, 2)) & (k[:, 0, 0] > 0) & (k[:, 1, 1] > 0)
    good = good & (k[:, 1, 0] == 0) & (k[:, 2, 0] == 0) & (k[:, 2, 1] == 0) & (k[:, 2, 2] == 1)
    if not bool(xp.all(good)):
        where = _first(~good)
        rows = [[float(k[where, i, j]) for j in range(3)] for i in range(3)]
        raise ValueError(
            f"{function}: intrinsics[{where}] must be [[fx, s, cx], [0, fy, cy], [0, 0, 1]] with"
            f" fx, fy > 0, got {rows}"
        )


def _first(of: Any) -> int:
    """Find the first true entry."""
    return int(namespace(of).nonzero(of)[0][0])
