"""What works best together: nerfreg's own recipe."""

from nerfreg.losses import DepthKL, DepthSmoothness
from nerfreg.recipes.recipe import Recipe
from nerfreg.schedules import FrequencyMask, LogLinear, SampleSpaceAnnealing

__all__ = ["fewview"]


def fewview(*, forward_facing: bool, n_views: int, n_steps: int) -> Recipe:
    """Keypoint depth, smoothness at unseen poses, annealing or a frequency mask, all fading out.

    Regularizers shape the geometry while there is little of it and then leave the last word to the
    photographs: kept at full weight to the end they cost sharpness.

    Args:
        forward_facing: NDC, whose samples follow disparity, and a frequency mask, as texture alone
            tells depth there; no annealing, which would shut out a near subject. Other scenes are
            annealed and see all frequencies from the first step.
        n_views: makes no difference yet.
        n_steps: of the training; every schedule is a share of it.

    Source: ours. The pieces are DS-NeRF's (with a true divergence and each keypoint's own standard
    deviation), RegNeRF's and FreeNeRF's; the numbers were chosen at small size, see
    docs/results.md.
    """
    del n_views
    return Recipe(
        "fewview",
        "nerfreg; pieces of RegNeRF, DS-NeRF (CVPR 2022) and FreeNeRF (CVPR 2023)",
        keypoint_terms={"depth_kl": (DepthKL(), LogLinear(0.1, 0.003, n_steps))},
        patch_terms={"depth_smoothness": (DepthSmoothness(), LogLinear(0.1, 0.001, n_steps))},
        coarse_weights={
            "depth_kl": LogLinear(0.01, 0.0003, n_steps),
            "depth_smoothness": LogLinear(0.01, 0.0001, n_steps),
        },
        annealing=None
        if forward_facing
        else SampleSpaceAnnealing(n_steps // 2, 0.5, 0.5, form="released"),
        frequency_mask=FrequencyMask(round(0.6 * n_steps)) if forward_facing else None,
        keypoint_share=0.25,
        unseen_share=0.25,
        coordinates="ndc",
    )
