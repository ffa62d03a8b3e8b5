"""DietNeRF: a scene looks like itself from everywhere."""

from typing import Any

from nerfreg.losses import SemanticConsistency
from nerfreg.recipes.recipe import Recipe

__all__ = ["dietnerf"]


def dietnerf(*, forward_facing: bool, n_views: int, n_steps: int, embed: Any = None) -> Recipe:
    """Images from unseen poses shall mean what the photographs mean to an image embedder.

    Args:
        forward_facing: makes no difference.
        n_views: makes no difference.
        n_steps: makes no difference.
        embed: function or module from images (B, H, W, 3) in [0, 1] to embeddings (B, D), such as
            :class:`nerfreg.integrations.open_clip.OpenClipEmbedder`.

    Raises:
        ValueError: ``embed`` is missing.

    Source: Jain et al., DietNeRF, ICCV 2021; released configurations: weight 0.1 on the fine and
    the coarse level, every 10 steps, beside a colour loss that is a mean over RGB, so 0.3 beside a
    sum; CLIP ViT-B/32; NeRF's encoding, no NDC.
    *Differs from upstream in:* images are 32 pixels wide, a size for small machines (theirs are
    strided grids of the full view), and come from around the training views.
    """
    del forward_facing, n_views, n_steps
    if embed is None:
        raise ValueError("dietnerf: needs embed, a function from images to embeddings")
    return Recipe(
        "dietnerf",
        "Jain et al., DietNeRF, ICCV 2021 (released configurations)",
        image_terms={"semantic_consistency": (SemanticConsistency(embed=embed), 0.3)},
        coarse_weights={"semantic_consistency": 0.3},
        image_size=32,
        image_every=10,
        coordinates="metric",
        encoding="positional",
    )
