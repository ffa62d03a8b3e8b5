"""Information gain: neighbours compared by depth, and, as released, by the number of a sample."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nerfreg.losses import InformationGain, information_gain
from tests.laws.catalogue import Regularizer, intervals

BOUNDS = ("starts", "ends", "neighbor_starts", "neighbor_ends")


def draw(rng: np.random.Generator, n: int) -> dict[str, np.ndarray]:
    """A neighbour of fewer samples, without gaps and reaching beyond: no mass is 0."""
    ray, neighbor = intervals(rng, n), intervals(rng, n, 5)
    edges = np.concatenate([np.zeros((n, 1)), neighbor["ends"]], axis=1)
    edges *= 1.1 * ray["ends"][:, -1:] / edges[:, -1:]
    neighbor |= {"starts": edges[:, :-1], "ends": edges[:, 1:]}
    return {**ray, **{f"neighbor_{name}": x for name, x in neighbor.items()}}


def draw_alike(rng: np.random.Generator, n: int) -> dict[str, np.ndarray]:
    ray, neighbor = intervals(rng, n), intervals(rng, n)
    return {**ray, **{f"neighbor_{name}": x for name, x in neighbor.items()}}


def where_weights_count(options: Mapping[str, Any], n_samples: int) -> Sequence[int]:
    """Allow it but in a softmax, of which a weight of 0 takes its share."""
    return range(0 if options["form"] == "softmax" else n_samples + 1)


ZERO = {
    "weights": np.array([[0.2, 0.5]]),
    "starts": np.array([[1.0, 2.0]]),
    "ends": np.array([[2.0, 3.0]]),
    "neighbor_weights": np.array([[0.2, 0.5]]),
    "neighbor_starts": np.array([[1.0, 2.0]]),
    "neighbor_ends": np.array([[2.0, 3.0]]),
}
DOMAIN = {"weights": (0.0, 1.0), "neighbor_weights": (0.0, 1.0)}

REGULARIZER = Regularizer(
    information_gain,
    InformationGain,
    draw,
    options=({}, {"eps": 1e-3}, {"threshold": 0.0}),
    per_sample=("weights", "starts", "ends"),
    packed_beside={
        "neighbor_ray_indices": ("neighbor_weights", "neighbor_starts", "neighbor_ends"),
    },
    detached=BOUNDS,
    scaling=(BOUNDS, 0.0),
    shifting=BOUNDS,
    zero=ZERO,
    domain=DOMAIN,
)
VARIANTS = (
    Regularizer(
        information_gain,
        InformationGain,
        draw_alike,
        options=({"form": "released"}, {"form": "softmax"}),
        per_sample=("weights", "neighbor_weights", *BOUNDS),
        detached=BOUNDS,
        scaling=(BOUNDS, 0.0),
        shifting=BOUNDS,
        zero=ZERO,
        padding=where_weights_count,
        domain=DOMAIN,
        domain_float16={"weights": (1e-2, 1.0), "neighbor_weights": (1e-2, 1.0)},
        law_options={"form": "released"},
        variant="by sample",
    ),
)
