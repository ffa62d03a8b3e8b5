"""RegNeRF: smooth depth, natural colour, and sample-space annealing."""

from dataclasses import replace
from typing import Literal

from nerfreg.losses import DepthSmoothness, FlowColorPrior
from nerfreg.recipes.recipe import Recipe, Term
from nerfreg.schedules import Linear, LogLinear, SampleSpaceAnnealing

__all__ = ["regnerf"]

# Half of the shortest published training (DTU with 3 views: 43,945 steps of 4096 rays). Below it,
# and with fewer rays a step, the field is still empty when the published weight of 400 acts.
SHORT_RUN = 22_000
COLOR_WEIGHT = 1e-3


def regnerf(
    *,
    forward_facing: bool,
    n_views: int,
    n_steps: int,
    color_prior: bool = True,
    released: bool = False,
    coordinates: Literal["ndc", "metric"] = "ndc",
) -> Recipe:
    """Depth smoothness and a colour prior on 8x8 patches from unseen poses, and annealing.

    Args:
        forward_facing: NDC scene (LLFF's preset of the annealing) or not (DTU's).
        n_views: number of training views; the annealing is off from 9 on, as released.
        n_steps: of the training. A run of fewer than 22,000 steps gets schedules of its own: the
            weight starts where the published one ends, at 0.1, and falls to 0.01, and the annealing
            takes 80 % of the run, but 10 % in NDC, where it begins at infinity and shuts out the
            subject. The published start, 400, flattens a field that has had no time to learn onto
            the near plane. The coarse level's weight is then 0.01, and there are half as many patch
            rays as training rays.
        color_prior: with the flow that nerfreg ships, at weight 1e-3 after a warm-up over a quarter
            of the steps (docs/results.md); ``False``: geometry alone.
        released: the terms that the release has: no colour prior, and on forward-facing scenes no
            smoothness either, so that the annealing alone is left. Schedules of short runs, and
            poses drawn anew, stay ours.
        coordinates: of forward-facing scenes; ``"metric"`` smooths depth itself instead of NDC's,
            and anneals as on other scenes.

    Source: Niemeyer et al., RegNeRF, CVPR 2022; numbers from its released configurations: weight
    400 -> 0.1 over 512 steps, coarse level 0.1, opacity-weighted, one 8x8 patch's ray per training
    ray. The schedules of short runs are ours, measured on the embedded scene and on validation
    views of fern.
    *Differs from upstream in:* the released LLFF configurations multiply this term by zero and draw
    one single unseen pose; here the term acts and poses are drawn anew each step. The colour prior
    was never released, with no weight either: flow, weight and warm-up are ours.
    """
    ndc = forward_facing and coordinates == "ndc"
    annealing = SampleSpaceAnnealing.llff() if ndc else SampleSpaceAnnealing.dtu()
    weight, coarse, share = Linear(400.0, 0.1, 512), 0.1, 1.0
    if n_steps < SHORT_RUN:
        annealing = replace(annealing, n_steps=round((0.1 if ndc else 0.8) * n_steps))
        weight, coarse, share = LogLinear(0.1, 0.01, n_steps), 0.01, 0.5
    patch_terms = dict[str, Term]()
    if not (released and forward_facing):
        patch_terms["depth_smoothness"] = (DepthSmoothness(), weight)
    if color_prior and not released:
        # Warming up: the first patches are noise, of which no photograph could tell anything.
        warm = Linear(0.0, COLOR_WEIGHT, max(n_steps // 4, 1))
        patch_terms["color_prior"] = (FlowColorPrior.from_pretrained(), warm)
    kind = "-released" * released + "-metric" * (coordinates == "metric")
    return Recipe(
        f"regnerf{kind}",
        "Niemeyer et al., RegNeRF, CVPR 2022 (released configurations); colour prior: nerfreg",
        patch_terms=patch_terms,
        coarse_weights={"depth_smoothness": coarse} if "depth_smoothness" in patch_terms else {},
        annealing=annealing if n_views < 9 else None,
        unseen_share=share if patch_terms else 0.0,
        coordinates=coordinates,
    )
