"""What a run is made of: from its configuration to scene, recipe, space and model."""

from dataclasses import dataclass, replace
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any

import torch

from nerfreg.recipes import RECIPES, Recipe
from reference_impl import checkpoints
from reference_impl.config import (
    Config,
    check,
    load_config,
    resolve_precision,
    resolve_steps,
    resolve_width,
)
from reference_impl.embedders import load_embedder
from reference_impl.mipnerf import MipNerf, MipNerfConfig, Renderer
from reference_impl.ray_space import RaySpace
from reference_impl.regularized_step import visible_octaves
from reference_impl.scenes import Scene, load_scene
from reference_impl.scenes.depth_maps import load_depth_maps


def build_recipe(config: Config, scene: Scene, steps: int) -> Recipe:
    """The recipe for this scene, with an embedder if it takes one.

    Raises:
        ValueError: the recipe needs an embedder, or one is given to a recipe that takes none; it
            has no part of a name to leave out.
    """
    make = RECIPES[config.recipe]
    embed: dict[str, Any] = {}
    if "embed" in signature(make).parameters:
        if not config.embedder:
            raise ValueError(
                f"--recipe {config.recipe}: needs --embedder MODEL[:CHECKPOINT], an open_clip model"
            )
        embed["embed"] = load_embedder(config.embedder)
    elif config.embedder:
        raise ValueError(f"--embedder: recipe {config.recipe} compares no images")
    forward_facing = scene.ndc_near is not None
    recipe = make(forward_facing=forward_facing, n_views=config.views, n_steps=steps, **embed)
    try:
        return recipe.without(*filter(None, config.without.split(",")))
    except ValueError as error:
        raise ValueError(f"--without {config.without}: {error}") from error


def with_depth_maps(config: Config, scene: Scene, recipe: Recipe) -> Scene:
    """The scene with the depth maps that the recipe's pairs need.

    Raises:
        ValueError: they are missing, or given to a recipe that looks at none.
    """
    if not recipe.pair_terms:
        if config.depth_maps:
            raise ValueError(f"--depth-maps: recipe {recipe.name} looks at none")
        return scene
    if not config.depth_maps:
        names = ", ".join(scene.names[view] for view in scene.train)
        raise ValueError(
            f"--recipe {recipe.name}: needs --depth-maps FOLDER with a depth map for each training"
            f" photograph: {names}"
        )
    maps = load_depth_maps(config.depth_maps, scene, config.depth_maps_kind)
    return replace(scene, depth_maps=maps)


@dataclass(frozen=True)
class Run:
    """A configuration with nothing left to be decided, and what follows from it."""

    config: Config
    scene: Scene
    recipe: Recipe

    @classmethod
    def of(cls, config: Config) -> "Run":
        """Load the scene and choose the recipe of a configuration.

        Raises:
            ValueError: scene, recipe or number of views cannot be had; the message names which.
        """
        check(config)
        if config.recipe not in RECIPES:
            known = ", ".join(RECIPES)
            raise ValueError(f"--recipe {config.recipe}: unknown, choose one of {known}")
        scene = load_scene(config.scene, config.views, width=resolve_width(config))
        if config.evaluate_on == "validation":
            scene = scene.for_validation()
        steps = resolve_steps(config, scene.cameras.width, scene.cameras.height)
        recipe = build_recipe(config, scene, steps)
        scene = with_depth_maps(config, scene, recipe)
        embedded = config.scene == "embedded"
        ndc = recipe.coordinates == "ndc" and scene.ndc_near is not None
        model = replace(
            config.model,
            encoding=recipe.encoding,
            ray_shape="cylinder" if ndc else "cone",
            append_position=recipe.append_position or config.model.append_position,
        )
        for option in ("encoding", "ray_shape"):
            asked, chosen = getattr(config.model, option), getattr(model, option)
            if asked not in (chosen, getattr(MipNerfConfig(), option)):
                raise ValueError(
                    f"--model.{option.replace('_', '-')} {asked}: recipe {recipe.name} on"
                    f" {scene.name} decides that, and takes {chosen}"
                )
        if ndc and model.spacing == "disparity":
            raise ValueError(
                "--model.spacing disparity: in NDC, where near is 0, 1/t has no end; NDC is even in"
                " disparity already, so use linear"
            )
        resolved = replace(
            config,
            scene="embedded" if embedded else str(Path(config.scene).resolve()),
            depth_maps=str(Path(config.depth_maps).resolve()) if config.depth_maps else "",
            steps=steps,
            width=scene.cameras.width,
            precision=resolve_precision(config),
            model=model,
        )
        return cls(resolved, scene, recipe)

    @classmethod
    def open(cls, folder: Path) -> "Run":
        """The run that lies in a folder.

        Raises:
            ValueError: the folder is no run.
        """
        path = folder / "config.json"
        if not path.is_file():
            raise ValueError(f"{folder}: no config.json there, so it is not a run")
        return cls.of(load_config(path))

    def space(self, device: torch.device | str = "cpu") -> RaySpace:
        """Where the rays live."""
        return RaySpace.of(self.scene, self.recipe.coordinates, device)

    def model(self) -> MipNerf:
        """The network with its initial weights."""
        torch.manual_seed(self.config.seed)
        return MipNerf(self.config.model)

    def at_step(self, model: MipNerf, step: int) -> Renderer:
        """The model as training showed it the scene: through the frequency mask of that step."""
        now = torch.tensor(step, device=next(model.parameters()).device)
        return partial(model, **visible_octaves(self.recipe, model.config, now))

    def trained_model(self, folder: Path, device: torch.device | str = "cpu") -> MipNerf:
        """The network as of the folder's last checkpoint."""
        model = self.model()
        checkpoints.load_model(checkpoints.latest(folder), model)
        return model.to(device)
