"""One training step: draw rays, render every one of them once, hand each loss what it asks for.

This is the file to read in order to use nerfreg in your own trainer.
"""

from collections.abc import Iterable, Sequence
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn

from nerfreg import GradientShares, Objective, ObjectiveValue, gradient_shares
from nerfreg.rays import edges_to_intervals
from nerfreg.recipes import Recipe
from nerfreg.views import Rays
from reference_impl.batches import Batch, BatchSampler
from reference_impl.mipnerf import MipNerf, MipNerfConfig, Rendering, data_loss
from reference_impl.ray_space import RaySpace

# mip-NeRF's weight of the coarse level's colour.
COARSE_COLOR_WEIGHT = 0.1


def build_objective(recipe: Recipe) -> Objective:
    """The recipe's terms beside the colour loss; a coarse level's term is named ``NAME_coarse``."""
    terms: dict[str, Any] = {
        "color": (data_loss, 1.0),
        "color_coarse": (data_loss, COARSE_COLOR_WEIGHT),
    }
    for name, (loss, weight) in recipe.terms.items():
        terms[name] = (loss, weight)
        if name in recipe.coarse_weights:
            terms[f"{name}_coarse"] = (loss, recipe.coarse_weights[name])
    return Objective(terms)


def visible_octaves(recipe: Recipe, model: MipNerfConfig, step: Tensor) -> dict[str, Tensor]:
    """How visible each octave of the encodings is at a step: arguments of the model."""
    if recipe.frequency_mask is None:
        return {}
    octaves = {"octaves": recipe.frequency_mask(step, model.n_octaves)}
    if recipe.mask_directions:
        octaves["view_octaves"] = recipe.frequency_mask(step, model.view_degree)
    return octaves


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
        # What each loss asks for, by the names of its inputs.
        self.asked = {
            name: signature(getattr(loss, "forward", loss)).parameters
            for name, (loss, _) in recipe.terms.items()
        }
        # A recipe's losses are no children of this module; some have weights: a prior, an embedder.
        for loss, _ in recipe.terms.values():
            if isinstance(loss, nn.Module):
                loss.to(sampler.device)
        # The photographs' embeddings never change.
        self.embeddings: dict[str, Tensor] = {}
        for name, (loss, _) in recipe.image_terms.items():
            with torch.no_grad():
                self.embeddings[name] = loss.embed(sampler.images.float() / 255)

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
        value = self._evaluate(step, generator, self.model)
        return value.total, value.values, value.weights

    def gradient_shares(
        self, step: int, generator: torch.Generator, model: MipNerf
    ) -> GradientShares:
        """What each term contributes to the gradient on the rays that the step is about to draw.

        Args:
            step: from 0.
            generator: of the training; left as it is.
            model: the model before compilation: a compiled graph is walked back only once.
        """
        ahead = torch.Generator(generator.device)
        ahead.set_state(generator.get_state())
        value = self._evaluate(step, ahead, model)
        return gradient_shares(value.weighted, model.parameters(), retain_graph=False)

    def _evaluate(self, step: int, generator: torch.Generator, model: MipNerf) -> ObjectiveValue:
        device = self.space.cameras.c2w.device.type
        # Reduced precision is for the network's products: a ray in bfloat16 is off by pixels.
        with torch.autocast(device, enabled=False):
            batch = self.sampler.draw(generator, step)
            near, far = self.bounds(step, batch)
            draws = model.draw(len(batch.rays.origins), generator)
            now = batch.color.new_full((), step)
            octaves = visible_octaves(self.recipe, model.config, now)
        levels = model(batch.rays, near, far, draws=draws, background=self.background, **octaves)
        with torch.autocast(device, enabled=False):
            inputs: dict[str, dict[str, Tensor | None]] = {}
            for suffix, rendering in zip(("_coarse", ""), levels, strict=True):
                for name, arguments in self._inputs(rendering, batch).items():
                    if name + suffix in self.objective.terms:
                        inputs[name + suffix] = arguments
            return self.objective(step, inputs)

    def _inputs(self, rendering: Rendering, batch: Batch) -> dict[str, dict[str, Tensor | None]]:
        """What each loss is called with, on one level of the rendering."""
        recipe, inputs = self.recipe, dict[str, dict[str, Tensor | None]]()
        n_color, n_keypoints = len(batch.color), len(batch.depth)
        of_color, of_keypoints = slice(n_color), slice(n_color, n_color + n_keypoints)
        first_patch = n_color + n_keypoints
        of_patches = slice(first_patch, first_patch + batch.n_patches * recipe.patch_size**2)

        def hand(terms: Iterable[str], offered: dict[str, Tensor | None]) -> None:
            for name in terms:
                missing = [
                    key
                    for key, parameter in self.asked[name].items()
                    if key not in offered and parameter.default is parameter.empty
                ]
                if missing:
                    raise ValueError(
                        f"recipe {recipe.name}: term {name!r} asks for {', '.join(missing)}, but"
                        f" its kind of term is offered {', '.join(offered)}"
                    )
                inputs[name] = {key: offered[key] for key in self.asked[name] if key in offered}

        inputs["color"] = {"rgb": rendering.rgb[of_color], "target": batch.color}
        if recipe.ray_terms:
            hand(recipe.ray_terms, self._of_rays(rendering, batch.rays, (of_color, of_patches)))
        if n_keypoints:
            hand(recipe.keypoint_terms, self._of_keypoints(rendering, batch, of_keypoints))
        if batch.n_patches:
            shape = (batch.n_patches, recipe.patch_size, recipe.patch_size)
            hand(recipe.patch_terms, self._of_patches(rendering, of_patches, shape))
        if len(batch.pair_depth):
            depth = batch.pair_depth
            near, far = self.space.near, self.space.far
            rendered = (rendering.depth[: depth.numel()].reshape(-1, 2) - near) / (far - near)
            known = depth.isfinite().all(-1)
            hand(recipe.pair_terms, {"rendered": rendered, "depth": depth, "valid": known})
        if batch.image_size:
            rgb = rendering.rgb[of_patches.stop :]
            square = rgb.reshape(1, batch.image_size, batch.image_size, 3)
            for name, embeddings in self.embeddings.items():
                hand([name], {"rgb": square, "target": embeddings[batch.image_target]})
        return inputs

    def _of_rays(
        self, rendering: Rendering, rays: Rays, parts: Sequence[slice]
    ) -> dict[str, Tensor | None]:
        """Where colour and unseen rays stop, between 0 (near) and 1 (far)."""
        near, far = self.space.near, self.space.far
        weights, density, edges, opacity, directions = (
            torch.cat([x[part] for part in parts])
            for x in (
                rendering.weights,
                rendering.density,
                rendering.edges,
                rendering.opacity,
                rays.directions,
            )
        )
        starts, ends = edges_to_intervals((edges - near) / (far - near))
        lengths = edges.diff(dim=-1) * directions.norm(dim=-1, keepdim=True)
        return {
            "weights": weights,
            "starts": starts,
            "ends": ends,
            "density": density,
            "alpha": -torch.expm1(-density * lengths),
            "opacity": opacity,
        }

    def _of_keypoints(
        self, rendering: Rendering, batch: Batch, part: slice
    ) -> dict[str, Tensor | None]:
        """Rays through keypoints, in z-depth, NDC or not: that is what depth and std are in."""
        where = batch.keypoint_index, batch.keypoint_xy
        starts, ends = edges_to_intervals(self.space.z_depth(rendering.edges[part], *where))
        return {
            "weights": rendering.weights[part],
            "starts": starts,
            "ends": ends,
            "rendered": self.space.z_depth(rendering.depth[part], *where),
            "depth": batch.depth,
            "std": batch.std,
        }

    def _of_patches(
        self, rendering: Rendering, part: slice, shape: tuple[int, int, int]
    ) -> dict[str, Tensor | None]:
        """Patches of unseen poses, and each pixel's ray beside that of the pixel to its right."""
        offered: dict[str, Tensor | None] = {
            "depth": rendering.depth[part].reshape(shape),
            "opacity": rendering.opacity[part].reshape(shape)
            if self.recipe.opacity_weighting
            else None,
            "rgb": rendering.rgb[part].reshape(*shape, 3),
        }
        starts, ends = edges_to_intervals(rendering.edges[part])
        for name, x in {"weights": rendering.weights[part], "starts": starts, "ends": ends}.items():
            rows = x.reshape(*shape, -1)
            offered[name] = rows[:, :, :-1].flatten(0, 2)
            offered[f"neighbor_{name}"] = rows[:, :, 1:].flatten(0, 2)
        return offered
