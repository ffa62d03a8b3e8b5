"""Draws a training step's rays on the device: of photographs, of keypoints, of unseen patches."""

from dataclasses import dataclass

import torch
from torch import Tensor

from nerfreg.recipes import Recipe
from nerfreg.views import Rays, UnseenPatchSampler
from reference_impl.ray_space import RaySpace
from reference_impl.scenes import Scene


@dataclass(frozen=True)
class Batch:
    """The rays of one step, in this order: colour rays, keypoint rays, patches row by row.

    Attributes:
        rays: (R,) in the model's space.
        color: (C, 3) in [0, 1], the photographs at the first C rays.
        keypoint_index: (K,) camera of each keypoint ray.
        keypoint_xy: (K, 2) its pixel coordinates.
        depth: (K,) z-depth of the keypoint.
        std: (K,) of that depth.
        n_patches: number of patches at the end of ``rays``.
    """

    rays: Rays
    color: Tensor
    keypoint_index: Tensor
    keypoint_xy: Tensor
    depth: Tensor
    std: Tensor
    n_patches: int


class BatchSampler:
    """Draw training batches from tensors that stay on the device: nothing waits for the host.

    Args:
        scene: what to train on; its training views alone are touched.
        recipe: which kinds of rays, in which proportion.
        space: in which the model lives.
        n_rays: colour and keypoint rays a step, together.
        device: that trains.
    """

    def __init__(
        self, scene: Scene, recipe: Recipe, space: RaySpace, n_rays: int, device: torch.device
    ) -> None:
        self.space, self.recipe, self.device = space, recipe, device
        self.train = torch.tensor(scene.train, device=device)
        self.images = scene.images[scene.train].to(device)
        # A keypoint outside of the bounds would ask its ray not to stop in any sample.
        inside = {
            view: k.where((k.depth > scene.near) & (k.depth < scene.far))
            for view, k in scene.keypoints.items()
        }
        points = [(view, k) for view, k in inside.items() if len(k)]
        use_keypoints = bool(points) and bool(recipe.keypoint_terms)
        self.n_keypoints = max(1, int(n_rays * recipe.keypoint_share)) if use_keypoints else 0
        self.n_color = n_rays - self.n_keypoints
        self.n_patches = 0
        if recipe.patch_terms:
            self.n_patches = max(1, round(recipe.unseen_share * n_rays / recipe.patch_size**2))
        if points:
            index = [torch.full((len(k),), view) for view, k in points]
            self.point_index = torch.cat(index).to(device)
            self.point_xy = torch.cat([k.xy for _, k in points]).float().to(device)
            self.point_depth = torch.cat([k.depth for _, k in points]).float().to(device)
            self.point_std = torch.cat([k.std for _, k in points]).float().to(device)
        self.patches = self._patch_sampler(scene) if self.n_patches else None

    def _patch_sampler(self, scene: Scene) -> UnseenPatchSampler:
        size = (scene.cameras.width, scene.cameras.height)
        try:
            return UnseenPatchSampler(
                scene.unseen.to(self.device),
                scene.cameras.intrinsics[scene.train].to(self.device),
                self.recipe.patch_size,
                image_size=size,
                ndc_near=self.space.ndc_near,
                ndc_scale=self.space.ndc_scale,
            )
        except ValueError as error:
            raise ValueError(
                f"--width: photographs of {size[0]}x{size[1]} pixels: {error}"
            ) from error

    def draw(self, generator: torch.Generator) -> Batch:
        """Draw one batch; the same generator state gives the same batch."""

        def integers(high: int, n: int) -> Tensor:
            return torch.randint(high, (n,), generator=generator, device=self.device)

        n, h, w, _ = self.images.shape
        pixel = integers(n * h * w, self.n_color)
        view, y, x = pixel // (h * w), pixel // w % h, pixel % w
        color = self.images[view, y, x].float() / 255
        parts = [self.space.rays(self.train[view], torch.stack([x, y], -1) + 0.5)]
        index, xy = self.train[:0], parts[0].origins.new_zeros(0, 2)
        depth = std = xy[:, 0]
        if self.n_keypoints:
            chosen = integers(len(self.point_depth), self.n_keypoints)
            index, xy = self.point_index[chosen], self.point_xy[chosen]
            depth, std = self.point_depth[chosen], self.point_std[chosen]
            parts.append(self.space.rays(index, xy))
        if self.patches is not None:
            parts.append(self.patches.sample(self.n_patches, generator=generator).rays.flatten())
        return Batch(Rays.cat(parts), color, index, xy, depth, std, self.n_patches)
