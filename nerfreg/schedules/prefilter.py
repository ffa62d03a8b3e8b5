"""Spatial annealing of the pre-filter (SANeRF): blur what a field is asked, less and less."""

from dataclasses import dataclass
from typing import Any, Literal, overload

from torch import Tensor

from nerfreg.arrays import namespace
from nerfreg.checks import require_choice, require_number
from nerfreg.schedules.progress import is_number, progress, require_count

__all__ = ["PrefilterAnnealing"]

_STAIRS = 30  # of "released", the default of its code


@dataclass(frozen=True)
class PrefilterAnnealing:
    r"""Widen the pre-filter of each sample at first, and let the extra width shrink to nothing.

    .. math:: b(\mathrm{step}) = \mathrm{start}\cdot 2^{-\mathrm{halvings}\cdot\mathrm{step}/N}
        \ \text{before step } N,\qquad 0 \text{ from there on}

    For a field that averages over a ball, a cone or a Gaussian around each sample, by integrated
    encoding or by the levels of a mip map. A wide average holds low frequencies alone, whatever the
    features are, so this does for grids what :class:`FrequencyMask` does for octaves.

    Args:
        n_steps: N, steps until the filter has its own width; 0 switches annealing off.
        start: extra radius at step 0, in the unit of the scene, ≥ 0.
        halvings: how often it halves until step N, ≥ 0; what is left then is dropped at once.
        form: ``"smooth"`` shrinks at every step. ``"released"`` shrinks in 30 stairs, as the
            authors' code does.

    Raises:
        ValueError: ``n_steps`` is negative or not whole; ``start`` or ``halvings`` is negative or
            not finite; ``form`` is unknown.

    Source: Xiao et al. 2024 (SANeRF): "modulating the sampling kernel to exponentially shrink". The
    formula, that the width is *added* to the radius of the ball around a sample, and the numbers
    are those of its code: start = 0.15 where the scene spans [−1.5, 1.5]³, 6 halvings, 80 % of the
    steps. Its equations we could not read. *Differs from upstream in:* the stairs, by default.

    Example:
        >>> anneal = PrefilterAnnealing(n_steps=600, start=0.16, halvings=3.0)
        >>> anneal(0), anneal(200), anneal(400), anneal(600)
        (0.16, 0.08, 0.04, 0.0)
    """

    n_steps: int
    start: float
    halvings: float = 6.0
    form: Literal["smooth", "released"] = "smooth"

    def __post_init__(self) -> None:
        require_count("PrefilterAnnealing", "n_steps", self.n_steps)
        require_choice("PrefilterAnnealing", "form", self.form, ("smooth", "released"))
        for name in ("start", "halvings"):
            value = getattr(self, name)
            require_number("PrefilterAnnealing", name, value, ">= 0", lambda x: x >= 0.0)

    @overload
    def __call__(self, step: int) -> float: ...
    @overload
    def __call__(self, step: Tensor) -> Tensor: ...
    @overload
    def __call__(self, step: Any) -> Any: ...
    def __call__(self, step: Any) -> Any:
        """Compute the extra width at a step.

        Args:
            step: the optimiser's step, from 0; an int, or a 0-d array, which is not waited for.

        Returns:
            Add it to the radius of each sample's ball or cone, r + b. mip-NeRF's Gaussians have
            half of the cone's radius for a standard deviation: add (b/2)² to their variance.
        """
        share = progress("PrefilterAnnealing", step, self.n_steps)
        if self.n_steps == 0:
            return 0.0 * share
        passed = share
        if self.form == "released":
            # Whole numbers, so that no library's rounding moves the first step of a stair.
            passed = progress("PrefilterAnnealing", step * _STAIRS // self.n_steps, _STAIRS)
        width = self.start * 2.0 ** (-self.halvings * passed)
        if is_number(share):
            return width if share < 1.0 else 0.0
        return namespace(share).where(share < 1.0, width, 0.0)
