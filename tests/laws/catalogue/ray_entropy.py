"""Ray entropy."""

import math

import numpy as np

from nerfreg.losses import RayEntropy, ray_entropy
from tests.laws.catalogue import Regularizer


def draw(rng: np.random.Generator, n: int) -> dict[str, np.ndarray]:
    return {"weights": rng.uniform(0.05, 1.0, (n, 7)), "opacity": rng.uniform(0.15, 1.0, n)}


REGULARIZER = Regularizer(
    ray_entropy,
    RayEntropy,
    draw,
    options=({}, {"threshold": 0.5}, {"base": math.e}),
    per_sample=("weights",),
    detached=("opacity",),
    scaling=(("weights",), 0.0),
    zero={"weights": np.array([[0.0, 0.7, 0.0]]), "opacity": np.array([0.7])},
)
