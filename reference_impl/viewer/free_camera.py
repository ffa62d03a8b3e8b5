"""A camera that took no photograph: its rays, and where they begin and end in a run's space."""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from nerfreg.views import Cameras, Rays, ndc_to_depth, pinhole
from reference_impl.ray_space import RaySpace


@dataclass(frozen=True, eq=False)
class FreeCamera:
    """A pinhole camera anywhere in the scene.

    Attributes:
        c2w: (3, 4), OpenCV axes.
        fov: vertical, in radians.
        aspect: width over height of its picture.
    """

    c2w: Tensor
    fov: float
    aspect: float

    def cameras(self, height: int) -> Cameras:
        """This one camera, with a picture of ``height`` rows."""
        width = max(round(height * self.aspect), 1)
        focal = height / 2 / math.tan(self.fov / 2)
        return Cameras(self.c2w[None], pinhole(focal, width, height)[None], width, height)


@dataclass(frozen=True, eq=False)
class Sightlines:
    """The rays of a free camera's picture in a run's space, and their bounds.

    Attributes:
        rays: (H, W) in the space, to be rendered between ``near`` and ``far``.
        world: (H, W) the same rays in the world, where t is z-depth.
        near: smallest ray parameter.
        far: largest ray parameter.
        shown: (H, W) which rays the space has: NDC knows none that look back.
        ndc_near: of the space.
    """

    rays: Rays[Tensor]
    world: Rays[Tensor]
    near: float
    far: float
    shown: Tensor
    ndc_near: float | None

    @classmethod
    def of(
        cls, camera: FreeCamera, height: int, space: RaySpace, columns: slice = slice(None)
    ) -> "Sightlines":
        """What ``camera`` sees of a scene whose own cameras are those of ``space``.

        Args:
            camera: that looks.
            height: rows of its picture.
            space: of the run.
            columns: of the picture that are wanted.
        """
        own = camera.cameras(height).to(device=space.cameras.c2w.device)
        flown = replace(space, cameras=own)
        index, xy = (x[:, columns] for x in flown.image_grid(0))
        world = own.rays(index, xy)
        position = own.c2w[0, :, 3]
        if space.ndc_near is None:
            near, far = space.near, space.far + outside(position, space.cameras.c2w[:, :, 3])
            shown = torch.ones(world.shape, dtype=torch.bool, device=position.device)
        else:
            # Past the near plane, rays begin at the camera instead of behind it.
            ahead = max(float(-position[2]), space.ndc_near)
            near, far = min(1 - space.ndc_near / ahead, 0.99), space.far
            shown = world.viewdirs[..., 2] < -1e-2
        return cls(flown.rays(index, xy), world, near, far, shown, space.ndc_near)

    def z_depth(self, t: Tensor) -> Tensor:
        """The z-depth (H, W) at ray parameter ``t`` (H, W)."""
        return t if self.ndc_near is None else ndc_to_depth(t, self.world, near=self.ndc_near)


def outside(position: Tensor, cameras: Tensor) -> float:
    """How far a position (3,) lies from those of a scene's cameras (n, 3): 0 between them.

    A camera that steps back from them must see farther to reach what they see.
    """
    apart = torch.cdist(cameras, cameras).fill_diagonal_(torch.inf).min(1).values
    gap = float(apart[apart.isfinite()].max()) if len(cameras) > 1 else 0.0
    return max(float((cameras - position).norm(dim=-1).min()) - gap, 0.0)
