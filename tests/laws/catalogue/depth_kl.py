"""Depth KL."""

import numpy as np

from nerfreg.losses import DepthKL, depth_kl
from tests.laws.catalogue import Regularizer, intervals


def draw(rng: np.random.Generator, n: int) -> dict[str, np.ndarray]:
    rays = intervals(rng, n)
    depth = rays["starts"][:, 2] + rng.uniform(0.0, 2.0, n)
    return {**rays, "depth": depth, "std": rng.uniform(0.1, 1.0, n)}


REGULARIZER = Regularizer(
    depth_kl,
    DepthKL,
    draw,
    options=(
        {},
        {"eps": 1e-3},
        {"form": "dsnerf"},
        {"form": "dsnerf", "bound_last": False},
    ),
    per_sample=("weights", "starts", "ends"),
    scaling=(("starts", "ends", "depth", "std"), 0.0),
    shifting=("starts", "ends", "depth"),
    zero={
        "weights": np.array([[0.0, 1.0, 0.0]]),
        "starts": np.array([[1.0, 2.0, 3.0]]),
        "ends": np.array([[2.0, 3.0, 4.0]]),
        "depth": np.array([2.5]),
        "std": np.array([1e-3]),
    },
)
