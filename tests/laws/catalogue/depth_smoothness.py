"""Depth smoothness."""

import numpy as np

from nerfreg.losses import DepthSmoothness, depth_smoothness
from tests.laws.catalogue import Regularizer


def draw(rng: np.random.Generator, n: int) -> dict[str, np.ndarray]:
    return {"depth": rng.uniform(1.0, 5.0, (n, 4, 5)), "opacity": rng.uniform(0.1, 1.0, (n, 4, 5))}


REGULARIZER = Regularizer(
    depth_smoothness,
    DepthSmoothness,
    draw,
    options=({}, {"norm": "l1"}),
    valid_like="depth",
    detached=("opacity",),
    scaling=(("depth",), 2.0),
    shifting=("depth",),
    zero={"depth": np.full((1, 3, 3), 2.0)},
    domain={"depth": (0.0, 1e18), "opacity": (0.0, 1.0)},
    targets=("depth", "opacity"),
)
