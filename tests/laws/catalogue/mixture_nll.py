"""Mixture NLL."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nerfreg.losses import MixtureNLL, mixture_nll
from tests.laws.catalogue import Regularizer, intervals


def draw(rng: np.random.Generator, n: int) -> dict[str, np.ndarray]:
    weights = intervals(rng, n)["weights"]
    return {
        "weights": weights,
        "rgb": rng.uniform(0.0, 1.0, (*weights.shape, 3)),
        "scale": rng.uniform(0.1, 1.0, (*weights.shape, 3)),
        "target": rng.uniform(0.0, 1.0, (n, 3)),
    }


def where_weights_count(options: Mapping[str, Any], n_samples: int) -> Sequence[int]:
    """Tell that every sample has a share of ε, but for the published form."""
    return range(n_samples + 1) if options.get("form") == "released" else ()


REGULARIZER = Regularizer(
    mixture_nll,
    MixtureNLL,
    draw,
    options=(
        {},
        {"eps": 1e-3},
        {"min_scale": 0.05},
        {"form": "released"},
    ),
    per_sample=("weights", "rgb", "scale"),
    padding=where_weights_count,
    shifting=("rgb", "target"),
    least=3.0 * math.log(2.0 * 0.125),
    zero={
        "weights": np.array([[0.3, 0.2]]),
        "rgb": np.full((1, 2, 3), 0.5),
        "scale": np.full((1, 2, 3), 0.01),
        "target": np.full((1, 3), 0.5),
    },
    law_options={"min_scale": 0.125},
    domain={"weights": (0.0, 1.0)},
    domain_float16={"scale": (0.01, math.inf)},
    targets=("target",),
)
