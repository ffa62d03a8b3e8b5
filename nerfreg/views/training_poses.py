"""The training cameras, as the distributions of unseen poses take them in."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from nerfreg.checks import check_values
from nerfreg.views.cameras import Cameras
from nerfreg.views.matrices import require_poses
from nerfreg.views.poses import average_pose, compose_poses, focus_point, invert_pose

__all__ = ["PoseBox", "focus_ahead", "mean_up", "training_poses"]


def training_poses(function: str, cameras: Cameras | Tensor) -> Tensor:
    """Return (n, 3, 4) poses, checked by value: a scene passes here once, before training."""
    c2w = cameras.c2w if isinstance(cameras, Cameras) else cameras
    with check_values():
        require_poses(function, "cameras", c2w)
    return c2w


def mean_up(c2w: Float[Tensor, "n 3 4"]) -> Float[Tensor, "3"]:
    """Return the mean of the cameras' up axes, not normalised."""
    return -c2w[..., 1].mean(0)


def focus_ahead(function: str, c2w: Float[Tensor, "n 3 4"]) -> Float[Tensor, "3"]:
    """Return the cameras' focus point, or raise where they do not look at one."""
    remedy = "use ForwardFacingPoses, or say where they look"
    try:
        focus = focus_point(c2w)
    except ValueError as error:
        raise ValueError(
            f"{function}: cameras look at no common point ({error}); {remedy}"
        ) from None
    ahead = ((focus - c2w[..., 3]) * c2w[..., 2]).sum(-1) > 0
    if not bool(ahead.all()):
        raise ValueError(
            f"{function}: cameras look at no common point: the one nearest to their optical axes"
            f" lies behind {int((~ahead).sum())} of {len(c2w)}; {remedy}"
        )
    return focus


@dataclass(frozen=True, eq=False)
class PoseBox:
    """The box around the average camera, symmetric about it, that holds all cameras.

    Attributes:
        pose: (3, 4) the average camera, the box's frame: right, down, forward.
        radii: (3,) half sides along those axes, world units.
    """

    pose: Float[Tensor, "3 4"]
    radii: Float[Tensor, "3"]

    @classmethod
    def around(cls, c2w: Float[Tensor, "n 3 4"], quantile: float = 1.0) -> "PoseBox":
        """Put the box around the cameras; below 1, ``quantile`` leaves some out, on each axis."""
        pose = average_pose(c2w)
        local = compose_poses(invert_pose(pose), c2w)[..., 3].abs()
        return cls(pose, torch.quantile(local, quantile, dim=0))

    def position(self, place: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n 3"]:
        """Return the world position of a place in [−1, 1]³ in the box."""
        return (self.pose[:, :3] * (self.radii * place)[..., None, :]).sum(-1) + self.pose[:, 3]
