"""Camera paths for watching a scene: a spiral in front of it, an orbit around it."""

import math
from numbers import Real
from typing import Any

from jaxtyping import Float

from nerfreg.arrays import Array, as_like, clip, like, namespace
from nerfreg.checks import require_arrays, require_number
from nerfreg.vectors import cross, length, unit
from nerfreg.views.cameras import Cameras
from nerfreg.views.poses import look_at
from nerfreg.views.training_poses import PoseBox, focus_ahead, mean_up, training_poses

__all__ = ["orbit_path", "spiral_path"]


def spiral_path(
    cameras: Cameras[Array] | Float[Array, "n 3 4"],
    target: Float[Array, "3"] | float | None = None,
    *,
    n_frames: int = 120,
    n_rotations: float = 2.0,
    z_rate: float = 0.5,
    quantile: float = 0.9,
) -> Float[Array, "f 3 4"]:
    """Spiral around the average camera.

        position(θ) = average · (r ⊙ (cos θ, sin θ, sin(z_rate·θ))),  θ from 0 to 2π·n_rotations

    Args:
        cameras: or their (n, 3, 4) OpenCV camera-to-world matrices.
        target: the point looked at; a number stands for the point that far ahead of the average
            camera; ``None`` for the one nearest to all optical axes.
        n_frames: number of poses.
        n_rotations: full turns; negative turns the other way.
        z_rate: of the movement forward and back, relative to the turns.
        quantile: r is this quantile of the cameras' distance from the average, on each of its axes.

    Returns:
        OpenCV camera-to-world matrices.

    Source:
        NeRF's code for LLFF (``target=focus_depth(near, far)``, the default quantile); RegNeRF's
        for DTU (the focus point, ``quantile=0.6``, ``n_rotations=-2``).
    """
    require_number("spiral_path", "quantile", quantile, "in [0, 1]", lambda q: 0 <= q <= 1)
    c2w = training_poses("spiral_path", cameras)
    xp = namespace(c2w)
    box = PoseBox.around(c2w, quantile)
    if target is None:
        target = focus_ahead("spiral_path", c2w)
    elif isinstance(target, Real):
        target = box.pose[:, 3] + target * box.pose[:, 2]
    require_arrays("spiral_path", cameras=c2w, target=target)
    theta = _turns(c2w, n_frames, n_rotations)
    place = xp.stack([xp.cos(theta), xp.sin(theta), xp.sin(z_rate * theta)], axis=-1)
    return look_at(box.position(place), as_like(target, c2w), mean_up(c2w))


def orbit_path(
    cameras: Cameras[Array] | Float[Array, "n 3 4"],
    *,
    centre: Float[Array, "3"] | None = None,
    up: Float[Array, "3"] | None = None,
    n_frames: int = 120,
) -> Float[Array, "f 3 4"]:
    """Circle once around a point, at the cameras' root-mean-square distance and mean height.

    Args:
        cameras: or their (n, 3, 4) OpenCV camera-to-world matrices.
        centre: by default the point nearest to all optical axes.
        up: axis of the circle, any length; by default the mean of the cameras' up axes.
        n_frames: number of poses.

    Returns:
        OpenCV camera-to-world matrices.

    Source:
        RegNeRF's and mip-NeRF's code for 360° scenes, where the centre is the origin and +z is up.
    """
    c2w = training_poses("orbit_path", cameras)
    require_arrays("orbit_path", cameras=c2w, centre=centre, up=up)
    xp = namespace(c2w)
    centre = focus_ahead("orbit_path", c2w) if centre is None else as_like(centre, c2w)
    axis = unit(mean_up(c2w) if up is None else as_like(up, c2w))
    offsets = c2w[..., 3] - centre
    height = xp.mean(offsets @ axis)
    across = xp.sqrt(clip(xp.mean(length(offsets) ** 2) - height**2, 0.0))
    # The circle starts on the side of +x, or of +y where the axis runs along x.
    x, y, _ = xp.unstack(xp.eye(3, **like(c2w)))
    start = xp.where(xp.abs(axis[0]) > 0.9, y, x)
    first = unit(start - (start @ axis) * axis)
    second = cross(axis, first)
    theta = _turns(c2w, n_frames, 1.0)[:, None]
    position = centre + height * axis + across * (xp.cos(theta) * first + xp.sin(theta) * second)
    return look_at(position, centre, axis)


def _turns(other: Any, n_frames: int, n_rotations: float) -> Any:
    """Angles of evenly spaced frames; a closed path does not show its first frame twice."""
    steps = namespace(other).arange(n_frames, **like(other))
    return steps * (2 * math.pi * n_rotations / n_frames)
