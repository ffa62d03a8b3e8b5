"""Unseen poses of cameras that look at one object: beside them, looking at it too."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from nerfreg.views.cameras import Cameras
from nerfreg.views.distribution import moved, require_count
from nerfreg.views.draws import require_generator, uniform_numbers
from nerfreg.views.poses import look_at
from nerfreg.views.training_poses import PoseBox, focus_ahead, mean_up, training_tensors

__all__ = ["AroundFocusPoses"]


@dataclass(frozen=True, eq=False)
class AroundFocusPoses:
    """Draw poses uniformly from a box around the average camera, looking near the focus point.

        position = average · (r ⊙ u),  u ~ U[−1, 1]³;  the camera looks at f + s·z,  z ~ N(0, I)

    Attributes:
        pose: (3, 4) the average camera, OpenCV axes.
        radii: (3,) r, half sides of the box along its right, down and forward, world units.
        focus: (3,) f, world.
        up: (3,) direction that appears upright, world.
        jitter: () s, standard deviation of the point looked at, on each axis, world units.

    Source:
        Niemeyer et al., RegNeRF, CVPR 2022, and its code for DTU. *Differs from upstream in* that
        box and focus are those of the training cameras alone (there: of all, the test cameras among
        them); the box is measured in the average camera's axes (there: in the world's, the same
        thing once all poses are recentred).

    Example:
        >>> import torch
        >>> from nerfreg.views import look_at
        >>> position = torch.tensor([[-1.0, 0.0, -3.0], [0.0, 0.0, -3.0], [1.0, 0.0, -3.0]])
        >>> c2w = look_at(position, torch.zeros(3), torch.tensor([0.0, -1.0, 0.0]))
        >>> AroundFocusPoses.from_cameras(c2w).sample(5).shape
        torch.Size([5, 3, 4])
    """

    pose: Float[Tensor, "3 4"]
    radii: Float[Tensor, "3"]
    focus: Float[Tensor, "3"]
    up: Float[Tensor, "3"]
    jitter: Float[Tensor, ""]

    @classmethod
    def from_cameras(
        cls,
        cameras: Cameras[Tensor] | Tensor,
        *,
        radius: float = 1.0,
        jitter: float = 0.125,
        focus: Float[Tensor, "3"] | None = None,
    ) -> "AroundFocusPoses":
        """Measure the training cameras.

        Args:
            cameras: of the **training** views, or their (n, 3, 4) OpenCV camera-to-world matrices.
            radius: factor on the size of the box that just holds all cameras.
            jitter: of the point looked at, in units of the box's largest half side at ``radius`` 1:
                RegNeRF scales DTU so that this is the unit of length. Poses then scale as the scene
                does.
            focus: the point looked at; by default the one nearest to all optical axes.

        Raises:
            ValueError: a pose is not one; the cameras do not look at a common point.
        """
        c2w = training_tensors("AroundFocusPoses.from_cameras", cameras)
        if focus is None:
            focus = focus_ahead("AroundFocusPoses.from_cameras", c2w)
        if jitter < 0:
            raise ValueError(f"AroundFocusPoses.from_cameras: jitter must be ≥ 0, got {jitter}")
        box = PoseBox.around(c2w)
        size = box.radii.max()
        return cls(box.pose, radius * box.radii, focus.to(c2w), mean_up(c2w), jitter * size)

    def place(
        self, places: Float[Tensor, "n 3"], glances: Float[Tensor, "n 3"]
    ) -> Float[Tensor, "n 3 4"]:
        """Return the poses of given draws.

        Args:
            places: u in [−1, 1]³ (right, down, forward) of the box.
            glances: z, standard normal, along the world's axes.
        """
        position = PoseBox(self.pose, self.radii).position(places)
        return look_at(position, self.focus + self.jitter * glances, self.up)

    def sample(self, n: int, generator: torch.Generator | None = None) -> Float[Tensor, "n 3 4"]:
        """Draw n independent camera-to-world matrices, OpenCV axes."""
        require_count("AroundFocusPoses.sample", n)
        require_generator("AroundFocusPoses.sample", generator, self.pose.device)
        places = 2 * uniform_numbers(self.pose, n, 3, generator=generator) - 1
        return self.place(
            places,
            torch.randn(n, 3, generator=generator, dtype=self.pose.dtype, device=self.pose.device),
        )

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> "AroundFocusPoses":
        """Move to a device, convert to a floating dtype, or both."""
        return moved(self, device, dtype)
