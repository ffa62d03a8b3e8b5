"""What works best together: nerfreg's own recipe."""

from nerfreg.losses import DepthKL, DepthSmoothness, Occlusion
from nerfreg.recipes.recipe import Recipe, Term
from nerfreg.schedules import FrequencyMask, LogLinear

__all__ = ["fewview"]


def fewview(*, forward_facing: bool, n_views: int, n_steps: int) -> Recipe:
    """Keypoint depth, coarse shapes before fine ones, and no density in front of the cameras.

    Where a scene has no keypoints the rest acts alone. Keypoints, and smoothness where it acts,
    shape the geometry while there is little of it and then leave the last word to the photographs:
    kept at full weight to the end they cost sharpness.

    Args:
        forward_facing: NDC, LLFF's range of the occlusion term (20 of 128 samples) and smooth depth
            at unseen poses. Other scenes: DTU's range, 10, and no smoothness, which beside the
            frequency mask made most of them worse.
        n_views: the mask opens over 1.8 / n_views of the steps, at most 60 %: 60 with 3 views, 30
            with 6, 20 with 9.
        n_steps: of the training; every schedule is a share of it.

    Source: ours. The pieces are DS-NeRF's (with a true divergence and each keypoint's own standard
    deviation), FreeNeRF's (positions and directions, the position itself from the first step) and
    RegNeRF's; the numbers were chosen at small size, see docs/results.md.
    """
    patch_terms = dict[str, Term]()
    coarse_weights = {"depth_kl": LogLinear(0.01, 0.0003, n_steps)}
    if forward_facing:
        patch_terms["depth_smoothness"] = DepthSmoothness(), LogLinear(0.1, 0.001, n_steps)
        coarse_weights["depth_smoothness"] = LogLinear(0.01, 0.0001, n_steps)
    return Recipe(
        "fewview",
        "nerfreg; pieces of DS-NeRF (CVPR 2022), FreeNeRF (CVPR 2023) and RegNeRF",
        ray_terms={"occlusion": (Occlusion(distance=(20 if forward_facing else 10) / 128), 0.01)},
        keypoint_terms={"depth_kl": (DepthKL(), LogLinear(0.1, 0.003, n_steps))},
        patch_terms=patch_terms,
        coarse_weights=coarse_weights,
        frequency_mask=FrequencyMask(round(1.8 / max(n_views, 3) * n_steps), start=0.0),
        mask_directions=True,
        append_position=True,
        keypoint_share=0.25,
        unseen_share=0.25 if forward_facing else 0.0,
        coordinates="ndc",
    )
