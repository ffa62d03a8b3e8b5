"""The training cameras, as the distributions of unseen poses take them in."""

from dataclasses import dataclass
from typing import Any, Generic

from jaxtyping import Float
from torch import Tensor

from nerfreg.arrays import Array, is_traced, namespace
from nerfreg.checks import check_values
from nerfreg.views.cameras import Cameras
from nerfreg.views.draws import require_tensor
from nerfreg.views.matrices import require_poses
from nerfreg.views.poses import average_pose, compose_poses, focus_point, invert_pose

__all__ = ["PoseBox", "focus_ahead", "mean_up", "training_poses", "training_tensors"]


def training_poses(function: str, cameras: Any) -> Any:
    """Return (n, 3, 4) poses, checked by value: a scene passes here once, before training."""
    c2w = getattr(cameras, "c2w", cameras)
    with check_values():
        require_poses(function, "cameras", c2w)
    return c2w


def training_tensors(function: str, cameras: Cameras[Tensor] | Tensor) -> Tensor:
    """Return :func:`training_poses` of torch, whose generators draw beside them."""
    c2w = training_poses(function, cameras)
    require_tensor(function, "cameras", c2w)
    return c2w


def mean_up(c2w: Float[Array, "n 3 4"]) -> Float[Array, "3"]:
    """Return the mean of the cameras' up axes, not normalised."""
    return -namespace(c2w).mean(c2w[..., 1], axis=0)


def focus_ahead(function: str, c2w: Float[Array, "n 3 4"]) -> Float[Array, "3"]:
    """Return the cameras' focus point, or raise where they do not look at one."""
    remedy = "use ForwardFacingPoses, or say where they look"
    try:
        focus = focus_point(c2w)
    except ValueError as error:
        raise ValueError(
            f"{function}: cameras look at no common point ({error}); {remedy}"
        ) from None
    if is_traced(c2w):
        return focus
    xp = namespace(c2w)
    behind = ~(xp.sum((focus - c2w[..., 3]) * c2w[..., 2], axis=-1) > 0)
    n_behind = int(xp.sum(xp.astype(behind, xp.int32)))
    if n_behind:
        raise ValueError(
            f"{function}: cameras look at no common point: the one nearest to their optical axes"
            f" lies behind {n_behind} of {c2w.shape[0]}; {remedy}"
        )
    return focus


@dataclass(frozen=True, eq=False)
class PoseBox(Generic[Array]):
    """The box around the average camera, symmetric about it, that holds all cameras.

    Attributes:
        pose: (3, 4) the average camera, the box's frame: right, down, forward.
        radii: (3,) half sides along those axes, world units.
    """

    pose: Float[Array, "3 4"]
    radii: Float[Array, "3"]

    @classmethod
    def around(cls, c2w: Float[Any, "n 3 4"], quantile: float = 1.0) -> "PoseBox[Any]":
        """Put the box around the cameras; below 1, ``quantile`` leaves some out, on each axis."""
        xp = namespace(c2w)
        pose = average_pose(c2w)
        local = xp.abs(compose_poses(invert_pose(pose), c2w)[..., 3])
        return cls(pose, _quantile(local, quantile))

    def position(self, place: Float[Array, "*n 3"]) -> Any:
        """Return the world position of a place in [−1, 1]³ in the box."""
        scaled = (self.radii * place)[..., None, :]
        return namespace(place).sum(self.pose[:, :3] * scaled, axis=-1) + self.pose[:, 3]


def _quantile(x: Any, quantile: float) -> Any:
    """Interpolate, along the first axis, what this share of the values does not exceed."""
    at = quantile * (x.shape[0] - 1)
    below = int(at)
    above = min(below + 1, x.shape[0] - 1)
    x = namespace(x).sort(x, axis=0)
    return x[below, :] + (at - below) * (x[above, :] - x[below, :])
