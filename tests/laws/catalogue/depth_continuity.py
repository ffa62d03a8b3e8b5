"""Depth continuity."""

import numpy as np

from nerfreg.losses import DepthContinuity, depth_continuity
from tests.laws.catalogue import Regularizer


def draw(rng: np.random.Generator, n: int) -> dict[str, np.ndarray]:
    depth = rng.uniform(1.0, 5.0, (n, 1)) * [1.0, 1.005]  # all joined
    return {"rendered": rng.uniform(1.0, 5.0, (n, 2)), "depth": depth}


REGULARIZER = Regularizer(
    depth_continuity,
    DepthContinuity,
    draw,
    options=({}, {"margin": 0.2}, {"tolerance": 0.3}),
    detached=("depth",),
    scaling=(("rendered", "depth"), 1.0),
    shifting=("rendered",),
    zero={"rendered": np.array([[2.0, 2.0]]), "depth": np.array([[0.4, 0.4]])},
    law_options={"margin": 0.0},
    targets=("depth",),
)
