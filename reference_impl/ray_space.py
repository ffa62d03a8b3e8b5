"""Where a scene's rays live while it is trained: metric space or, facing forward, NDC."""

from dataclasses import dataclass

import torch
from torch import Tensor

from nerfreg.views import Cameras, Rays, ndc_scale, ndc_to_depth
from reference_impl.scenes import Scene


@dataclass(frozen=True)
class RaySpace:
    """Rays of a scene's cameras and the bounds between which they are sampled.

    Attributes:
        cameras: of the whole scene, on the device that trains.
        near: smallest ray parameter t.
        far: largest ray parameter t.
        ndc_near: depth of the plane that NDC starts from; ``None``: metric, where t is z-depth.
        ndc_scale: (2,) that every camera, photographed, unseen or flown, shares in NDC.
    """

    cameras: Cameras
    near: float
    far: float
    ndc_near: float | None = None
    ndc_scale: Tensor | None = None

    @classmethod
    def of(cls, scene: Scene, coordinates: str, device: torch.device | str = "cpu") -> "RaySpace":
        """The space that a recipe's ``coordinates`` mean for this scene."""
        cameras = scene.cameras.to(device=device)
        if coordinates == "ndc" and scene.ndc_near is not None:
            first = cameras.intrinsics[scene.train[0]]
            scale = ndc_scale(first, cameras.width, cameras.height)
            return cls(cameras, 0.0, 1.0, scene.ndc_near, scale)
        return cls(cameras, scene.near, scene.far)

    def rays(self, index: Tensor, xy: Tensor) -> Rays:
        """Rays through pixel coordinates ``xy`` of cameras ``index``."""
        if self.ndc_near is None:
            return self.cameras.rays(index, xy)
        return self.cameras.ndc_rays(index, xy, near=self.ndc_near, scale=self.ndc_scale)

    def z_depth(self, t: Tensor, index: Tensor, xy: Tensor) -> Tensor:
        """The z-depth at ray parameter ``t`` (…) or (…, S) of those rays."""
        if self.ndc_near is None:
            return t
        return ndc_to_depth(t, self.cameras.rays(index, xy), near=self.ndc_near)

    def image_grid(self, view: int) -> tuple[Tensor, Tensor]:
        """Camera index and pixel centres of every pixel of a view, (H, W) and (H, W, 2)."""
        h, w = self.cameras.height, self.cameras.width
        device = self.cameras.c2w.device
        y, x = torch.meshgrid(
            torch.arange(h, device=device) + 0.5,
            torch.arange(w, device=device) + 0.5,
            indexing="ij",
        )
        return torch.full((h, w), view, device=device), torch.stack([x, y], -1)
