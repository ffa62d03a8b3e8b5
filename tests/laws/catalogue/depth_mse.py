"""Depth MSE."""

import numpy as np

from nerfreg.losses import DepthMSE, depth_mse
from tests.laws.catalogue import Regularizer


def draw(rng: np.random.Generator, n: int) -> dict[str, np.ndarray]:
    depth = rng.uniform(1.0, 5.0, n)
    return {
        "rendered": depth + rng.normal(0.0, 0.5, n),
        "depth": depth,
        "weight": rng.uniform(0.1, 2.0, n),
    }


REGULARIZER = Regularizer(
    depth_mse,
    DepthMSE,
    draw,
    options=({}, {"relative": True}),
    scaling=(("rendered", "depth"), 2.0),
    shifting=("rendered", "depth"),
    zero={"rendered": np.array([2.0]), "depth": np.array([2.0])},
)
