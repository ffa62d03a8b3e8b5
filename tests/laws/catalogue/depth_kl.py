"""Depth KL."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nerfreg.losses import DepthKL, depth_kl
from tests.laws.catalogue import Regularizer, intervals


def but_behind(options: Mapping[str, Any], n_samples: int) -> Sequence[int]:
    """``bound_last`` knows the last interval, which one behind it would no longer be."""
    published = options.get("form") == "dsnerf" and options.get("bound_last", True)
    return range(n_samples if published else n_samples + 1)


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
    padding=but_behind,
    domain={"weights": (0.0, 1e36)} | dict.fromkeys(("starts", "ends", "depth"), (0.0, 1e30)),
    targets=("depth", "std"),
)
