"""Unseen poses on the way from one training pose to another."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from nerfreg.views.cameras import Cameras
from nerfreg.views.distribution import moved, require_count
from nerfreg.views.draws import require_generator, uniform_integers, uniform_numbers
from nerfreg.views.quaternion import quaternion_to_rotation, rotation_to_quaternion, slerp
from nerfreg.views.training_poses import training_tensors

__all__ = ["InterpolatedPoses"]


@dataclass(frozen=True, eq=False)
class InterpolatedPoses:
    """Draw poses between two of the training poses.

        position = w·p_i + (1 − w)·p_j,  rotation = slerp(j → i, w);  i ≠ j and w ~ U[0, 1]
        uniformly

    Attributes:
        c2w: (m, 3, 4) the training poses, OpenCV axes; m ≥ 2.
        form: ``"slerp"`` turns the camera at constant speed; ``"released"`` mixes the entries of
            the matrices, which leaves them no rotations: rays come out shorter, so t is not
                z-depth.

    Source:
        RegNeRF's code for DTU (``linearcomb``), which is ``form="released"``.

    Example:
        >>> import torch
        >>> c2w = torch.eye(3, 4).repeat(2, 1, 1)
        >>> c2w[1, 0, 3] = 4.0
        >>> between = InterpolatedPoses.from_cameras(c2w)
        >>> between.place(torch.tensor([1]), torch.tensor([0]), torch.tensor([0.25]))[0, :, 3]
        tensor([1., 0., 0.])
    """

    c2w: Float[Tensor, "m 3 4"]
    form: Literal["slerp", "released"] = "slerp"

    def __post_init__(self) -> None:
        if self.form not in ("slerp", "released"):
            raise ValueError(
                f'InterpolatedPoses: form must be "slerp" or "released", got {self.form!r}'
            )
        if len(self.c2w) < 2:
            raise ValueError(
                f"InterpolatedPoses: at least two poses are needed, got {len(self.c2w)}"
            )

    @classmethod
    def from_cameras(
        cls, cameras: Cameras[Tensor] | Tensor, *, form: Literal["slerp", "released"] = "slerp"
    ) -> "InterpolatedPoses":
        """Take the training cameras.

        Args:
            cameras: of the **training** views, or their (n, 3, 4) OpenCV camera-to-world matrices;
                n ≥ 2.
            form: how rotations are mixed.

        Raises:
            ValueError: a pose is not one; there is only one; ``form`` is neither of the two.
        """
        return cls(training_tensors("InterpolatedPoses.from_cameras", cameras), form)

    def place(
        self,
        first: Int[Tensor, " n"],
        second: Int[Tensor, " n"],
        weight: Float[Tensor, " n"],
    ) -> Float[Tensor, "n 3 4"]:
        """Return the poses with ``weight`` w of pose ``first`` and 1 − w of pose ``second``."""
        towards, start = self.c2w[first], self.c2w[second]
        mixed = start + weight[:, None, None] * (towards - start)
        if self.form == "released":
            return mixed
        turned = slerp(
            rotation_to_quaternion(start[..., :3]), rotation_to_quaternion(towards[..., :3]), weight
        )
        return torch.cat([quaternion_to_rotation(turned), mixed[..., 3:]], -1)

    def sample(self, n: int, generator: torch.Generator | None = None) -> Float[Tensor, "n 3 4"]:
        """Draw n independent camera-to-world matrices, OpenCV axes."""
        require_count("InterpolatedPoses.sample", n)
        device = self.c2w.device
        require_generator("InterpolatedPoses.sample", generator, device)
        first = uniform_integers(len(self.c2w), n, device, generator)
        # A step of 1 … m − 1 around the ring of poses reaches every other pose equally often.
        step = 1 + uniform_integers(len(self.c2w) - 1, n, device, generator)
        weight = uniform_numbers(self.c2w, n, generator=generator)
        return self.place(first, (first + step) % len(self.c2w), weight)

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> "InterpolatedPoses":
        """Move to a device, convert to a floating dtype, or both."""
        return moved(self, device, dtype)
