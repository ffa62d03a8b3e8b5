"""Sample-space annealing (RegNeRF): begin training on a short piece of each ray."""

from dataclasses import dataclass
from typing import Any, Literal, cast, overload

from torch import Tensor

from nerfreg.arrays import clip
from nerfreg.checks import require_choice
from nerfreg.schedules.progress import is_number, progress, require_count

__all__ = ["SampleSpaceAnnealing"]


@dataclass(frozen=True)
class SampleSpaceAnnealing:
    r"""Shrink [near, far] towards a point inside at first, and let it grow back.

    .. math:: m = \mathrm{near} + \mathrm{mid}\,(\mathrm{far}-\mathrm{near}),\qquad
        \mathrm{bound}(\mathrm{step}) = m + \eta(\mathrm{step})\,(\mathrm{bound} - m)

    With few views, the cheapest explanation of the photos is matter right in front of each camera.
    While samples are kept away from there, it cannot form.

    Args:
        n_steps: N, steps until the whole range is sampled; 0 switches annealing off.
        start: p in [0, 1], share of the range at step 0. At 0 all samples fall on m there; prefer a
            small share.
        mid: where m lies, from 0 (near) to 1 (far).
        form: ``"paper"``: η = min(max(step/N, p), 1), which waits at p until step pN.
            ``"released"``: η = p + (1−p)·min(step/N, 1), which grows from the first step.

    Raises:
        ValueError: ``n_steps`` is negative or not whole, ``start`` or ``mid`` outside [0, 1],
            ``form`` unknown.

    Source: Niemeyer et al. 2022 (RegNeRF), section on sample-space annealing. *Differs from
    upstream in:* the paper prints η = max(min(step/N, p), 1), constant 1, a slip; ``"paper"`` is
    what it must mean. ``"released"`` is what its code does; that code counts steps from 1, and
    begins anew when resumed.

    Example:
        >>> anneal = SampleSpaceAnnealing(n_steps=100, start=0.5)
        >>> anneal(0, 2.0, 6.0), anneal(75, 2.0, 6.0), anneal(100, 2.0, 6.0)
        ((3.0, 5.0), (2.5, 5.5), (2.0, 6.0))
    """

    n_steps: int
    start: float
    mid: float = 0.5
    form: Literal["paper", "released"] = "paper"

    def __post_init__(self) -> None:
        require_count("SampleSpaceAnnealing", "n_steps", self.n_steps)
        require_choice("SampleSpaceAnnealing", "form", self.form, ("paper", "released"))
        for name in ("start", "mid"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(
                    f"SampleSpaceAnnealing: {name} must be in [0, 1], got {getattr(self, name)}"
                )

    @classmethod
    def llff(cls) -> "SampleSpaceAnnealing":
        """RegNeRF's setting for forward-facing scenes in NDC, 3 and 6 views.

        There t = 1 is infinity: sampling starts at the backdrop, and near comes towards the camera.
        The form is the released one, with which the constants were tuned. With 9 views the authors
        left annealing off.
        """
        return cls(n_steps=512, start=1e-4, mid=1.0, form="released")

    @classmethod
    def dtu(cls) -> "SampleSpaceAnnealing":
        """RegNeRF's setting for an object in the middle of [near, far] (DTU), 3 and 6 views.

        The form is the released one, with which the constants were tuned. With 9 views the authors
        left annealing off.
        """
        return cls(n_steps=256, start=0.5, mid=0.5, form="released")

    @classmethod
    def metric(cls, n_steps: int = 512) -> "SampleSpaceAnnealing":
        """Our setting for metric bounds that hug the scene, as keypoints give them.

        Only near moves (mid = 1): what lies behind a far bound that is cut off has nowhere to go,
        and would settle in front. The nearest quarter is closed at first (start = 0.75): that is
        where the false matter forms, while most of the scene stays within reach. Chosen by this
        argument, not tuned.

        Args:
            n_steps: steps until the whole range is sampled.
        """
        return cls(n_steps=n_steps, start=0.75, mid=1.0, form="released")

    @overload
    def __call__(self, step: int, near: float, far: float) -> tuple[float, float]: ...
    @overload
    def __call__(self, step: int | Tensor, near: Tensor, far: Tensor) -> tuple[Tensor, Tensor]: ...
    @overload
    def __call__(self, step: Any, near: Any, far: Any) -> tuple[Any, Any]: ...
    def __call__(self, step: Any, near: Any, far: Any) -> tuple[Any, Any]:
        """Shrink the bounds of this step's samples.

        Args:
            step: the optimiser's step, from 0; an int, or a 0-d array, which is not waited for.
            near: closest t, a number or an array with one a ray.
            far: farthest t, likewise.

        Returns:
            The bounds to sample between, in ``near``'s and ``far``'s unit; exactly those from step
            N on. Arrays come of the library of those that went in.
        """
        eta = cast("Any", self.eta(step))
        middle = near + self.mid * (far - near)
        return eta * near + (1.0 - eta) * middle, eta * far + (1.0 - eta) * middle

    @overload
    def eta(self, step: int) -> float: ...
    @overload
    def eta(self, step: Tensor) -> Tensor: ...
    @overload
    def eta(self, step: Any) -> Any: ...
    def eta(self, step: Any) -> Any:
        """Share of the range that is sampled at a step, from ``start`` to 1."""
        if self.n_steps == 0:
            return 1.0
        share: Any = progress("SampleSpaceAnnealing", step, self.n_steps)
        if self.form == "released":
            # In this order it is exactly 1 at the end; p + (1−p)·1 need not be.
            return 1.0 - (1.0 - self.start) * (1.0 - share)
        if is_number(share):
            return max(share, self.start)
        return clip(share, self.start)
