"""Co-regularization."""

import numpy as np

from nerfreg.losses import CoRegularization, co_regularization
from tests.laws.catalogue import Regularizer


def draw(rng: np.random.Generator, n: int) -> dict[str, np.ndarray]:
    rgb, other = rng.uniform(0.0, 1.0, (2, n, 11, 12, 3))
    return {"rgb": rgb, "other": other}


REGULARIZER = Regularizer(
    co_regularization,
    CoRegularization,
    draw,
    options=({}, {"ssim_weight": 0.0}, {"ssim_weight": 1.0, "window": 5}),
    detached=("other",),
    zero={"rgb": np.full((1, 12, 11, 3), 0.5), "other": np.full((1, 12, 11, 3), 0.5)},
    libraries=("torch",),
    targets=("rgb", "other"),
)
