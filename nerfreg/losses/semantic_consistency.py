"""Semantic consistency of unseen views with the photographs (DietNeRF)."""

from collections.abc import Callable
from typing import Any

from jaxtyping import Bool, Float
from torch import nn

from nerfreg.arrays import Array, at_least_float32, detach, is_array, is_floating, namespace
from nerfreg.checks import require_finite, require_floating, require_mask, require_one_device
from nerfreg.losses.reduction import Reduction, fill_invalid, reduce
from nerfreg.vectors import safe_unit

__all__ = ["SemanticConsistency", "semantic_consistency"]


def semantic_consistency(
    rgb: Float[Array, "images height width 3"],
    target: Float[Array, "images features"],
    *,
    embed: Callable[[Any], Any],
    valid: Bool[Array, " images"] | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    r"""Pull what rendered images show towards what the photographs show.

    .. math:: \tfrac12\Big\|\frac{\phi(\mathrm{rgb})}{\|\phi(\mathrm{rgb})\|}
        - \frac{\mathrm{target}}{\|\mathrm{target}\|}\Big\|^2
        = 1 - \cos\angle\big(\phi(\mathrm{rgb}),\,\mathrm{target}\big)

    with φ the embedder.

    Args:
        rgb: images rendered from poses without a photograph, in [0, 1]. They may be small: the
            embedder resizes.
        target: embedding of a photograph for each image, detached. Embed each photograph once,
            before training: ``target = embed(photos)`` under ``torch.no_grad()``; then draw.
        embed: φ, from images (B, H, W, 3) to embeddings (B, D), differentiable: for example
            :class:`nerfreg.integrations.open_clip.OpenClipEmbedder`. It receives float32 or better.
        valid: which images count. Others may hold anything, NaN included; ``embed`` gets them
            black.
        reduction: over valid images.

    Returns:
        One value an image, or its reduction: in [0, 2], without unit, with 0 exactly where both
        embeddings have one direction.

    Raises:
        TypeError: ``rgb`` or ``target`` is not a floating-point array; ``embed`` is not callable,
            or does not return one.
        ValueError: ``rgb`` is not (B, H, W, 3) or ``target`` not (B, D); ``embed`` returns another
            shape than ``target``'s; ``valid`` is not one an image; ``reduction`` is unknown;
            while values are checked, a valid input is not finite.

    Numerics: float32 or better, but for what ``embed`` does. Computed as half a squared difference,
    which is precise, and not below 0, near 0. An embedding without a component beyond 1e-20 has no
    direction: it counts 1/2 and receives no gradient.

    Source: Jain et al. 2021 (DietNeRF), the semantic consistency loss of unit embeddings. *Differs
    from upstream in:* the value of their code is −cos: 1 less, with the same gradient.

    Example:
        >>> import torch
        >>> def embed(images):  # what colour is it? A stand-in for CLIP
        ...     return images.mean((1, 2))
        >>> red, green = torch.eye(3)[:2, None, None].expand(2, 4, 4, 3)
        >>> target = embed(torch.stack([red, red]))
        >>> semantic_consistency(torch.stack([red, green]), target, embed=embed, reduction="none")
        tensor([0., 1.])
    """
    name = "semantic_consistency"
    if not callable(embed):
        raise TypeError(f"{name}: embed must be callable, got {type(embed).__name__}")
    require_floating(name, rgb=rgb, target=target)
    if len(rgb.shape) != 4 or rgb.shape[-1] != 3:
        raise ValueError(f"{name}: rgb must be (B, H, W, 3), channels last, got {tuple(rgb.shape)}")
    if len(target.shape) != 2 or target.shape[0] != rgb.shape[0]:
        raise ValueError(
            f"{name}: target must be (B, D), an embedding for each of {rgb.shape[0]} images"
            f" (embed photographs first), got {tuple(target.shape)}"
        )
    require_one_device(name, rgb=rgb, target=target)
    require_mask(name, rgb.shape[:1], valid, rgb)
    require_finite(name, valid, rgb=rgb, target=target)
    if valid is not None:
        rgb = fill_invalid(rgb, valid[:, None, None, None], 0.0)
        target = fill_invalid(target, valid[:, None], 0.0)
    rgb, target = at_least_float32(rgb, detach(target))
    embedding = embed(rgb)
    if not is_array(embedding) or not is_floating(embedding):
        kind = getattr(embedding, "dtype", type(embedding).__name__)
        raise TypeError(f"{name}: embed must return a floating-point array, got {kind}")
    if tuple(embedding.shape) != tuple(target.shape):
        raise ValueError(
            f"{name}: embed must return what target holds, {tuple(target.shape)},"
            f" got {tuple(embedding.shape)}"
        )
    (embedding,) = at_least_float32(embedding)
    xp = namespace(embedding, target)
    apart = 0.5 * xp.sum((safe_unit(embedding) - safe_unit(target)) ** 2, axis=-1)
    return reduce(apart, reduction, valid, function=name)


class SemanticConsistency(nn.Module):
    """Pull what rendered images show towards what photos show: :func:`semantic_consistency`.

    Args:
        embed: from images (B, H, W, 3) to embeddings (B, D). If it is a module, it is one of this
            module's children: it moves along, and is saved along.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Example:
        >>> import torch
        >>> loss = SemanticConsistency(embed=lambda images: images.mean((1, 2)))
        >>> photos = torch.rand(2, 8, 8, 3)
        >>> loss(photos, loss.embed(photos)).item()
        0.0
    """

    def __init__(self, *, embed: Callable[[Any], Any], reduction: Reduction = "mean") -> None:
        super().__init__()
        self.embed = embed
        self.reduction: Reduction = reduction

    def forward(
        self,
        rgb: Float[Array, "images height width 3"],
        target: Float[Array, "images features"],
        *,
        valid: Bool[Array, " images"] | None = None,
    ) -> Float[Array, "..."]:
        """Compute the loss."""
        return semantic_consistency(
            rgb, target, embed=self.embed, valid=valid, reduction=self.reduction
        )

    def extra_repr(self) -> str:
        """Show the options; an embedder that is a module shows itself, below."""
        shown = "" if isinstance(self.embed, nn.Module) else f"embed={self.embed!r}, "
        return f"{shown}reduction={self.reduction!r}"
