"""Distortion."""

import numpy as np

from nerfreg.losses import Distortion, distortion
from tests.laws.catalogue import Regularizer, intervals

REGULARIZER = Regularizer(
    distortion,
    Distortion,
    intervals,
    per_sample=("weights", "starts", "ends"),
    scaling=(("starts", "ends"), 1.0),
    shifting=("starts", "ends"),
    zero={
        "weights": np.array([[0.0, 0.7, 0.0]]),
        "starts": np.array([[1.0, 2.0, 2.0]]),
        "ends": np.array([[2.0, 2.0, 1e10]]),
    },
    domain={"weights": (0.0, 1.0)},
)
