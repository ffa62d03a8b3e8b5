"""Camera paths for watching a scene: a spiral in front of it, an orbit around it."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from nerfreg.views.cameras import Cameras
from nerfreg.views.poses import look_at
from nerfreg.views.training_poses import PoseBox, focus_ahead, mean_up, training_poses
from nerfreg.views.vectors import length, unit

__all__ = ["orbit_path", "spiral_path"]


def spiral_path(
    cameras: Cameras | Tensor,
    target: Float[Tensor, "3"] | float | None = None,
    *,
    n_frames: int = 120,
    n_rotations: float = 2.0,
    z_rate: float = 0.5,
    quantile: float = 0.9,
) -> Float[Tensor, "f 3 4"]:
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
    c2w = training_poses("spiral_path", cameras)
    box = PoseBox.around(c2w, quantile)
    if target is None:
        target = focus_ahead("spiral_path", c2w)
    elif not isinstance(target, Tensor):
        target = box.pose[:, 3] + target * box.pose[:, 2]
    theta = _turns(c2w, n_frames, n_rotations)
    place = torch.stack([theta.cos(), theta.sin(), (z_rate * theta).sin()], -1)
    return look_at(box.position(place), target.to(c2w), mean_up(c2w))


def orbit_path(
    cameras: Cameras | Tensor,
    *,
    centre: Float[Tensor, "3"] | None = None,
    up: Float[Tensor, "3"] | None = None,
    n_frames: int = 120,
) -> Float[Tensor, "f 3 4"]:
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
    centre = focus_ahead("orbit_path", c2w) if centre is None else centre.to(c2w)
    up = unit(mean_up(c2w) if up is None else up.to(c2w))
    offsets = c2w[..., 3] - centre
    height = (offsets @ up).mean()
    across = (length(offsets).square().mean() - height**2).clamp_min(0).sqrt()
    # The circle starts on the side of +x, or of +y where the axis runs along x.
    start = torch.eye(3, dtype=c2w.dtype, device=c2w.device)[1 if float(up[0].abs()) > 0.9 else 0]
    first = unit(start - (start @ up) * up)
    second = torch.cross(up, first, dim=-1)
    theta = _turns(c2w, n_frames, 1.0)[:, None]
    position = centre + height * up + across * (theta.cos() * first + theta.sin() * second)
    return look_at(position, centre, up)


def _turns(like: Tensor, n_frames: int, n_rotations: float) -> Tensor:
    """Angles of evenly spaced frames; a closed path does not show its first frame twice."""
    steps = torch.arange(n_frames, dtype=like.dtype, device=like.device)
    return steps * (2 * math.pi * n_rotations / n_frames)
