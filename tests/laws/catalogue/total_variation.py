"""Total variation."""

import numpy as np

from nerfreg.losses import TotalVariation, total_variation
from tests.laws.catalogue import Regularizer


def draw(rng: np.random.Generator, n: int) -> dict[str, np.ndarray]:
    return {"rgb": rng.uniform(0.0, 1.0, (n, 4, 5, 3))}


REGULARIZER = Regularizer(
    total_variation,
    TotalVariation,
    draw,
    options=({}, {"norm": "l2"}),
    valid_like="rgb",
    valid_axes=3,
    scaling=(("rgb",), 1.0),
    shifting=("rgb",),
    zero={"rgb": np.broadcast_to([0.2, 0.4, 0.6], (1, 3, 4, 3))},
    targets=("rgb",),
)
