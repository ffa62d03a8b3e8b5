"""Normal smoothness."""

import numpy as np

from nerfreg.losses import NormalSmoothness, normal_smoothness
from tests.laws.catalogue import Regularizer


def draw(rng: np.random.Generator, n: int) -> dict[str, np.ndarray]:
    normals = rng.normal(size=(n, 4, 5, 3))
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    return {"normals": normals, "opacity": rng.uniform(0.1, 1.0, (n, 4, 5))}


REGULARIZER = Regularizer(
    normal_smoothness,
    NormalSmoothness,
    draw,
    options=({}, {"norm": "l1"}),
    valid_like="opacity",
    detached=("opacity",),
    scaling=(("normals",), 2.0),
    shifting=("normals",),
    zero={"normals": np.broadcast_to([0.6, 0.0, -0.8], (1, 3, 4, 3))},
    domain={"opacity": (0.0, 1.0)},
    targets=("normals", "opacity"),
)
