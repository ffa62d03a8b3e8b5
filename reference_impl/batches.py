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
        points = [(view, k) for view, k in scene.keypoints.items() if len(k.depth)]
        use_keypoints = bool(points) and bool(recipe.keypoint_terms)
        self.n_keypoints = int(n_rays * recipe.keypoint_share) if use_keypoints else 0
        self.n_color = n_rays - self.n_keypoints
        area = recipe.patch_size**2
        self.n_patches = round(recipe.unseen_share * n_rays / area) if recipe.patch_terms else 0
        if points:
            self.point_index = torch.cat([torch.full((len(k.depth),), v) for v, k in points]).to(
                device
            )
            self.point_xy = torch.cat([k.xy for _, k in points]).float().to(device)
            self.point_depth = torch.cat([k.depth for _, k in points]).float().to(device)
            self.point_std = torch.cat([k.std for _, k in points]).float().to(device)
        self.patches = (
            UnseenPatchSampler(
                scene.unseen.to(device),
                scene.cameras.intrinsics[scene.train].to(device),
                recipe.patch_size,
                image_size=(scene.cameras.width, scene.cameras.height),
                ndc_near=space.ndc_near,
            )
            if self.n_patches
            else None
        )

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
