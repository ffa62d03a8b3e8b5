"""Occlusion by rank and by distance."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nerfreg.losses import Occlusion, occlusion
from tests.laws.catalogue import Regularizer, intervals

ZERO = {"density": np.array([[0.0, 0.0, 3.0]])}


def by_rank(rng: np.random.Generator, n: int) -> dict[str, np.ndarray]:
    return {"density": rng.uniform(0.1, 5.0, (n, 12))}


def by_distance(rng: np.random.Generator, n: int) -> dict[str, np.ndarray]:
    rays = intervals(rng, n)
    bounds = {name: rays[name] for name in ("starts", "ends")}
    return {"density": rng.uniform(0.1, 5.0, rays["weights"].shape), **bounds}


def nowhere(options: Mapping[str, Any], n_samples: int) -> Sequence[int]:
    """Tell that an interval takes a rank, whatever its width."""
    return ()


def anywhere_by_distance(options: Mapping[str, Any], n_samples: int) -> Sequence[int]:
    return range(n_samples + 1) if "distance" in options else ()


REGULARIZER = Regularizer(
    occlusion,
    Occlusion,
    by_rank,
    options=({}, {"n_samples": 3}),
    per_sample=("density",),
    scaling=(("density",), 1.0),
    padding=nowhere,
    zero=ZERO,
    law_options={"n_samples": 2},
)

VARIANTS = (
    Regularizer(
        occlusion,
        Occlusion,
        by_distance,
        options=({}, {"distance": 3.0}),
        per_sample=("density", "starts", "ends"),
        detached=("starts", "ends"),
        padding=anywhere_by_distance,
        zero={**ZERO, "starts": np.array([[1.0, 2.0, 3.0]]), "ends": np.array([[2.0, 3.0, 4.0]])},
        law_options={"distance": 3.0},
        variant="by distance",
    ),
)
