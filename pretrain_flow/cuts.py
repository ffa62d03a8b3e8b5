"""Patches from one photograph: made smaller by a random factor, cut at random places."""

import math

import numpy as np
from PIL import Image

from pretrain_flow.photographs import UnusableError


def reduced(
    photograph: np.ndarray,
    n: int,
    factors: tuple[float, float],
    rng: np.random.Generator,
    size: int,
) -> list[np.ndarray]:
    """A photograph at ``n`` random sizes, each pixel the mean of the area that it covers.

    The factors are uniform in their logarithm, one in each of ``n`` equal parts of the range. None
    makes a side smaller than ``size``, a patch's.

    Raises:
        UnusableError: the photograph is smaller than a patch.
    """
    height, width = photograph.shape[:2]
    if min(height, width) < size:
        raise UnusableError(f"{width}x{height} pixels, smaller than a patch of {size}x{size}")
    low, high = map(math.log, factors)
    drawn = np.exp(low + (high - low) * (np.arange(n) + rng.random(n)) / n)
    image, copies = Image.fromarray(photograph), list[np.ndarray]()
    for factor in drawn.clip(max=min(height, width) / size):
        target = (max(round(width / factor), size), max(round(height / factor), size))
        same = target == image.size
        copies.append(photograph if same else np.array(image.resize(target, Image.Resampling.BOX)))
    return copies


def cut(
    photograph: np.ndarray, n: int, size: int, rng: np.random.Generator, *, flip: bool
) -> np.ndarray:
    """Patches (n, size, size, 3) at random offsets, half of them mirrored if ``flip``."""
    height, width = photograph.shape[:2]
    top = rng.integers(0, height - size + 1, n)
    left = rng.integers(0, width - size + 1, n)
    windows = np.lib.stride_tricks.sliding_window_view(photograph, (size, size), (0, 1))
    patches = np.moveaxis(windows[top, left], 1, -1)
    if flip:
        mirrored = rng.random(n) < 0.5
        patches[mirrored] = patches[mirrored, :, ::-1]
    return np.ascontiguousarray(patches)


def cut_at_sizes(
    photograph: np.ndarray,
    n: int,
    factors: tuple[float, float],
    rng: np.random.Generator,
    size: int,
    *,
    flip: bool = False,
    n_sizes: int = 4,
) -> np.ndarray:
    """Patches (n, size, size, 3), as equally as can be from each of ``n_sizes`` random sizes."""
    n_sizes = min(n_sizes, n)
    copies = reduced(photograph, n_sizes, factors, rng, size)
    counts = [n // n_sizes + (i < n % n_sizes) for i in range(n_sizes)]
    return np.concatenate(
        [cut(copy, m, size, rng, flip=flip) for copy, m in zip(copies, counts, strict=True)]
    )
