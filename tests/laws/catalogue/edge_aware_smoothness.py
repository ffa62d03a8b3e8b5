"""Edge-aware smoothness."""

import numpy as np

from nerfreg.losses import EdgeAwareSmoothness, edge_aware_smoothness
from tests.laws.catalogue import Regularizer


def draw(rng: np.random.Generator, n: int) -> dict[str, np.ndarray]:
    return {
        "depth": rng.uniform(1.0, 5.0, (n, 4, 5)),
        "rgb": rng.uniform(0.0, 1.0, (n, 4, 5, 3)),
        "opacity": rng.uniform(0.1, 1.0, (n, 4, 5)),
    }


REGULARIZER = Regularizer(
    edge_aware_smoothness,
    EdgeAwareSmoothness,
    draw,
    options=({}, {"sharpness": 10.0}, {"normalize": True}),
    valid_like="depth",
    detached=("rgb", "opacity"),
    scaling=(("depth",), 1.0),
    shifting=("depth", "rgb"),
    zero={"depth": np.full((1, 3, 3), 2.0), "rgb": np.arange(27.0).reshape(1, 3, 3, 3) / 27},
    domain={"opacity": (0.0, 1.0)},
    targets=("depth", "rgb", "opacity"),
)
