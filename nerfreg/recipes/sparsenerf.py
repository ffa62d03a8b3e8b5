"""SparseNeRF: the order of depths that a monocular network sees."""

from dataclasses import replace

from nerfreg.losses import DepthContinuity, DepthRanking
from nerfreg.recipes.recipe import Recipe
from nerfreg.recipes.regnerf import regnerf

__all__ = ["sparsenerf"]


def sparsenerf(*, forward_facing: bool, n_views: int, n_steps: int) -> Recipe:
    """Depths in the order of a given depth map, continuous where the map is; RegNeRF beside it.

    Args:
        forward_facing: LLFF's weights, 0.5 ranking and 0.005 continuity, or DTU's, 0.2 each.
        n_views: as :func:`~nerfreg.recipes.regnerf`.
        n_steps: as :func:`~nerfreg.recipes.regnerf`.

    Source: Wang et al., SparseNeRF, ICCV 2023; released configurations; margins 1e-4.
    *Differs from upstream in:* pairs lie up to 8 pixels apart and are drawn among the colour rays,
    half of them; a pair is continuous where the map's depths, from 1 to 2, differ by at most 1 % of
    the larger (upstream: nearest neighbours in the map's depth).
    """
    rank, continuity = (0.5, 0.005) if forward_facing else (0.2, 0.2)
    base = regnerf(
        forward_facing=forward_facing, n_views=n_views, n_steps=n_steps, color_prior=False
    )
    return replace(
        base,
        name="sparsenerf",
        source="Wang et al., SparseNeRF, ICCV 2023 (released configurations); on RegNeRF's",
        pair_terms={
            "depth_ranking": (DepthRanking(), rank),
            "depth_continuity": (DepthContinuity(tolerance=0.01), continuity),
        },
        pair_share=0.5,
        pair_reach=8,
    )
