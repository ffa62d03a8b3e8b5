"""Semantic consistency."""

from typing import Any

import numpy as np

from nerfreg.arrays import namespace
from nerfreg.losses import SemanticConsistency, semantic_consistency
from tests.laws.catalogue import Regularizer


def embed(images: Any) -> Any:
    """Embed as the colours of two pixels: linear, and written for every array library."""
    return namespace(images).concat([images[:, 0, 0, :], images[:, 1, 2, :]], axis=-1)


def draw(rng: np.random.Generator, n: int) -> dict[str, np.ndarray]:
    return {"rgb": rng.uniform(0.1, 1.0, (n, 2, 3, 3)), "target": rng.normal(size=(n, 6))}


REGULARIZER = Regularizer(
    semantic_consistency,
    SemanticConsistency,
    draw,
    options=({"embed": embed},),
    detached=("target",),
    scaling=(("rgb", "target"), 0.0),
    zero={"rgb": np.full((1, 2, 3, 3), 0.5), "target": np.full((1, 6), 3.0)},
    law_options={"embed": embed},
    targets=("rgb", "target"),
)
