"""Every public function that takes samples of rays in either layout, and rays to call it with."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from types import FunctionType
from typing import Any

import numpy as np

from nerfreg import rays
from nerfreg.rays import (
    expected_depth,
    median_depth,
    opacity,
    weights_from_alpha,
    weights_from_density,
)

__all__ = ["FUNCTIONS", "SEVERAL_LAYOUTS", "Function", "draw", "split"]


@dataclass(frozen=True)
class Function:
    """A public function, with some of its options set.

    Attributes:
        function: what is called.
        per_sample: its arguments with one value a sample.
        per_ray: its arguments with one value a ray.
        a_ray: whether it answers with one value a ray, else one a sample.
    """

    function: Callable[..., Any]
    per_sample: Sequence[str]
    per_ray: Sequence[str] = ()
    a_ray: bool = True

    @property
    def inputs(self) -> tuple[str, ...]:
        return (*self.per_sample, *self.per_ray)


BOUNDS = ("starts", "ends")
FUNCTIONS = {
    "weights_from_density": Function(
        weights_from_density, ("density", *BOUNDS), ("direction_norm",), a_ray=False
    ),
    "weights_from_alpha": Function(weights_from_alpha, ("alpha",), a_ray=False),
    "opacity": Function(opacity, ("weights",)),
    "expected_depth": Function(expected_depth, ("weights", *BOUNDS)),
    "expected_depth, unnormalised": Function(
        partial(expected_depth, normalize=False), ("weights", *BOUNDS)
    ),
    "median_depth": Function(median_depth, ("weights", *BOUNDS)),
    "median_depth, released": Function(
        partial(median_depth, form="released"), ("weights", *BOUNDS)
    ),
}

SEVERAL_LAYOUTS = {
    name
    for name in rays.__all__
    if isinstance(found := getattr(rays, name), FunctionType)
    and "ray_indices" in inspect.signature(found).parameters
}
"""Names of the public functions of nerfreg.rays that :data:`FUNCTIONS` must hold."""


def draw(rng: np.random.Generator, counts: Sequence[int]) -> dict[str, np.ndarray]:
    """Packed float64 rays with so many samples each; intervals of all sizes with gaps between."""
    n = sum(counts)
    rank = np.concatenate([np.arange(c) for c in counts]) if n else np.zeros(0)
    starts = 0.5 + 2.0 * rank + rng.uniform(0.0, 0.9, n)
    alpha = rng.uniform(0.0, 0.9, n)
    found = {
        "density": rng.uniform(0.0, 3.0, n),
        "alpha": alpha,
        "weights": alpha / np.repeat(np.asarray(counts, dtype=float), counts),
        "starts": starts,
        "ends": starts + rng.uniform(0.1, 1.0, n),
    }
    indices = np.repeat(np.arange(len(counts)), counts)
    norms = rng.uniform(1.0, 1.5, len(counts))
    return found | {"direction_norm": norms, "ray_indices": indices}


def split(
    chosen: Function, inputs: dict[str, Any], counts: Sequence[int]
) -> list[dict[str, Any] | None]:
    """Take the rays apart: each by itself and dense; ``None`` for one without samples."""
    ends = np.cumsum(counts)
    return [
        {name: inputs[name][end - count : end] for name in chosen.per_sample}
        | {name: inputs[name][ray] for name in chosen.per_ray}
        if count
        else None
        for ray, (count, end) in enumerate(zip(counts, ends, strict=True))
    ]
