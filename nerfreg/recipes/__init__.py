"""The papers' settings as data, each number with its source."""

from collections.abc import Callable

from nerfreg.recipes.dsnerf import dsnerf
from nerfreg.recipes.fewview import fewview
from nerfreg.recipes.mipnerf import mipnerf, nerf
from nerfreg.recipes.recipe import Recipe
from nerfreg.recipes.regnerf import regnerf

__all__ = ["RECIPES", "Recipe", "dsnerf", "fewview", "mipnerf", "nerf", "regnerf"]

RECIPES: dict[str, Callable[..., Recipe]] = {
    "mipnerf": mipnerf,
    "nerf": nerf,
    "regnerf": regnerf,
    "dsnerf": dsnerf,
    "fewview": fewview,
}
