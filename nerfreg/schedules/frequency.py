"""Frequency masks (FreeNeRF): show a field the low octaves of its encoding before the high ones."""

from dataclasses import dataclass
from typing import Any, Literal, overload

from jaxtyping import Float
from torch import Tensor

from nerfreg.arrays import clip, namespace
from nerfreg.checks import require_choice, require_number
from nerfreg.schedules.progress import is_number, progress, require_count

__all__ = ["FrequencyMask"]

ColumnLayout = Literal[
    "interleaved", "grouped", "interleaved_by_axis", "grouped_by_axis", "levels", "released"
]


@dataclass(frozen=True)
class FrequencyMask:
    r"""Weigh the octaves of a positional encoding, lowest first, until all are visible.

    .. math:: w_l(\mathrm{step}) = \mathrm{clip}(v - l,\ 0,\ 1),\qquad
        v = \mathrm{start} + L\,\mathrm{clip}(\mathrm{step}/N,\ 0,\ 1),\quad l = 0 \dots L-1

    A field that sees high frequencies from the first step explains each of a few photos by detail
    of its own, which no other photo can contradict. Shown the low ones first, it has to agree on a
    coarse scene before it may refine it.

    Calling it gives one weight an octave; :meth:`columns` spreads them over the columns of an
    encoding.

    Args:
        n_steps: N, steps over which L octaves appear; 0 shows all of them from the first step. The
            last is whole some steps earlier, as ``start`` of them are there to begin with.
        start: octaves visible at step 0, ≥ 0; a fraction shows the next one faintly. At 0 the field
            sees nothing but the position itself, where its encoding has it; prefer 1.

    Raises:
        ValueError: ``n_steps`` is negative or not whole; ``start`` is negative or not finite.

    Source: Yang et al. 2023 (FreeNeRF), frequency regularization, with start = 0 beside the
    position itself and N = 90, 70 and 50 % of the steps for 3, 6 and 9 views. *Differs from
    upstream in:* upstream counts groups of three columns, not octaves: the position itself is its
    first group, and a sine and a cosine are two. Its JAX code lays them over features sorted as all
    sines, then all cosines, so that half-way every sine is visible and no cosine
    (``columns(…, "released")``); its torch code for DietNeRF shows the sine of an octave before the
    cosine. Here one weight counts for both.
    Upstream masks the view direction's encoding alike: call this for it as well. It keeps weights
    within [1e-8, 1 − 1e-8]; here they reach 0 and 1.

    Example:
        >>> mask = FrequencyMask(n_steps=100)
        >>> mask(0, 4), mask(25, 4), mask(100, 4)
        (tensor([1., 0., 0., 0.]), tensor([1., 1., 0., 0.]), tensor([1., 1., 1., 1.]))
        >>> mask.columns(0, 2, "interleaved", n_dims=1)  # sin x, cos x, sin 2x, cos 2x
        tensor([1., 1., 0., 0.])
    """

    n_steps: int
    start: float = 1.0

    def __post_init__(self) -> None:
        require_count("FrequencyMask", "n_steps", self.n_steps)
        require_number("FrequencyMask", "start", self.start, ">= 0", lambda x: x >= 0.0)

    @overload
    def __call__(self, step: int | Tensor, n_octaves: int) -> Float[Tensor, " octaves"]: ...
    @overload
    def __call__(self, step: Any, n_octaves: int) -> Float[Any, " octaves"]: ...
    def __call__(self, step: Any, n_octaves: int) -> Float[Any, " octaves"]:
        """Compute the weight of each octave at a step.

        Args:
            step: the optimiser's step, from 0; an int, or a 0-d array, which is not waited for.
            n_octaves: L, of the encoding. Levels of a hash grid may stand for octaves.

        Returns:
            (L,) weights in [0, 1], not increasing, float32 or better; multiply sine and cosine of
            octave l by the l-th. A torch tensor where ``step`` is an int, else an array of the
            step's library, on its device.
        """
        require_count("FrequencyMask", "n_octaves", n_octaves)
        share = progress("FrequencyMask", step, self.n_steps)
        if self.n_steps == 0:
            share = 1.0
        xp = namespace(None if is_number(step) else step)
        device = {"device": step.device} if isinstance(step, Tensor) else {}
        octaves = xp.arange(n_octaves, dtype=xp.float32, **device)
        return clip(self.start + n_octaves * share - octaves, 0.0, 1.0)

    @overload
    def columns(
        self,
        step: int | Tensor,
        n_octaves: int,
        layout: ColumnLayout,
        *,
        n_dims: int = 3,
        position: Literal["none", "first", "last"] = "none",
    ) -> Float[Tensor, " columns"]: ...
    @overload
    def columns(
        self,
        step: Any,
        n_octaves: int,
        layout: ColumnLayout,
        *,
        n_dims: int = 3,
        position: Literal["none", "first", "last"] = "none",
    ) -> Float[Any, " columns"]: ...
    def columns(
        self,
        step: Any,
        n_octaves: int,
        layout: ColumnLayout,
        *,
        n_dims: int = 3,
        position: Literal["none", "first", "last"] = "none",
    ) -> Float[Any, " columns"]:
        """Compute the weight of each column of an encoding at a step: multiply the features by it.

        Args:
            step: as when called.
            n_octaves: L, octaves of the encoding, or levels of the grid.
            layout: how the encoding orders its columns.
                ``"interleaved"``: octave by octave, its sines, then its cosines, as NeRF.
                ``"grouped"``: all sines, octave by octave, then all cosines, as mip-NeRF.
                ``"interleaved_by_axis"``: axis by axis, octave by octave, its sine and its cosine,
                as tiny-cuda-nn.
                ``"grouped_by_axis"``: all sines, axis by axis, octave by octave, then all cosines,
                as nerfstudio.
                ``"levels"``: level by level of a hash grid, its features, as Instant NGP.
                ``"released"``: columns appear from left to right in groups of ``n_dims``, the
                position being the first, as in FreeNeRF's code, whose columns are grouped: not from
                low to high.
            n_dims: coordinates of what is encoded; of a level, its features.
            position: where the encoding has the position itself, which is always visible (where
                ``"released"``, as a group like any other).

        Returns:
            (2·L·n_dims,) weights, (L·n_dims,) of levels; with the position n_dims more. Otherwise
            as when called.

        Raises:
            ValueError: ``layout`` or ``position`` is unknown, a count is negative or not whole, or
                levels come with a position.
        """
        name = "FrequencyMask.columns"
        require_count(name, "n_octaves", n_octaves)
        require_count(name, "n_dims", n_dims)
        require_choice(name, "position", position, ("none", "first", "last"))
        # How often the octaves come in turn, and how often each of them in one go.
        orders = {
            "interleaved": (1, 2 * n_dims),
            "grouped": (2, n_dims),
            "interleaved_by_axis": (n_dims, 2),
            "grouped_by_axis": (2 * n_dims, 1),
            "levels": (1, n_dims),
            "released": (1, n_dims),
        }
        require_choice(name, "layout", layout, tuple(orders))
        if layout == "levels" and position != "none":
            raise ValueError(
                f'{name}: position must be "none" where layout is "levels", whose n_dims counts'
                f" features, not coordinates; got {position!r}"
            )
        if layout == "released":
            n_octaves, position = 2 * n_octaves + (position != "none"), "none"
        weights = self(step, n_octaves)
        xp = namespace(weights)
        turns, times = orders[layout]
        columns = xp.broadcast_to(weights[None, :, None], (turns, n_octaves, times))
        columns = xp.reshape(columns, (turns * n_octaves * times,))
        if position == "none":
            return columns
        device = {"device": step.device} if isinstance(step, Tensor) else {}
        visible = xp.ones((n_dims,), dtype=weights.dtype, **device)
        return xp.concat([visible, columns] if position == "first" else [columns, visible], axis=0)
