"""Photographs that tests write themselves: smooth colours with some texture, no two alike."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pretrain_flow.draws import numpy_rng


def photograph(name: str, width: int = 48, height: int = 40) -> np.ndarray:
    rng = numpy_rng(name)
    coarse = Image.fromarray(rng.integers(0, 256, (4, 5, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.float64)
    return (smooth + rng.normal(0, 3, (height, width, 1))).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def photographs(tmp_path_factory) -> Callable[..., Path]:
    """A function that fills a new folder with photographs and returns it."""

    def write(*names: str, width: int = 48, height: int = 40) -> Path:
        folder = tmp_path_factory.mktemp("photographs")
        for name in names:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(photograph(name, width, height)).save(path)
        return folder

    return write


@pytest.fixture(scope="session")
def folder(photographs) -> Path:
    """Eight of them."""
    return photographs(*(f"{i}.png" for i in range(6)), "deep/6.jpg", "deep/er/7.webp")
