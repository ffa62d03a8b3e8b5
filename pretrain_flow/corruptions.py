"""What is not natural: patches spoiled in ways that a prior of natural colours should notice.

Each takes patches (n, P, P, 3) uint8 and a generator on their device, and returns patches alike.
"""

from collections.abc import Callable

import torch
from torch import Tensor

Corruption = Callable[[Tensor, torch.Generator], Tensor]


def shuffled_pixels(levels: Tensor, rng: torch.Generator) -> Tensor:
    """The same colours, each patch's pixels in random order."""
    n, height, width, _ = levels.shape
    key = torch.rand(n, height * width, generator=rng, device=levels.device)
    order = key.argsort(1)[..., None].expand(-1, -1, 3)
    return levels.flatten(1, 2).gather(1, order).reshape(levels.shape)


def uniform_noise(levels: Tensor, rng: torch.Generator) -> Tensor:
    """Every value drawn anew, all equally likely."""
    return torch.randint(
        0, 256, levels.shape, generator=rng, device=levels.device, dtype=torch.uint8
    )


def heavy_noise(levels: Tensor, rng: torch.Generator) -> Tensor:
    """Gaussian noise of 50 levels on top."""
    noise = torch.randn(levels.shape, generator=rng, device=levels.device)
    return _rounded(levels + 50 * noise)


def hue_inverted_noise(levels: Tensor, rng: torch.Generator) -> Tensor:
    """Colours turned into their opposites at random pixels, under noise of the colour alone.

    A pixel's grey, the mean of its channels, stays; the noise has 25 levels a channel.
    """
    grey = levels.float().mean(-1, keepdim=True)
    flips = torch.randint(0, 2, grey.shape, generator=rng, device=levels.device) * 2 - 1
    noise = 25 * torch.randn(levels.shape, generator=rng, device=levels.device)
    return _rounded(grey + flips * (levels - grey) + noise - noise.mean(-1, keepdim=True))


def chequerboard(levels: Tensor, rng: torch.Generator) -> Tensor:
    """Neighbouring pixels brighter and darker in turn, by 32 levels."""
    _, height, width, _ = levels.shape
    row = torch.arange(height, device=levels.device)[:, None]
    sign = (row + torch.arange(width, device=levels.device)) % 2 * 2 - 1
    return _rounded(levels + 32.0 * sign[..., None])


def blurred(levels: Tensor, rng: torch.Generator) -> Tensor:
    """Each pixel the mean of the 3x3 around it."""
    images = levels.float().movedim(-1, 1)
    padded = torch.nn.functional.pad(images, (1, 1, 1, 1), mode="replicate")
    return _rounded(torch.nn.functional.avg_pool2d(padded, 3, 1).movedim(1, -1))


def constant(levels: Tensor, rng: torch.Generator) -> Tensor:
    """Each patch's mean colour everywhere."""
    return _rounded(levels.float().mean((1, 2), keepdim=True).expand(levels.shape))


def _rounded(values: Tensor) -> Tensor:
    return values.round().clamp(0, 255).to(torch.uint8)


UNNATURAL: dict[str, Corruption] = {
    "shuffled pixels": shuffled_pixels,
    "uniform noise": uniform_noise,
    "heavy noise": heavy_noise,
    "hue-inverted noise": hue_inverted_noise,
    "chequerboard": chequerboard,
}
"""What should score worse than natural patches."""

MISLEADING: dict[str, Corruption] = {"blurred": blurred, "constant": constant}
"""What a likelihood rewards although nobody would take it for a photograph: smooth is probable."""
