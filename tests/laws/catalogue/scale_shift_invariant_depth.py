"""Scale-and-shift-invariant depth."""

import numpy as np

from nerfreg.losses import ScaleShiftInvariantDepth, scale_shift_invariant_depth
from tests.laws.catalogue import Regularizer


def draw(rng: np.random.Generator, n: int) -> dict[str, np.ndarray]:
    rendered, depth = rng.uniform(1.0, 5.0, (2, n, 5, 6))
    return {"rendered": rendered + 0.5 * depth, "depth": depth}


DEPTH = np.random.default_rng(0).uniform(1.0, 5.0, (1, 5, 6))

REGULARIZER = Regularizer(
    scale_shift_invariant_depth,
    ScaleShiftInvariantDepth,
    draw,
    options=({}, {"gradient_weight": 2.0}, {"n_scales": 1}),
    valid_like="rendered",
    scaling=(("rendered",), 0.0),
    shifting=("rendered",),
    zero={"rendered": 3.0 * DEPTH + 1.0, "depth": DEPTH},
    domain_float16={"depth": (0.0, 1e2)},
    targets=("depth",),
)
