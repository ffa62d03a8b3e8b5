"""All photographs in memory, as one row of pixels that patches are gathered from."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class PatchBank:
    """Photographs, each at the same number of random sizes.

    Attributes:
        pixels: (N, 3) uint8, the rows of every copy of every photograph.
        start: (photographs, sizes) int64, the index of each copy's first pixel.
        height: (photographs, sizes) int64.
        width: (photographs, sizes) int64.
    """

    pixels: Tensor
    start: Tensor
    height: Tensor
    width: Tensor

    @classmethod
    def of(cls, photographs: list[list[np.ndarray]], device: torch.device | str) -> "PatchBank":
        """Lay photographs, each a list of its copies, out in a row."""
        shapes = torch.tensor([[copy.shape[:2] for copy in copies] for copies in photographs])
        n_pixels = shapes.prod(-1)
        start = n_pixels.flatten().cumsum(0).reshape(n_pixels.shape) - n_pixels
        flat = [copy.reshape(-1, 3) for copies in photographs for copy in copies]
        pixels = torch.from_numpy(np.concatenate(flat))
        return cls(*(t.to(device) for t in (pixels, start, shapes[..., 0], shapes[..., 1])))

    def draw(self, n: int, size: int, generator: torch.Generator) -> Tensor:
        """Draw patches (n, size, size, 3), uint8.

        A photograph counts the same whatever its size. Offsets are uniform, so JPEG's grid of
        8 pixels is met as often as any other offset; half of the patches are mirrored.
        """
        device = self.pixels.device

        def below(bound: Tensor | int) -> Tensor:
            uniform = torch.rand(n, generator=generator, device=device, dtype=torch.float64)
            return (uniform * bound).long()

        photograph, copy = below(self.start.shape[0]), below(self.start.shape[1])
        width = self.width[photograph, copy]
        top = below(self.height[photograph, copy] - size + 1)
        left = below(width - size + 1)
        step = torch.arange(size, device=device)
        columns = torch.where(below(2)[:, None] == 1, step.flip(0), step)
        rows = self.start[photograph, copy][:, None] + (top[:, None] + step) * width[:, None]
        index = rows[:, :, None] + (left[:, None] + columns)[:, None, :]
        return self.pixels[index.flatten()].reshape(n, size, size, 3)


def bytes_needed(width: int, height: int, sizes: int, factors: tuple[float, float]) -> float:
    """Bytes that a photograph's copies take, on average over the random factors."""
    low, high = factors
    # The mean of 1/f² for f uniform in its logarithm between low and high.
    mean = 1 / low**2 if low == high else (low**-2 - high**-2) / (2 * math.log(high / low))
    return 3 * width * height * sizes * mean
