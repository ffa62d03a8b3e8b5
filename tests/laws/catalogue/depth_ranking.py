"""Depth ranking."""

import numpy as np

from nerfreg.losses import DepthRanking, depth_ranking
from tests.laws.catalogue import Regularizer


def draw(rng: np.random.Generator, n: int) -> dict[str, np.ndarray]:
    near = rng.uniform(1.0, 5.0, (n, 1))
    depth = near * np.concatenate([np.ones((n, 1)), rng.uniform(2.0, 3.0, (n, 1))], axis=1)
    rendered = rng.uniform(1.0, 5.0, (n, 2))
    rendered[0] = [4.0, 3.0]  # one pair at least is in the wrong order
    depth[1::2] = depth[1::2, ::-1]
    return {"rendered": rendered, "depth": depth}


REGULARIZER = Regularizer(
    depth_ranking,
    DepthRanking,
    draw,
    options=({}, {"margin": 0.5}, {"tolerance": 0.3}),
    detached=("depth",),
    scaling=(("rendered",), 1.0),
    shifting=("rendered",),
    zero={"rendered": np.array([[1.0, 2.0]]), "depth": np.array([[0.3, 0.4]])},
    law_options={"margin": 0.0},
    targets=("depth",),
)
