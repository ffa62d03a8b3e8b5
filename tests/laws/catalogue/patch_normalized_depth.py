"""Patch-normalized depth."""

import numpy as np

from nerfreg.losses import PatchNormalizedDepth, patch_normalized_depth
from tests.laws.catalogue import Regularizer


def draw(rng: np.random.Generator, n: int) -> dict[str, np.ndarray]:
    rendered, depth = rng.uniform(1.0, 5.0, (2, n, 8, 9))
    return {"rendered": rendered + 0.5 * depth, "depth": depth}


DEPTH = np.random.default_rng(0).uniform(1.0, 5.0, (1, 8, 9))

REGULARIZER = Regularizer(
    patch_normalized_depth,
    PatchNormalizedDepth,
    draw,
    options=({}, {"patch_size": 4, "std": "global"}, {"margin": 0.3, "form": "released"}),
    valid_like="rendered",
    scaling=(("rendered",), 0.0),
    shifting=("rendered",),
    zero={"rendered": 3.0 * DEPTH + 1.0, "depth": DEPTH},
    targets=("depth",),
)
