"""Unseen poses of an object seen from all around: on a hemisphere, looking at its centre."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from nerfreg.vectors import length, unit
from nerfreg.views.cameras import Cameras
from nerfreg.views.distribution import moved, require_count
from nerfreg.views.draws import require_generator
from nerfreg.views.poses import look_at
from nerfreg.views.training_poses import focus_ahead, mean_up, training_tensors

__all__ = ["HemispherePoses"]

# Distance of the cameras of NeRF's synthetic Blender scenes from the origin, √(3.5² + 2²).
BLENDER_RADIUS = 4.03112885717555


@dataclass(frozen=True, eq=False)
class HemispherePoses:
    """Draw poses uniformly from the upper half of a sphere, looking at its centre.

        position = centre + r·g/‖g‖,  g ~ N(0, I), mirrored to the side of up

    Attributes:
        centre: (3,) of the sphere, world.
        up: (3,) towards the half that is drawn from, and upright in the images; any length.
        radius: () r, world units.

    Source:
        RegNeRF's code for Blender scenes.

    Example:
        >>> import torch
        >>> poses = HemispherePoses.blender().sample(100)
        >>> bool((poses[:, 2, 3] >= 0).all()), round(float(poses[0, :, 3].norm()), 4)
        (True, 4.0311)
    """

    centre: Float[Tensor, "3"]
    up: Float[Tensor, "3"]
    radius: Float[Tensor, ""]

    @classmethod
    def blender(
        cls, *, dtype: torch.dtype = torch.float32, device: torch.device | str | None = None
    ) -> "HemispherePoses":
        """Return the hemisphere that NeRF's synthetic scenes were rendered from: +z is up."""
        up = torch.tensor([0.0, 0.0, 1.0], dtype=dtype, device=device)
        radius = torch.tensor(BLENDER_RADIUS, dtype=dtype, device=device)
        return cls(torch.zeros_like(up), up, radius)

    @classmethod
    def from_cameras(
        cls,
        cameras: Cameras[Tensor] | Tensor,
        *,
        centre: Float[Tensor, "3"] | None = None,
        up: Float[Tensor, "3"] | None = None,
        radius: float | None = None,
    ) -> "HemispherePoses":
        """Measure the training cameras.

        Args:
            cameras: of the **training** views, or their (n, 3, 4) OpenCV camera-to-world matrices.
            centre: by default the point nearest to all optical axes.
            up: by default the mean of the cameras' up axes. Where the scene knows its vertical,
                pass it: few cameras that look down lean the mean towards themselves.
            radius: by default the cameras' mean distance from the centre.

        Raises:
            ValueError: a pose is not one; the cameras do not look at a common point; radius is not
                > 0.
        """
        c2w = training_tensors("HemispherePoses.from_cameras", cameras)
        if centre is None:
            centre = focus_ahead("HemispherePoses.from_cameras", c2w)
        if radius is not None and not radius > 0:
            raise ValueError(f"HemispherePoses.from_cameras: radius must be > 0, got {radius}")
        centre = centre.to(c2w)
        mean_distance = length(c2w[..., 3] - centre).mean()
        return cls(
            centre,
            mean_up(c2w) if up is None else up.to(c2w),
            mean_distance if radius is None else torch.full_like(mean_distance, radius),
        )

    def place(self, directions: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3 4"]:
        """Return the poses in given directions from the centre, mirrored upwards where below."""
        up = unit(self.up)
        height = (directions * up).sum(-1, keepdim=True)
        above = directions - 2 * height.clamp_max(0) * up
        return look_at(self.centre + self.radius * unit(above), self.centre, self.up)

    def sample(self, n: int, generator: torch.Generator | None = None) -> Float[Tensor, "n 3 4"]:
        """Draw n independent camera-to-world matrices, OpenCV axes."""
        require_count("HemispherePoses.sample", n)
        device, dtype = self.centre.device, self.centre.dtype
        require_generator("HemispherePoses.sample", generator, device)
        return self.place(torch.randn(n, 3, generator=generator, dtype=dtype, device=device))

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> "HemispherePoses":
        """Move to a device, convert to a floating dtype, or both."""
        return moved(self, device, dtype)
