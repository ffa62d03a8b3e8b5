"""Pearson correlation of depths."""

import numpy as np

from nerfreg.losses import PearsonDepth, pearson_depth
from tests.laws.catalogue import Regularizer


def draw(rng: np.random.Generator, n: int) -> dict[str, np.ndarray]:
    rendered, depth = rng.uniform(1.0, 5.0, (2, n, 4, 5))
    return {"rendered": rendered + 0.5 * depth, "depth": depth}


DEPTH = np.random.default_rng(0).uniform(1.0, 5.0, (1, 4, 5))

REGULARIZER = Regularizer(
    pearson_depth,
    PearsonDepth,
    draw,
    options=({}, {"patch_size": 2}, {"target": "inverse"}, {"target": "fsgs"}),
    valid_like="rendered",
    scaling=(("rendered",), 0.0),
    shifting=("rendered",),
    zero={"rendered": 3.0 * DEPTH + 1.0, "depth": DEPTH},
    targets=("depth",),
)
