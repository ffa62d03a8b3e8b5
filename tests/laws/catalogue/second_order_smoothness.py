"""Second-order smoothness."""

import numpy as np

from nerfreg.losses import SecondOrderSmoothness, second_order_smoothness
from tests.laws.catalogue import Regularizer


def draw(rng: np.random.Generator, n: int) -> dict[str, np.ndarray]:
    return {"depth": rng.uniform(1.0, 5.0, (n, 4, 5)), "opacity": rng.uniform(0.1, 1.0, (n, 4, 5))}


REGULARIZER = Regularizer(
    second_order_smoothness,
    SecondOrderSmoothness,
    draw,
    options=({}, {"norm": "l1"}),
    valid_like="depth",
    detached=("opacity",),
    scaling=(("depth",), 2.0),
    shifting=("depth",),
    zero={"depth": 1.0 + np.arange(3.0)[:, None] - 2.0 * np.arange(4.0)[None, None, :]},
    domain={"opacity": (0.0, 1.0)},
    targets=("depth", "opacity"),
)
