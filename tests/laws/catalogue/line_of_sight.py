"""Line of sight."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nerfreg.losses import LineOfSight, line_of_sight
from tests.laws.catalogue import Regularizer, intervals


def draw(rng: np.random.Generator, n: int) -> dict[str, np.ndarray]:
    rays = intervals(rng, n)
    depth = rays["starts"][:, 2] + rng.uniform(0.0, 2.0, n)
    return {**rays, "depth": depth, "std": rng.uniform(0.1, 0.6, n)}


def anywhere_in_an_integral(options: Mapping[str, Any], n_samples: int) -> Sequence[int]:
    """The released sum takes samples, whatever their width."""
    return () if options.get("form") == "nerfstudio" else range(n_samples + 1)


# A ray that stops as its kernel says, on intervals of a hundredth of its std.
EDGES = np.linspace(-3.0, 3.0, 601)
MASS = np.exp(-0.5 * (0.5 * (EDGES[1:] + EDGES[:-1])) ** 2)

REGULARIZER = Regularizer(
    line_of_sight,
    LineOfSight,
    draw,
    options=(
        {},
        {"beyond": True},
        {"relative": True},
        {"form": "nerfstudio"},
        {"form": "nerfstudio", "beyond": True},
    ),
    per_sample=("weights", "starts", "ends"),
    scaling=(("starts", "ends", "depth", "std"), -1.0),
    shifting=("starts", "ends", "depth"),
    zero={
        "weights": (MASS / MASS.sum())[None],
        "starts": 500.0 + 100.0 * EDGES[None, :-1],
        "ends": 500.0 + 100.0 * EDGES[None, 1:],
        "depth": np.array([500.0]),
        "std": np.array([100.0]),
    },
    padding=anywhere_in_an_integral,
    domain={"weights": (0.0, 1.0)},
    targets=("depth", "std"),
)
