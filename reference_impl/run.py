"""What a run is made of: from its configuration to scene, recipe, space and model."""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

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
from reference_impl.mipnerf import MipNerf, MipNerfConfig, Renderer
from reference_impl.ray_space import RaySpace
from reference_impl.scenes import Scene, load_scene


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
        recipe = RECIPES[config.recipe](
            forward_facing=scene.ndc_near is not None, n_views=config.views, n_steps=steps
        )
        embedded = config.scene == "embedded"
        ndc = recipe.coordinates == "ndc" and scene.ndc_near is not None
        model = replace(
            config.model, encoding=recipe.encoding, ray_shape="cylinder" if ndc else "cone"
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
        mask = self.recipe.frequency_mask
        if mask is None:
            return model
        now = torch.tensor(step, device=next(model.parameters()).device)
        return partial(model, octaves=mask(now, model.config.n_octaves))

    def trained_model(self, folder: Path, device: torch.device | str = "cpu") -> MipNerf:
        """The network as of the folder's last checkpoint."""
        model = self.model()
        checkpoints.load_model(checkpoints.latest(folder), model)
        return model.to(device)
