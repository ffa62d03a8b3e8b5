"""Loss weights (and learning rates) as functions of the step."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, overload

from torch import Tensor

from nerfreg.arrays import namespace
from nerfreg.schedules.progress import is_number, progress, require_count

__all__ = ["Constant", "Cosine", "Linear", "LogLinear"]


@dataclass(frozen=True)
class Constant:
    """Keep one value.

    Example:
        >>> Constant(0.1)(1000)
        0.1
    """

    value: float

    def __call__(self, step: Any) -> float:
        """Return the value."""
        return self.value


@dataclass(frozen=True)
class _Ramp(ABC):
    """Go from ``start`` to ``end`` in the ``n_steps`` steps after ``begin``, on some curve."""

    start: float
    end: float
    n_steps: int
    begin: int = 0

    def __post_init__(self) -> None:
        owner = type(self).__name__
        require_count(owner, "n_steps", self.n_steps)
        require_count(owner, "begin", self.begin)
        for name in ("start", "end"):
            if not math.isfinite(getattr(self, name)):
                raise ValueError(f"{owner}: {name} must be finite, got {getattr(self, name)}")

    @overload
    def __call__(self, step: int) -> float: ...
    @overload
    def __call__(self, step: Tensor) -> Tensor: ...
    @overload
    def __call__(self, step: Any) -> Any: ...
    def __call__(self, step: Any) -> Any:
        """Evaluate at a step: a float at an int, a 0-d array at one of any library."""
        return self._at(progress(type(self).__name__, step, self.n_steps, self.begin))

    @abstractmethod
    def _at(self, a: Any) -> Any:
        """Evaluate at a share ``a`` of the way, from 0 to 1."""


@dataclass(frozen=True)
class Linear(_Ramp):
    r"""Go from ``start`` to ``end`` along a line.

    .. math:: \mathrm{start}\,(1-a) + \mathrm{end}\,a,\qquad
        a = \mathrm{clip}((\mathrm{step}-\mathrm{begin})/\mathrm{n\_steps}, 0, 1)

    Args:
        start: value until step ``begin``.
        end: value from step ``begin + n_steps``.
        n_steps: length of the ramp; 0 counts as 1, so that the value jumps after step ``begin``.
        begin: step at which the ramp begins.

    Raises:
        ValueError: a count is negative or not whole; a value is not finite.

    Example:
        >>> weight = Linear(400.0, 0.1, 512)  # RegNeRF's depth smoothness
        >>> weight(0), weight(256), weight(10_000)
        (400.0, 200.05, 0.1)
    """

    def _at(self, a: Any) -> Any:
        return self.start * (1.0 - a) + self.end * a


@dataclass(frozen=True)
class LogLinear(_Ramp):
    r"""Go from ``start`` to ``end`` by equal factors.

    .. math:: \mathrm{start}\,(\mathrm{end}/\mathrm{start})^a

    Args:
        start: value until step ``begin``, > 0.
        end: value from step ``begin + n_steps``, > 0.
        n_steps: length of the ramp; 0 counts as 1.
        begin: step at which the ramp begins.

    Raises:
        ValueError: as :class:`Linear`; or ``start`` or ``end`` is not positive.

    Example:
        >>> round(LogLinear(1.0, 0.01, 100)(50), 12)
        0.1
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (self.start > 0 and self.end > 0):
            raise ValueError(
                f"LogLinear: start and end must be > 0, got {self.start} and {self.end};"
                " use Linear to reach 0"
            )

    def _at(self, a: Any) -> Any:
        return self.start * (self.end / self.start) ** a


@dataclass(frozen=True)
class Cosine(_Ramp):
    r"""Go from ``start`` to ``end`` along half a cosine, flat at both ends.

    .. math:: \mathrm{end} + (\mathrm{start}-\mathrm{end})\,\tfrac12(1+\cos \pi a)

    Args:
        start: value until step ``begin``.
        end: value from step ``begin + n_steps``.
        n_steps: length of the ramp; 0 counts as 1.
        begin: step at which the ramp begins.

    Raises:
        ValueError: as :class:`Linear`.

    Example:
        >>> weight = Cosine(1.0, 0.0, 100, begin=50)
        >>> weight(50), weight(100), weight(150)
        (1.0, 0.5, 0.0)
    """

    def _at(self, a: Any) -> Any:
        wave = math.cos(math.pi * a) if is_number(a) else namespace(a).cos(math.pi * a)
        return self.end + (self.start - self.end) * 0.5 * (1.0 + wave)
