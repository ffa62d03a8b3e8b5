"""Emptiness."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nerfreg.losses import Emptiness, emptiness
from tests.laws.catalogue import Regularizer, intervals


def draw(rng: np.random.Generator, n: int) -> dict[str, np.ndarray]:
    return {"weights": intervals(rng, n)["weights"], "uncertainty": rng.uniform(0.1, 2.0, n)}


def nowhere(options: Mapping[str, Any], n_samples: int) -> Sequence[int]:
    """The mean is over samples, whatever their width."""
    return ()


REGULARIZER = Regularizer(
    emptiness,
    Emptiness,
    draw,
    options=({}, {"strength": 10.0}),
    per_sample=("weights",),
    detached=("uncertainty",),
    padding=nowhere,
    zero={"weights": np.zeros((1, 3)), "uncertainty": np.ones(1)},
    targets=("uncertainty",),
)
