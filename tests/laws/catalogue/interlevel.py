"""Interlevel."""

import numpy as np

from nerfreg.losses import Interlevel, interlevel
from tests.laws.catalogue import Regularizer, intervals

BOUNDS = ("starts", "ends", "proposal_starts", "proposal_ends")


def draw(rng: np.random.Generator, n: int) -> dict[str, np.ndarray]:
    proposal = intervals(rng, n, 5)
    proposal["weights"] *= 0.2  # too little: away from the kink where it is just enough
    return {**intervals(rng, n), **{f"proposal_{name}": x for name, x in proposal.items()}}


REGULARIZER = Regularizer(
    interlevel,
    Interlevel,
    draw,
    options=({}, {"eps": 1e-2}),
    per_sample=("weights", "starts", "ends"),
    packed_beside={
        "proposal_ray_indices": ("proposal_weights", "proposal_starts", "proposal_ends"),
    },
    detached=("weights", *BOUNDS),
    scaling=(BOUNDS, 0.0),
    shifting=BOUNDS,
    zero={
        "weights": np.array([[0.2, 0.5]]),
        "starts": np.array([[1.0, 2.0]]),
        "ends": np.array([[2.0, 3.0]]),
        "proposal_weights": np.array([[0.8]]),
        "proposal_starts": np.array([[1.0]]),
        "proposal_ends": np.array([[3.0]]),
    },
    domain={"weights": (0.0, 1.0), "proposal_weights": (0.0, 1.0)},
)
