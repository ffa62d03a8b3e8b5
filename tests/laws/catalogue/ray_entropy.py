"""Ray entropy."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nerfreg.losses import RayEntropy, ray_entropy
from tests.laws.catalogue import Regularizer


def draw(rng: np.random.Generator, n: int) -> dict[str, np.ndarray]:
    return {"weights": rng.uniform(0.05, 1.0, (n, 7)), "opacity": rng.uniform(0.15, 1.0, n)}


def nowhere(options: Mapping[str, Any], n_samples: int) -> Sequence[int]:
    """There are no intervals."""
    return ()


REGULARIZER = Regularizer(
    ray_entropy,
    RayEntropy,
    draw,
    options=({}, {"threshold": 0.5}, {"base": math.e}),
    per_sample=("weights",),
    detached=("opacity",),
    scaling=(("weights",), 0.0),
    padding=nowhere,
    zero={"weights": np.array([[0.0, 0.7, 0.0]]), "opacity": np.array([0.7])},
)
