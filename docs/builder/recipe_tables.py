"""Write the tables of docs/recipes.md from the recipes themselves.

$ python docs/builder/recipe_tables.py

A test compares the page with what this would write.
"""

import inspect
import re
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch

from nerfreg.recipes import RECIPES, Recipe
from nerfreg.schedules import Constant, Linear, LogLinear

PAGE = Path(__file__).parents[1] / "recipes.md"
BEGIN = "<!-- From here on written by docs/builder/recipe_tables.py -->"
SCENES = {False: "object or room", True: "forward-facing"}
RUNS = (50_000, 5_000)
LOOKS_AT = {
    "ray_terms": "colour and unseen rays",
    "keypoint_terms": "keypoint rays",
    "patch_terms": "unseen patches",
    "pair_terms": "pairs of pixels",
    "image_terms": "small images from unseen poses",
}


def tables() -> str:
    """All recipes, one section each."""
    return "\n".join(section(name) for name in RECIPES)


def section(name: str) -> str:
    """One recipe: what it is, its parts, its arguments, its source."""
    recipe = RECIPES[name]
    more = {"embed": torch.nn.Identity()} if "embed" in inspect.signature(recipe).parameters else {}
    settings = {
        (SCENES[forward_facing], f"{n_steps:,} steps"): rows(
            recipe(forward_facing=forward_facing, n_views=3, n_steps=n_steps, **more), n_steps
        )
        for n_steps, forward_facing in product(RUNS, SCENES)
    }
    doc = inspect.getdoc(recipe) or ""
    if isinstance(recipe, partial):
        options = ", ".join(f"{key}={value!r}" for key, value in recipe.keywords.items())
        doc = f"[{recipe.func.__name__}](#{recipe.func.__name__}) with `{options}`."
    lines = [f"## {name}\n", plain(doc.partition("\n")[0]) + "\n", table(settings)]
    arguments = re.search(r"^Args:\n(.*?)\n\n", doc, re.MULTILINE | re.DOTALL)
    for argument in re.split(r"\n    (?=\w)", arguments[1].lstrip() if arguments else ""):
        meaning = plain(argument.partition(": ")[2])
        if meaning and "makes no difference" not in meaning:
            lines.append(f"- `{argument.partition(': ')[0]}`: {meaning}")
    source = re.search(r"^Source: (.*)", doc, re.MULTILINE | re.DOTALL)
    lines.append(f"\n**Source.** {plain(source[1])}\n" if source else "")
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip() + "\n"


def table(settings: dict[tuple[str, str], dict[str, str]]) -> str:
    """One row a part, or several where it depends on the scene, the run, or both."""
    lines = ["| part | where | setting |", "|---|---|---|"]
    for part in dict.fromkeys(part for parts in settings.values() for part in parts):
        cells = {key: parts.get(part, "off") for key, parts in settings.items()}
        for where, cell in distinguished(cells).items():
            lines.append(f"| {part} | {where or 'everywhere'} | {cell} |")
    return "\n".join(lines) + "\n"


def distinguished(cells: dict[tuple[str, str], str]) -> dict[str, str]:
    """Name each cell by as little as tells it from the others."""
    for which in ((), (0,), (1,), (0, 1)):
        named = {", ".join(key[i] for i in which): cell for key, cell in cells.items()}
        if all(named[", ".join(key[i] for i in which)] == cell for key, cell in cells.items()):
            return named
    raise AssertionError("scene and run together name one cell")


def rows(recipe: Recipe, n_steps: int) -> dict[str, str]:
    """Each part of a recipe, in words."""
    found: dict[str, str] = {}
    for kind, rays in LOOKS_AT.items():
        for name, (loss, weight) in getattr(recipe, kind).items():
            said = f"`{called(loss)}`, weight {schedule(weight, n_steps)}"
            if name in recipe.coarse_weights:
                said += f", on the coarse level {schedule(recipe.coarse_weights[name], n_steps)}"
            found[f"`{name}` on {rays}"] = said
    if (annealing := recipe.annealing) is not None:
        found["sample-space annealing"] = (
            f"from {annealing.start:g} of the range around {annealing.mid:g},"
            f" {span(annealing.n_steps, n_steps)}, `form={annealing.form!r}`"
        )
    if (mask := recipe.frequency_mask) is not None:
        of = "positions and directions" if recipe.mask_directions else "positions"
        found["frequency mask"] = (
            f"of {of}, from {mask.start:g} octaves, {span(mask.n_steps, n_steps)}"
        )
    found["rays"] = ", ".join(rays_drawn(recipe)) or "colour rays alone"
    position = " and the position itself" if recipe.append_position else ""
    found["encoding"] = recipe.encoding + position
    found["forward-facing scenes in"] = {"ndc": "NDC", "metric": "metric space"}[recipe.coordinates]
    return found


def rays_drawn(recipe: Recipe) -> list[str]:
    """Say which rays are cast beside those of the photographs."""
    size = f"{recipe.patch_size}×{recipe.patch_size}"
    drawn: list[str] = []
    if recipe.keypoint_share:
        drawn.append(f"{percent(recipe.keypoint_share)} of the rays through keypoints")
    if recipe.unseen_share:
        weighed = "weighed by opacity" if recipe.opacity_weighting else "unweighted"
        share = percent(recipe.unseen_share)
        drawn.append(f"unseen rays: {share} of the colour rays, in {size} patches, {weighed}")
    if recipe.pair_share:
        share = percent(recipe.pair_share)
        drawn.append(f"{share} of the rays in pairs up to {recipe.pair_reach} pixels apart")
    if recipe.image_terms:
        side = recipe.image_size
        drawn.append(f"one {side}×{side} image every {recipe.image_every} steps")
    return drawn


def schedule(weight: Any, n_steps: int) -> str:
    """Write a weight as numbers."""
    if isinstance(weight, Constant):
        weight = weight.value
    if isinstance(weight, (int, float)):
        return f"{weight:.4g}"
    way = {Linear: "", LogLinear: "by equal factors "}[type(weight)]
    return f"{weight.start:.4g} → {weight.end:.2g} {way}{span(weight.n_steps, n_steps)}"


def span(steps: int, n_steps: int) -> str:
    """Say how long: whole percents are shares of the run, all else is a number of steps."""
    if steps == n_steps:
        return "over the run"
    whole = 100 * steps % n_steps == 0
    return f"over {percent(steps / n_steps)} of the run" if whole else f"over {steps:,} steps"


def percent(share: float) -> str:
    """Write a share."""
    return f"{100 * share:.0f} %"


def called(loss: Any) -> str:
    """How one would write it: a function's name, a module with its options."""
    if inspect.isfunction(loss):
        return loss.__name__
    default = inspect.signature(type(loss).__init__).parameters
    shown = [
        f"{name}={written(getattr(loss, name))}"
        for name in default
        if isinstance(getattr(loss, name, None), (bool, int, float, str))
        and getattr(loss, name) != default[name].default
    ]
    return f"{type(loss).__name__}({', '.join(shown)})"


def written(option: bool | float | str) -> str:
    """Write an option's value."""
    return f"{option:.4g}" if isinstance(option, float) else repr(option)


def plain(text: str) -> str:
    """Docstring to Markdown, on one line."""
    text = re.sub(r":\w+:`~?(?:\w+\.)*(\w+)`", r"`\1`", text)
    return " ".join(text.replace("``", "`").split())


def page(text: str) -> str:
    """The page with its tables as the recipes are now."""
    return f"{text.partition(BEGIN)[0]}{BEGIN}\n\n{tables()}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
