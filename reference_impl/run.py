"""What a run is made of: from its configuration to scene, recipe, space and model."""

import json
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
from reference_impl.scenes.triangulate import triangulate

VIEWS = "views.json"


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


def with_keypoints(config: Config, scene: Scene) -> Scene:
    """The scene with the keypoints asked for.

    Raises:
        ValueError: they are to be triangulated, and cannot be.
    """
    if config.keypoints == "model":
        return scene
    if config.keypoints == "none":
        return replace(scene, keypoints={})
    # The photographs to train on are often too small for features.
    width = config.keypoints_width or None
    whole = load_scene(config.scene, config.views, width=width, keypoints=False)
    found = triangulate(whole, Path(config.keypoints_cache) if config.keypoints_cache else None)
    x = scene.cameras.width / whole.cameras.width
    y = scene.cameras.height / whole.cameras.height
    return replace(scene, keypoints={view: k.resized(x, y) for view, k in found.items()})


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
        scene = load_scene(
            config.scene,
            config.views,
            width=resolve_width(config),
            keypoints=config.keypoints == "model",
        )
        scene = with_keypoints(config, scene)
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
            scene="embedded" if embedded else _absolute(config.scene),
            depth_maps=_absolute(config.depth_maps),
            keypoints_cache=_absolute(config.keypoints_cache),
            lpips_weights=_absolute(config.lpips_weights),
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
            ValueError: the folder is no run; its scene has other training views by now.
        """
        path = folder / "config.json"
        if not path.is_file():
            raise ValueError(f"{folder}: no config.json there, so it is not a run")
        run = cls.of(load_config(path))
        run.require_trained_views(folder)
        return run

    def save_views(self, folder: Path) -> None:
        """Write down, for people and for :meth:`open`, which photographs train and which test."""
        scene = self.scene
        views = {
            "split": scene.split,
            "train": [scene.names[i] for i in scene.train],
            self.config.evaluate_on: [scene.names[i] for i in scene.test],
        }
        (folder / VIEWS).write_text(json.dumps(views, indent=2) + "\n")

    def require_trained_views(self, folder: Path) -> None:
        """Refuse a scene whose training views are not those that the run was trained on.

        A photograph added to a scene's folder moves the split: what trained may test by now.

        Raises:
            ValueError: they differ; the message names those that would be tested.
        """
        trained = _trained_views(folder)
        scene = self.scene
        now = [scene.names[i] for i in scene.train]
        if trained is None or sorted(trained) == sorted(now):
            return
        tested = [scene.names[i] for i in scene.test if scene.names[i] in trained]
        leak = f", and {', '.join(tested)} would be tested" if tested else ""
        raise ValueError(
            f"{folder}: was trained on {', '.join(trained)}, but its scene's training views are"
            f" {', '.join(now)} by now{leak}; the scene's folder or split has changed since"
        )

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


def _trained_views(folder: Path) -> list[str] | None:
    """Names of a run's training views; ``None`` for an older run that has not said them."""
    for name in (VIEWS, "metrics.json"):
        path = folder / name
        if not path.is_file():
            continue
        try:
            trained = json.loads(path.read_text())["train"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if isinstance(trained, list):
            return [str(view) for view in trained]
    return None


def _absolute(path: str) -> str:
    """A path that means the same from every folder; an option not given stays empty."""
    return str(Path(path).resolve()) if path else ""
