"""InfoNeRF: rays that stop in one place, as do their neighbours."""

from typing import Any

from nerfreg.losses import InformationGain, ray_entropy
from nerfreg.recipes.recipe import Recipe
from nerfreg.schedules import LogLinear

__all__ = ["infonerf"]


def infonerf(*, forward_facing: bool, n_views: int, n_steps: int) -> Recipe:
    """Low entropy of rays, seen and unseen, and little information gain between neighbours.

    Source: Kim et al., InfoNeRF, CVPR 2022; released configurations: entropy 0.001 on as many
    unseen rays as colour rays, where opacity exceeds 0.1 (Blender); information gain 2e-5, halved
    every 5000 steps (DTU; off for Blender); beside a colour loss that is a mean over RGB, so three
    times that beside a sum; NeRF's encoding, no NDC.
    *Differs from upstream in:* unseen rays are drawn around the training views, where the release
    takes the held-out views' own poses; a ray's neighbour is that of the next pixel, where the
    release turns the camera by up to 5°; neighbours are compared where they are in space, not by
    the number of the sample.
    """
    del forward_facing, n_views
    gain = 3 * 2e-5
    return Recipe(
        "infonerf",
        "Kim et al., InfoNeRF, CVPR 2022 (released configurations)",
        ray_terms={"ray_entropy": (entropy_of_alphas, 3 * 0.001)},
        patch_terms={
            "information_gain": (
                InformationGain(),
                LogLinear(gain, gain * 0.5 ** (n_steps / 5000), n_steps),
            )
        },
        unseen_share=1.0,
        coordinates="metric",
        encoding="positional",
    )


def entropy_of_alphas(alpha: Any, opacity: Any) -> Any:
    """Entropy as the paper has it: of where the matter is, hidden or not, on rays that meet any."""
    return ray_entropy(alpha, opacity, threshold=0.1)
