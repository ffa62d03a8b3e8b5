"""What recipe dietnerf compares images by: functions from images to features."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["RandomFeatures", "load_embedder"]


def load_embedder(name: str) -> Callable[[Tensor], Tensor]:
    """Load an embedder by what ``--embedder`` says.

    Args:
        name: ``"random"``, or an open_clip model: ``"MODEL"`` with its OpenAI weights, which are
            downloaded, or ``"MODEL:CHECKPOINT"`` with the name of other weights or a file.

    Raises:
        ImportError: open_clip is not installed.
        ValueError: open_clip does not know the model or its weights.
    """
    if name == "random":
        return RandomFeatures()
    from nerfreg.integrations.open_clip import OpenClipEmbedder

    model, _, checkpoint = name.partition(":")
    return OpenClipEmbedder(model, checkpoint or "openai")


class RandomFeatures(nn.Module):
    """Describe images by an untrained network: enough to see a recipe run, no semantics in it."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        for i, (n_in, n_out) in enumerate([(3, 32), (32, 64)]):
            weight = torch.randn(n_out, n_in, 3, 3, generator=generator) / (9 * n_in) ** 0.5
            self.register_buffer(f"weight{i}", weight)

    def forward(self, rgb: Tensor) -> Tensor:
        """Embed (B, H, W, 3) images in [0, 1] as (B, 1024) features."""
        x = F.adaptive_avg_pool2d(2.0 * rgb.movedim(-1, 1) - 1.0, 32)
        for weight in self.buffers():
            x = F.relu(F.conv2d(x, weight.to(x), stride=2))
        return F.adaptive_avg_pool2d(x, 4).flatten(1)
