"""How a scene stands in the browser: its size, which way is up, where one enters."""

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from nerfreg.views import look_at, quaternion_to_rotation
from reference_impl.scenes import Scene
from reference_impl.viewer.free_camera import FreeCamera

# Browser units to what the cameras look at: the browser's near plane, depth range and the sizes of
# what is drawn suit a scene of about this size, whatever its own units are.
MIDDLE = 3.0
ENTRANCE_FOV = math.radians(55)


@dataclass(frozen=True, eq=False)
class Stage:
    """The map from a scene's world to the browser's: the same axes, another unit.

    Attributes:
        scale: browser units in one scene unit.
        up: (3,) unit vector.
        entrance: the camera that a browser starts with, in the scene's world.
    """

    scale: float
    up: Tensor
    entrance: FreeCamera

    @classmethod
    def of(cls, scene: Scene) -> "Stage":
        """Enter behind the training camera in the middle, a little above it."""
        c2w = scene.cameras.c2w[scene.train].float()
        positions = c2w[:, :, 3]
        central = int((positions - positions.mean(0)).norm(dim=-1).argmin())
        up = F.normalize(-c2w[:, :, 1].mean(0), dim=0)
        depth = middle_depth(scene)
        position, forward = c2w[central, :, 3], c2w[central, :, 2]
        entry = position - 0.3 * depth * forward + 0.1 * depth * up
        pose = look_at(entry, position + depth * forward, up)
        return cls(MIDDLE / depth, up, FreeCamera(pose, ENTRANCE_FOV, 4 / 3))

    def place(self, points: Tensor) -> NDArray[np.float32]:
        """Scene points (…, 3), or lengths, in the browser."""
        return (points.detach().cpu() * self.scale).float().numpy()

    def camera(
        self, wxyz: NDArray[np.float64], position: NDArray[np.float64], fov: float, aspect: float
    ) -> FreeCamera:
        """A camera of the browser, in the scene's world."""
        rotation = quaternion_to_rotation(torch.from_numpy(wxyz))
        place = torch.from_numpy(position / self.scale)
        return FreeCamera(torch.cat([rotation, place[:, None]], 1).float(), fov, aspect)


def middle_depth(scene: Scene) -> float:
    """What the cameras look at: the keypoints' median depth, else amid the bounds in disparity."""
    depths = [k.depth for k in scene.keypoints.values() if len(k.depth)]
    return float(torch.cat(depths).median()) if depths else 2 / (1 / scene.near + 1 / scene.far)


def vertical_fov(scene: Scene, view: int | None = None) -> float:
    """Vertical field of view of a camera in radians, by default of the first that trains."""
    focal = float(scene.cameras.intrinsics[scene.train[0] if view is None else view, 1, 1])
    return 2 * math.atan(scene.cameras.height / 2 / focal)
