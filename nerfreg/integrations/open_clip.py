"""CLIP's image embedding, through open_clip, for semantic consistency (DietNeRF)."""

import importlib
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from nerfreg.checks import require_floating

__all__ = ["OpenClipEmbedder"]


class OpenClipEmbedder(nn.Module):
    """Embed images as CLIP sees them: the ``embed`` of :class:`nerfreg.losses.SemanticConsistency`.

    Images are brought to the model's input size by antialiased bicubic interpolation, each axis by
    its own factor (nothing is cut off), and normalised by the model's mean and standard deviation.
    The gradient flows to the images; the weights are frozen, and the model stays in evaluation mode
    whatever mode its parent takes.

    Args:
        model: name of an open_clip architecture, or what open_clip makes of ``"local-dir:…"`` and
            ``"hf-hub:…"``.
        pretrained: name of its weights, which open_clip downloads once; or the path of a
            checkpoint; or ``None`` for random weights, which mean nothing. OpenAI's weights need
            QuickGELU: ``"openai"`` switches it on; with a path to them, name a ``…-quickgelu``
            model.

    Raises:
        ImportError: open_clip is not installed.
        ValueError: open_clip cannot make this model with these weights.

    Source: Jain et al. 2021 (DietNeRF): CLIP ViT-B/32's image embedding of 224×224 pixels.

    Example:
        >>> from nerfreg.losses import SemanticConsistency
        >>> embed = OpenClipEmbedder()  # doctest: +SKIP
        >>> with torch.no_grad():  # doctest: +SKIP
        ...     targets = embed(photos)  # (n, 512), once
        >>> loss = SemanticConsistency(embed=embed)  # doctest: +SKIP
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: str = "ViT-B-32", pretrained: str | Path | None = "openai") -> None:
        super().__init__()
        open_clip = _open_clip()
        try:
            clip, _, _ = open_clip.create_model_and_transforms(
                model,
                pretrained=None if pretrained is None else str(pretrained),
                force_quick_gelu=pretrained == "openai",
            )
        except RuntimeError as error:
            raise ValueError(
                f"OpenClipEmbedder: open_clip cannot make model {model!r} with weights"
                f" {str(pretrained)!r}: {error}"
            ) from error
        self.clip: Any = clip.requires_grad_(False)
        self.size = _height_and_width(clip.visual.image_size)
        for name, numbers in (("mean", clip.visual.image_mean), ("std", clip.visual.image_std)):
            self.register_buffer(name, torch.tensor(numbers)[:, None, None], persistent=False)
        self.train(False)

    def train(self, mode: bool = True) -> "OpenClipEmbedder":
        """Stay in evaluation mode: dropout would make an image differ from itself."""
        del mode
        return super().train(False)

    def forward(self, rgb: Float[Tensor, "images height width 3"]) -> Float[Tensor, "images d"]:
        """Embed images in [0, 1]; the embeddings are not normalised.

        Raises:
            TypeError: ``rgb`` is not a floating-point tensor.
            ValueError: ``rgb`` is not (B, H, W, 3).
        """
        require_floating("OpenClipEmbedder", rgb=rgb)
        if rgb.ndim != 4 or rgb.shape[-1] != 3:
            raise ValueError(
                f"OpenClipEmbedder: rgb must be (B, H, W, 3), channels last, got {tuple(rgb.shape)}"
            )
        x = rgb.movedim(-1, 1).to(self.mean.dtype)
        x = F.interpolate(x, self.size, mode="bicubic", antialias=True)
        return self.clip.encode_image((x - self.mean) / self.std)


def _open_clip() -> Any:
    try:
        return importlib.import_module("open_clip")
    except ImportError as error:
        raise ImportError(
            "OpenClipEmbedder needs open_clip: pip install 'nerfreg[clip]'"
        ) from error


def _height_and_width(size: int | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size[0], size[1])
