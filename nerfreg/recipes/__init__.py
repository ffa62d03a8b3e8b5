"""The papers' settings as data, each number with its source."""

from collections.abc import Callable
from functools import partial

from nerfreg.recipes.dietnerf import dietnerf
from nerfreg.recipes.dsnerf import dsnerf
from nerfreg.recipes.fewview import fewview
from nerfreg.recipes.freenerf import freenerf
from nerfreg.recipes.infonerf import infonerf
from nerfreg.recipes.mipnerf import mipnerf, nerf
from nerfreg.recipes.recipe import Recipe
from nerfreg.recipes.regnerf import regnerf
from nerfreg.recipes.sparsenerf import sparsenerf

__all__ = [
    "RECIPES",
    "Recipe",
    "dietnerf",
    "dsnerf",
    "fewview",
    "freenerf",
    "infonerf",
    "mipnerf",
    "nerf",
    "regnerf",
    "sparsenerf",
]

RECIPES: dict[str, Callable[..., Recipe]] = {
    "mipnerf": mipnerf,
    "nerf": nerf,
    "regnerf": regnerf,
    "dsnerf": dsnerf,
    "freenerf": freenerf,
    "infonerf": infonerf,
    "dietnerf": dietnerf,
    "sparsenerf": sparsenerf,
    "fewview": fewview,
    # What the papers' texts and releases say otherwise, to be measured beside the above.
    "regnerf-released": partial(regnerf, released=True),
    "regnerf-metric": partial(regnerf, coordinates="metric"),
    "dsnerf-published": partial(dsnerf, form="dsnerf"),
}
"""Recipes by the name that users type; a recipe of one's own is added here."""
