"""No regularizer at all: the baseline of the few-view papers."""

from nerfreg.recipes.recipe import Recipe

__all__ = ["mipnerf", "nerf"]


def mipnerf(*, forward_facing: bool, n_views: int, n_steps: int) -> Recipe:
    """mip-NeRF as few-view papers compare with: colour loss alone, NDC where a scene allows it."""
    del forward_facing, n_views, n_steps
    return Recipe(
        "mipnerf", "Barron et al., Mip-NeRF, ICCV 2021; settings of RegNeRF's released code"
    )


def nerf(*, forward_facing: bool, n_views: int, n_steps: int) -> Recipe:
    """The same with NeRF's positional encoding of points instead of the integrated one of cones.

    The encoding's kind alone: its size is the model's. NeRF's own has 10 octaves and the position
    itself before them; in the reference trainer ``--model.max-degree 10 --model.append-position``,
    as nothing damps the highest of RegNeRF's 16 octaves here.
    """
    del forward_facing, n_views, n_steps
    return Recipe("nerf", "Mildenhall et al., NeRF, ECCV 2020 (encoding)", encoding="positional")
