"""Draws a training step's rays on the device: of photographs, keypoints, unseen patches, images."""

from dataclasses import dataclass

import torch
from torch import Tensor

from nerfreg.recipes import Recipe
from nerfreg.views import Cameras, PatchRays, Rays, UnseenPatchSampler
from reference_impl.ray_space import RaySpace
from reference_impl.scenes import Scene


@dataclass(frozen=True)
class Batch:
    """The rays of one step: colour rays, keypoint rays, patches row by row, an image row by row.

    Attributes:
        rays: (R,) in the model's space.
        color: (C, 3) in [0, 1], the photographs at the first C rays.
        keypoint_index: (K,) camera of each keypoint ray.
        keypoint_xy: (K, 2) its pixel coordinates.
        depth: (K,) z-depth of the keypoint.
        std: (K,) of that depth.
        n_patches: number of patches after them.
        patches: where those patches come from, with their rays.
        pair_depth: (M, 2) given depth at the first 2·M colour rays, which lie in pairs.
        image_size: side of the unseen image at the end of ``rays``; 0: none at this step.
        image_target: place among the training views of the photograph to compare it with.
    """

    rays: Rays
    color: Tensor
    keypoint_index: Tensor
    keypoint_xy: Tensor
    depth: Tensor
    std: Tensor
    n_patches: int
    patches: PatchRays | None
    pair_depth: Tensor
    image_size: int
    image_target: Tensor


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
        self.patches = None
        if self.n_patches:
            self.patches = self._unseen(scene, scene.cameras, recipe.patch_size)
        self.image = None
        if recipe.image_terms:
            # A photograph made small, of which a square is kept: a patch of a coarser camera.
            side, (w, h) = recipe.image_size, (scene.cameras.width, scene.cameras.height)
            small = scene.cameras.resized(round(side * max(w / h, 1)), round(side * max(h / w, 1)))
            self.image = self._unseen(scene, small, side)
        self.n_pairs, self.depth_maps = 0, None
        if recipe.pair_terms and scene.depth_maps:
            self.n_pairs = int(self.n_color * recipe.pair_share) // 2
            maps = [scene.depth_maps[view] for view in scene.train]
            self.depth_maps = torch.stack(maps).to(device)

    def _unseen(self, scene: Scene, cameras: Cameras, side: int) -> UnseenPatchSampler:
        size = (cameras.width, cameras.height)
        try:
            return UnseenPatchSampler(
                scene.unseen.to(self.device),
                cameras.intrinsics[scene.train].to(self.device),
                side,
                image_size=size,
                ndc_near=self.space.ndc_near,
                ndc_scale=self.space.ndc_scale,
            )
        except ValueError as error:
            raise ValueError(
                f"--width: photographs of {size[0]}x{size[1]} pixels: {error}"
            ) from error

    def draw(self, generator: torch.Generator, step: int = 0) -> Batch:
        """Draw one batch; the same generator state and step give the same batch."""

        def integers(high: int, n: int) -> Tensor:
            return torch.randint(high, (n,), generator=generator, device=self.device)

        n, h, w, _ = self.images.shape
        pixel = integers(n * h * w, self.n_color)
        view, y, x = pixel // (h * w), pixel // w % h, pixel % w
        pair_depth = self.images.new_zeros((0, 2), dtype=torch.float32)
        if self.depth_maps is not None:
            # The second of a pair lies near the first, in the same photograph.
            m, reach = self.n_pairs, self.recipe.pair_reach
            near_y = (y[:m] + integers(2 * reach + 1, m) - reach).clamp(0, h - 1)
            near_x = (x[:m] + integers(2 * reach + 1, m) - reach).clamp(0, w - 1)
            view = torch.cat([view[:m].repeat_interleave(2), view[2 * m :]])
            y = torch.cat([torch.stack([y[:m], near_y], -1).flatten(), y[2 * m :]])
            x = torch.cat([torch.stack([x[:m], near_x], -1).flatten(), x[2 * m :]])
            pair_depth = self.depth_maps[view[: 2 * m], y[: 2 * m], x[: 2 * m]].reshape(m, 2)
        color = self.images[view, y, x].float() / 255
        parts = [self.space.rays(self.train[view], torch.stack([x, y], -1) + 0.5)]
        index, xy = self.train[:0], parts[0].origins.new_zeros(0, 2)
        depth = std = xy[:, 0]
        if self.n_keypoints:
            chosen = integers(len(self.point_depth), self.n_keypoints)
            index, xy = self.point_index[chosen], self.point_xy[chosen]
            depth, std = self.point_depth[chosen], self.point_std[chosen]
            parts.append(self.space.rays(index, xy))
        patches = None
        if self.patches is not None:
            patches = self.patches.sample(self.n_patches, generator=generator)
            parts.append(patches.rays.flatten())
        size, target = 0, self.train[:0]
        if self.image is not None and step % self.recipe.image_every == 0:
            size, target = self.recipe.image_size, integers(n, 1)
            parts.append(self.image.sample(1, generator=generator).rays.flatten())
        return Batch(
            Rays.cat(parts),
            color,
            index,
            xy,
            depth,
            std,
            self.n_patches,
            patches,
            pair_depth,
            size,
            target,
        )
