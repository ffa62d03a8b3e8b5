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


def draw_std(rng: np.random.Generator, n: int) -> dict[str, np.ndarray]:
    return {**draw(rng, n), "std": rng.uniform(0.1, 1.0, n)}


REGULARIZER = Regularizer(
    depth_mse,
    DepthMSE,
    draw,
    options=(
        {},
        {"relative": True},
        {"penalty": "huber", "threshold": 0.3},
        {"penalty": "capped", "threshold": 0.3},
    ),
    scaling=(("rendered", "depth"), 2.0),
    shifting=("rendered", "depth"),
    zero={"rendered": np.array([2.0]), "depth": np.array([2.0])},
    domain={"weight": (0.0, 1e20)},
    domain_float16={"rendered": (0.0, 1e3), "depth": (0.1, 1e3)},
    targets=("depth", "weight"),
)
VARIANTS = (
    Regularizer(
        depth_mse,
        DepthMSE,
        draw_std,
        variant="std",
        scaling=(("rendered", "depth", "std"), 0.0),
        shifting=("rendered", "depth"),
        zero={"rendered": np.array([2.0]), "depth": np.array([2.0]), "std": np.array([0.1])},
        domain={"weight": (0.0, 1e20)},
        domain_float16={
            "rendered": (0.0, 1e2),
            "depth": (0.0, 1e2),
            "std": (0.1, 1e5),
            "weight": (0.0, 1e3),
        },
        targets=("depth", "std", "weight"),
    ),
)
