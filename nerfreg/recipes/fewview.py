"""What works best together: nerfreg's own recipe."""

from nerfreg.losses import DepthKL, DepthSmoothness
from nerfreg.recipes.recipe import Recipe
from nerfreg.schedules import LogLinear, SampleSpaceAnnealing

__all__ = ["fewview"]


def fewview(*, forward_facing: bool, n_views: int, n_steps: int) -> Recipe:
    """Keypoint depth, depth smoothness at unseen poses and sample-space annealing."""
    return Recipe(
        "fewview",
        "nerfreg",
        keypoint_terms={"depth_kl": (DepthKL(), 0.1)},
        patch_terms={"depth_smoothness": (DepthSmoothness(), LogLinear(1.0, 0.01, n_steps))},
        coarse_weights={"depth_kl": 0.01, "depth_smoothness": 0.01},
        annealing=SampleSpaceAnnealing(n_steps // 4, 0.5, 0.5),
        keypoint_share=0.25,
        unseen_share=0.5,
        coordinates="metric",
    )
