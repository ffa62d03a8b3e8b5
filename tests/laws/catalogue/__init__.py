"""Every public regularizer, described once: what it takes, what it answers, which laws it obeys.

One module here a regularizer, named as its file in ``nerfreg/losses``, each with a constant
``REGULARIZER``, and ``VARIANTS`` where inputs exclude one another. The laws in
``tests/laws/test_every_regularizer.py`` run over all of them, and fail if a public regularizer, an
option or an input is missing.
"""

import importlib
import math
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import nn

__all__ = ["REGULARIZERS", "Regularizer", "intervals"]


def anywhere(options: Mapping[str, Any], n_samples: int) -> Sequence[int]:
    """Allow an interval without width and weight at each place of a ray."""
    return range(n_samples + 1)


@dataclass(frozen=True, repr=False)
class Regularizer:
    """What the laws need to know of a regularizer.

    Attributes:
        function: the public function.
        module: its ``nn.Module`` twin.
        draw: ``draw(rng, n)`` gives n units (rays, patches, pairs) as NumPy float64, bool or int
            arrays by argument name, inside the domain, away from kinks, the unit on axis 0; without
            ``valid``, ``ray_indices`` and ``n_rays``.
        options: each combination of options to run, the defaults among them.
        per_sample: arguments shaped (R, S) that may also come packed (N,); empty: no packed layout.
        packed_beside: (name of its ``ray_indices`` -> arguments) of a second set of samples, which
            may be packed or dense beside the first.
        valid_like: name of the argument whose shape ``valid`` has, if not one a unit.
        valid_axes: how many of its axes ``valid`` has, if not all: 3 of an image's.
        detached: arguments that receive no gradient by design.
        scaling: (names, power): multiplying these arguments by k multiplies the loss by k**power.
        shifting: names of arguments to which one number may be added without effect.
        least: lower bound of the value, or ``None``.
        zero: arguments, for one unit as ``draw(rng, 1)`` would give, at which the bound is reached.
        libraries: that it runs on: of ``torch``, ``numpy``, ``jax``, ``strict``.
        half: (dtype name -> relative error) that half-precision inputs may cause.
        law_options: options with which the scaling and shifting laws hold, if not the defaults.
        variant: what tells this entry from the others of its function.
        padding: ranks at which an interval without width and weight may enter a ray of so many
            samples without effect.
        domain: (name -> smallest and largest magnitude) where value and gradient are finite, if
            not from 0 to the largest finite number; the docstring's "Numerics" says so.
        domain_float16: what of ``domain`` is narrower for float16.
        targets: arguments of which a counted NaN raises while values are checked.
    """

    function: Callable[..., Any]
    module: type[nn.Module]
    draw: Callable[[np.random.Generator, int], dict[str, np.ndarray]]
    options: Sequence[Mapping[str, Any]] = ({},)
    per_sample: tuple[str, ...] = ()
    valid_like: str | None = None
    detached: tuple[str, ...] = ()
    scaling: tuple[tuple[str, ...], float] | None = None
    shifting: tuple[str, ...] | None = None
    least: float | None = 0.0
    zero: Mapping[str, np.ndarray] | None = None
    libraries: tuple[str, ...] = ("torch", "numpy", "jax", "strict")
    half: Mapping[str, float] = field(
        default_factory=lambda: {"float16": 1e-2, "bfloat16": 5e-2},
    )
    law_options: Mapping[str, Any] = field(default_factory=dict)
    variant: str = ""
    padding: Callable[[Mapping[str, Any], int], Sequence[int]] = anywhere
    domain: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    domain_float16: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    targets: tuple[str, ...] = ()
    valid_axes: int | None = None
    packed_beside: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return " ".join(filter(None, (self.function.__name__, self.variant)))

    def __repr__(self) -> str:
        return f"<{self.name}>"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(repr(self))  # or hypothesis would print every field

    def bounds(self, argument: str, dtype: str) -> tuple[float, float]:
        """Find the magnitudes that an argument may have."""
        everything = self.domain.get(argument, (0.0, math.inf))
        return self.domain_float16.get(argument, everything) if dtype == "float16" else everything


def intervals(rng: np.random.Generator, n: int, n_samples: int = 7) -> dict[str, np.ndarray]:
    """Rays of disjoint intervals with gaps, and weights that sum to less than 1."""
    widths, gaps = rng.uniform(0.1, 1.0, (2, n, n_samples))
    ends = 1.0 + np.cumsum(widths + 0.3 * gaps, axis=-1)
    weights = rng.uniform(0.05, 1.0, (n, n_samples))
    weights *= rng.uniform(0.3, 0.95, (n, 1)) / weights.sum(-1, keepdims=True)
    return {"weights": weights, "starts": ends - widths, "ends": ends}


def _found() -> dict[str, Regularizer]:
    found = {}
    for entry in sorted(module.name for module in pkgutil.iter_modules(__path__)):
        module = importlib.import_module(f"{__name__}.{entry}")
        for regularizer in (module.REGULARIZER, *getattr(module, "VARIANTS", ())):
            found[regularizer.name] = regularizer
    return found


def __getattr__(name: str) -> dict[str, Regularizer]:
    # On demand, as the modules themselves import from here.
    if name == "REGULARIZERS":
        return _found()
    raise AttributeError(name)
