"""The two kinds of depth, z-depth and distance, and the way from one to the other.

A point x = o + t·d is at *distance* t·‖d‖ from the camera, and at *z-depth* z along the optical
axis. Directions whose camera z is 1 (what :class:`nerfreg.views.Cameras` gives) make t the z-depth;
unit directions make it the distance. At the corner of a 90° image the two differ by a factor of √3.
"""

from typing import Any

import numpy as np
from jaxtyping import Float

from nerfreg.arrays import Array, is_traced, namespace, to_numpy
from nerfreg.checks import require_floating, require_one_device, require_shape, value_checks

__all__ = ["distance_to_z_depth", "require_optical_axis", "z_depth_to_distance"]


def z_depth_to_distance(
    z_depth: Float[Array, "*rays"], directions: Float[Array, "*rays 3"]
) -> Float[Array, "*rays"]:
    """Convert z-depth (COLMAP, gsplat, most sensors) to distance from the camera's centre.

    Args:
        z_depth: depth along the optical axis.
        directions: of the same rays, in any coordinate frame, scaled so that camera z is 1. Unit
            directions have forgotten their optical axis and would give ``z_depth`` back unchanged.

    Raises:
        TypeError: an argument is not a floating-point array.
        ValueError: ``directions`` is not ``z_depth``'s shape with a 3 at the end; while values are
            checked, different directions all have unit length.

    Example:
        >>> import torch
        >>> z_depth_to_distance(torch.tensor(2.0), torch.tensor([0.0, 0.75, 1.0])).item()
        2.5
    """
    return z_depth * _length("z_depth_to_distance", "z_depth", z_depth, directions)


def distance_to_z_depth(
    distance: Float[Array, "*rays"], directions: Float[Array, "*rays 3"]
) -> Float[Array, "*rays"]:
    """Convert distance from the camera's centre to z-depth.

    The inverse of :func:`z_depth_to_distance`, with the same arguments and errors.

    Example:
        >>> import torch
        >>> distance_to_z_depth(torch.tensor(2.5), torch.tensor([0.0, 0.75, 1.0])).item()
        2.0
    """
    return distance / _length("distance_to_z_depth", "distance", distance, directions)


def require_optical_axis(function: str, directions: Any, counted: Any = None) -> None:
    """Raise ``ValueError`` where directions have unit length, and so lie on a sphere, not a plane.

    Close around one axis sphere and plane are the same, and nothing is raised. The optical axes of
    several cameras, without any other ray, are taken for unit directions.

    Args:
        function: name of the public function, for the message.
        directions: (…, 3), read on the host. Those that are 0 or not finite do not count.
        counted: which of them count, flat, as NumPy; ``None``: all.
    """
    dtype = str(directions.dtype)
    rounding = 1e-2 if "bfloat16" in dtype else 1e-3 if "float16" in dtype else 1e-5
    vectors = to_numpy(directions).reshape(-1, 3)
    vectors = vectors if counted is None else vectors[counted]
    length = np.linalg.norm(vectors, axis=-1)
    vectors, length = (x[np.isfinite(length) & (length > 0)] for x in (vectors, length))
    # At an angle of a the plane is a²/2 beyond the sphere, which has to stand out of the rounding.
    apart = 4 * rounding**0.5
    if len(length) and abs(length - 1).max() < rounding and np.ptp(vectors, axis=0).max() > apart:
        raise ValueError(
            f"{function}: directions must have camera z = 1, got unit vectors, which have forgotten"
            " their optical axis; take them before they are normalised, or divide them by their"
            " camera z"
        )


def _length(function: str, name: str, depth: Any, directions: Any) -> Any:
    """Check the shapes and measure the directions."""
    require_floating(function, **{name: depth, "directions": directions})
    require_shape(function, f"one for each {name}", (*depth.shape, 3), directions=directions)
    require_one_device(function, **{name: depth, "directions": directions})
    if value_checks() and not is_traced(directions):
        require_optical_axis(function, directions)
    xp = namespace(directions)
    return xp.sqrt(xp.sum(directions * directions, axis=-1))
