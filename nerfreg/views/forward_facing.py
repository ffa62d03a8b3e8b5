"""Unseen poses of forward-facing scenes: beside the cameras, all looking at one point ahead."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from nerfreg.views.cameras import Cameras
from nerfreg.views.distribution import moved, require_count
from nerfreg.views.draws import require_generator, uniform_numbers
from nerfreg.views.poses import look_at
from nerfreg.views.training_poses import PoseBox, mean_up, training_tensors

__all__ = ["ForwardFacingPoses", "focus_depth"]


def focus_depth(near: float, far: float) -> float:
    """Return a depth to look at, between the bounds, near in disparity.

        f = 1 / (0.25/(0.9·near) + 0.75/(5·far))

    Source:
        NeRF's code for LLFF scenes, as RegNeRF uses it.
    """
    if not 0 < near < far:
        raise ValueError(f"focus_depth: expected 0 < near < far, got near {near} and far {far}")
    return 1 / (0.25 / (0.9 * near) + 0.75 / (5 * far))


@dataclass(frozen=True, eq=False)
class ForwardFacingPoses:
    """Draw poses uniformly from a box around the average camera, looking at one point ahead of it.

        position = average · (r ⊙ u),  u ~ U[−1, 1]³;  the camera looks at average · (0, 0, f)

    Attributes:
        pose: (3, 4) the average camera, OpenCV axes.
        radii: (3,) r, half sides of the box along its right, down and forward, world units.
        target: (3,) the point that all look at, world.
        up: (3,) direction that appears upright, world.

    Source:
        Niemeyer et al., RegNeRF, CVPR 2022, and its code for LLFF. *Differs from upstream in* that
        the box is that of the training cameras alone (there: of all, the test cameras among them),
        measured in the average camera's axes (there: in the world's, the same thing once all poses
        are recentred); and that n draws give n poses, where the released code keeps the last of all
        its draws.

    Example:
        >>> import torch
        >>> c2w = torch.eye(3, 4).repeat(3, 1, 1)
        >>> c2w[:, 0, 3] = torch.tensor([-1.0, 0.0, 1.0])
        >>> ForwardFacingPoses.from_cameras(c2w, near=1.0, far=10.0).sample(5).shape
        torch.Size([5, 3, 4])
    """

    pose: Float[Tensor, "3 4"]
    radii: Float[Tensor, "3"]
    target: Float[Tensor, "3"]
    up: Float[Tensor, "3"]

    @classmethod
    def from_cameras(
        cls, cameras: Cameras[Tensor] | Tensor, near: float, far: float, *, radius: float = 1.0
    ) -> "ForwardFacingPoses":
        """Measure the training cameras.

        Args:
            cameras: of the **training** views, or their (n, 3, 4) OpenCV camera-to-world matrices.
            near: smallest z-depth of the scene in those views, world units.
            far: largest.
            radius: factor on the size of the box that just holds all cameras.

        Raises:
            ValueError: a pose is not one, or not 0 < near < far.
        """
        c2w = training_tensors("ForwardFacingPoses.from_cameras", cameras)
        box = PoseBox.around(c2w)
        target = box.pose[:, 3] + focus_depth(near, far) * box.pose[:, 2]
        return cls(box.pose, radius * box.radii, target, mean_up(c2w))

    def place(self, places: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3 4"]:
        """Return the poses at given places u in [−1, 1]³ (right, down, forward) of the box."""
        return look_at(PoseBox(self.pose, self.radii).position(places), self.target, self.up)

    def sample(self, n: int, generator: torch.Generator | None = None) -> Float[Tensor, "n 3 4"]:
        """Draw n independent camera-to-world matrices, OpenCV axes."""
        require_count("ForwardFacingPoses.sample", n)
        require_generator("ForwardFacingPoses.sample", generator, self.pose.device)
        return self.place(2 * uniform_numbers(self.pose, n, 3, generator=generator) - 1)

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> "ForwardFacingPoses":
        """Move to a device, convert to a floating dtype, or both."""
        return moved(self, device, dtype)
