"""FreeNeRF: frequencies one after the other, and no density in front of the cameras."""

from nerfreg.losses import Occlusion
from nerfreg.recipes.recipe import Recipe
from nerfreg.schedules import FrequencyMask

__all__ = ["freenerf"]


def freenerf(*, forward_facing: bool, n_views: int, n_steps: int) -> Recipe:
    """A frequency mask on positions and directions, and a penalty on density near the cameras.

    Args:
        forward_facing: LLFF's range of the occlusion term, 20 of 128 samples, or DTU's, 10.
        n_views: the mask opens over 90, 70 or 50 % of the steps for 3, 6 or 9 views.
        n_steps: of the training.

    Source: Yang et al., FreeNeRF, CVPR 2023; released configurations: weight 0.01; the position
    itself is visible from the first step, octaves follow.
    *Differs from upstream in:* frequencies truly appear from low to high (the released mask shows
    all sines before any cosine); "the first 20 of 128 samples" is the nearest 20/128 of the sampled
    range, which is the same where samples are even and does not depend on their number; DTU's
    prior on black and white backgrounds, which belongs to that data set, is left out.
    """
    share = 0.9 if n_views < 6 else 0.7 if n_views < 9 else 0.5
    reach = (20 if forward_facing else 10) / 128
    return Recipe(
        "freenerf",
        "Yang et al., FreeNeRF, CVPR 2023 (released configurations)",
        ray_terms={"occlusion": (Occlusion(distance=reach), 0.01)},
        frequency_mask=FrequencyMask(round(share * n_steps), start=0.0),
        mask_directions=True,
        append_position=True,
    )
