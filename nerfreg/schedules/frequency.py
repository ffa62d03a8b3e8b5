"""Frequency masks (FreeNeRF): show a field the low octaves of its encoding before the high ones."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from nerfreg.schedules.progress import progress, require_count

__all__ = ["FrequencyMask"]


@dataclass(frozen=True)
class FrequencyMask:
    r"""Weigh the octaves of a positional encoding, lowest first, until all are visible.

    .. math:: w_l(\mathrm{step}) = \mathrm{clip}(v - l,\ 0,\ 1),\qquad
        v = \mathrm{start} + L\,\mathrm{clip}(\mathrm{step}/N,\ 0,\ 1),\quad l = 0 \dots L-1

    A field that sees high frequencies from the first step explains each of a few photos by detail
    of its own, which no other photo can contradict. Shown the low ones first, it has to agree on a
    coarse scene before it may refine it.

    Args:
        n_steps: N, steps over which L octaves appear; 0 shows all of them from the first step. The
            last is whole some steps earlier, as ``start`` of them are there to begin with.
        start: octaves visible at step 0, ≥ 0; a fraction shows the next one faintly. At 0 the field
            sees nothing of the position at first; prefer 1.

    Raises:
        ValueError: ``n_steps`` is negative or not whole; ``start`` is negative or not finite.

    Source: Yang et al. 2023 (FreeNeRF), frequency regularization, with start = 1 and N = 90, 70 and
    50 % of the steps for 3, 6 and 9 views. *Differs from upstream in:* the released JAX code lays
    its mask over features sorted as all sines, then all cosines, so that half-way every sine is
    visible and no cosine; here one weight counts for both of an octave, and the position itself,
    upstream's first group of features, is not an octave. Upstream masks the view direction's
    encoding alike: call this for it as well. It keeps weights within [1e-8, 1 − 1e-8]; here they
    reach 0 and 1.

    Example:
        >>> mask = FrequencyMask(n_steps=100)
        >>> mask(0, 4), mask(25, 4), mask(100, 4)
        (tensor([1., 0., 0., 0.]), tensor([1., 1., 0., 0.]), tensor([1., 1., 1., 1.]))
    """

    n_steps: int
    start: float = 1.0

    def __post_init__(self) -> None:
        require_count("FrequencyMask", "n_steps", self.n_steps)
        if not 0.0 <= self.start < math.inf:
            raise ValueError(f"FrequencyMask: start must be finite and >= 0, got {self.start}")

    def __call__(self, step: int | Tensor, n_octaves: int) -> Float[Tensor, " octaves"]:
        """Compute the weight of each octave at a step.

        Args:
            step: the optimiser's step, from 0; an int, or a 0-d tensor, which is not waited for.
            n_octaves: L, of the encoding. Levels of a hash grid may stand for octaves.

        Returns:
            (L,) float32 weights in [0, 1], not increasing, on the step's device; multiply sine and
            cosine of octave l by the l-th.
        """
        require_count("FrequencyMask", "n_octaves", n_octaves)
        share = progress(step, self.n_steps) if self.n_steps else 1.0
        device = step.device if isinstance(step, Tensor) else None
        octaves = torch.arange(n_octaves, dtype=torch.float32, device=device)
        return (self.start + n_octaves * share - octaves).clamp(0.0, 1.0)
