"""RegNeRF's geometry regularization, without its colour prior."""

from dataclasses import replace

from nerfreg.losses import DepthSmoothness
from nerfreg.recipes.recipe import Recipe
from nerfreg.schedules import Linear, SampleSpaceAnnealing

__all__ = ["regnerf"]


def regnerf(*, forward_facing: bool, n_views: int, n_steps: int) -> Recipe:
    """Depth smoothness on 8x8 patches from unseen poses, and sample-space annealing.

    Args:
        forward_facing: NDC scene (LLFF's preset of the annealing) or not (DTU's).
        n_views: number of training views; the annealing is off from 9 on, as released.
        n_steps: of the training. The published horizons are 256 and 512 of 43,945 or more steps; a run too
            short for them gets a quarter of its own length.

    Source: Niemeyer et al., RegNeRF, CVPR 2022; numbers from its released configurations: weight 400 -> 0.1
    over 512 steps, coarse level 0.1, opacity-weighted, one 8x8 patch's ray per training ray.
    *Differs from upstream in:* the released LLFF configurations multiply this term by zero and draw one
    single unseen pose; here the term acts and poses are drawn anew each step. No colour prior.
    """
    annealing = SampleSpaceAnnealing.llff() if forward_facing else SampleSpaceAnnealing.dtu()
    horizon = max(n_steps // 4, 1)
    return Recipe(
        "regnerf",
        "Niemeyer et al., RegNeRF, CVPR 2022 (released configurations; no colour prior)",
        patch_terms={"depth_smoothness": (DepthSmoothness(), Linear(400.0, 0.1, min(512, horizon)))},
        coarse_weights={"depth_smoothness": 0.1},
        annealing=replace(annealing, n_steps=min(annealing.n_steps, horizon)) if n_views < 9 else None,
        unseen_share=1.0,
    )
