"""One training step: draw rays, render every one of them once, hand each loss what it asks for.

This is the file to read in order to use nerfreg in your own trainer.
"""

from typing import Any

import torch
from torch import Tensor, nn

from nerfreg import DepthMSE, Objective
from nerfreg.rays import edges_to_intervals
from nerfreg.recipes import Recipe
from reference_impl.batches import Batch, BatchSampler
from reference_impl.mipnerf import MipNerf, Rendering, data_loss
from reference_impl.ray_space import RaySpace

# mip-NeRF's weight of the coarse level's colour.
COARSE_COLOR_WEIGHT = 0.1


def build_objective(recipe: Recipe) -> Objective:
    """The recipe's terms beside the colour loss; a coarse level's term is named ``NAME_coarse``."""
    terms: dict[str, Any] = {
        "color": (data_loss, 1.0),
        "color_coarse": (data_loss, COARSE_COLOR_WEIGHT),
    }
    for name, (loss, weight) in {**recipe.keypoint_terms, **recipe.patch_terms}.items():
        terms[name] = (loss, weight)
        if name in recipe.coarse_weights:
            terms[f"{name}_coarse"] = (loss, recipe.coarse_weights[name])
    return Objective(terms)


class RegularizedStep(nn.Module):
    """Draws, renders and evaluates; the unit that each device or process runs on rays of its own.

    Args:
        model: the field and its rendering.
        recipe: the regularizers.
        space: in which the model lives.
        sampler: that draws the rays.
        background: grey value behind the scene.
    """

    def __init__(
        self,
        model: MipNerf,
        recipe: Recipe,
        space: RaySpace,
        sampler: BatchSampler,
        background: float,
    ) -> None:
        super().__init__()
        self.model = model
        self.recipe, self.space, self.sampler = recipe, space, sampler
        self.background = background
        self.objective = build_objective(recipe)

    def bounds(self, step: int, batch: Batch) -> tuple[Tensor | float, Tensor | float]:
        """Near and far of each ray: annealed, but for keypoint rays, whose depth stays inside."""
        near, far = self.space.near, self.space.far
        if self.recipe.annealing is None:
            return near, far
        # Filled on the device: a compiled model sees no new constant at each step, and nothing is
        # copied from the host, which would wait.
        fill = batch.rays.origins.new_full
        bounds = self.recipe.annealing(fill((), step), fill((), near), fill((), far))
        n_rays = len(batch.rays.origins)
        n_color, n_keypoints = len(batch.color), len(batch.depth)
        columns: list[Tensor] = []
        for full, annealed in zip((near, far), bounds, strict=True):
            column = fill((n_rays,), 0.0) + annealed
            column[n_color : n_color + n_keypoints] = full
            columns.append(column)
        return columns[0], columns[1]

    def forward(
        self, step: int, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor], dict[str, float | Tensor]]:
        """Draw a batch, render it and evaluate the objective.

        Args:
            step: from 0.
            generator: of everything random: the batch, the stratified samples, the density noise.

        Returns:
            The total, every term's unweighted value, every term's weight.
        """
        device = self.space.cameras.c2w.device.type
        # Reduced precision is for the network's products: a ray in bfloat16 is off by pixels.
        with torch.autocast(device, enabled=False):
            batch = self.sampler.draw(generator)
            near, far = self.bounds(step, batch)
            draws = self.model.draw(len(batch.rays.origins), generator)
            mask, now = self.recipe.frequency_mask, batch.color.new_full((), step)
            octaves = None if mask is None else mask(now, self.model.config.n_octaves)
        levels = self.model(
            batch.rays, near, far, draws=draws, background=self.background, octaves=octaves
        )
        with torch.autocast(device, enabled=False):
            inputs: dict[str, dict[str, Tensor | None]] = {}
            for suffix, rendering in zip(("_coarse", ""), levels, strict=True):
                for name, arguments in self._inputs(rendering, batch).items():
                    if name + suffix in self.objective.terms:
                        inputs[name + suffix] = arguments
            value = self.objective(step, inputs)
        return value.total, value.values, value.weights

    def _inputs(self, rendering: Rendering, batch: Batch) -> dict[str, dict[str, Tensor | None]]:
        """What each loss is called with, on one level of the rendering."""
        n_color, n_keypoints = len(batch.color), len(batch.depth)
        inputs: dict[str, dict[str, Tensor | None]] = {
            "color": {"rgb": rendering.rgb[:n_color], "target": batch.color}
        }
        if n_keypoints:
            of_keypoints = slice(n_color, n_color + n_keypoints)
            where = (batch.keypoint_index, batch.keypoint_xy)
            for name, (loss, _) in self.recipe.keypoint_terms.items():
                if isinstance(loss, DepthMSE):
                    rendered = self.space.z_depth(rendering.depth[of_keypoints], *where)
                    inputs[name] = {"rendered": rendered, "depth": batch.depth}
                else:
                    # Bounds in z-depth: the keypoint's depth and std are in that unit, NDC or not.
                    edges = self.space.z_depth(rendering.edges[of_keypoints], *where)
                    starts, ends = edges_to_intervals(edges)
                    inputs[name] = {
                        "weights": rendering.weights[of_keypoints],
                        "starts": starts,
                        "ends": ends,
                        "depth": batch.depth,
                        "std": batch.std,
                    }
        if batch.n_patches:
            side = self.recipe.patch_size
            shape = (batch.n_patches, side, side)
            of_patches = slice(n_color + n_keypoints, None)
            for name in self.recipe.patch_terms:
                inputs[name] = {
                    "depth": rendering.depth[of_patches].reshape(shape),
                    "opacity": rendering.opacity[of_patches].reshape(shape)
                    if self.recipe.opacity_weighting
                    else None,
                }
        return inputs
