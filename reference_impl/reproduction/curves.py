"""Where one curve reaches what another one has: views saved, iterations saved."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

__all__ = ["Crossing", "crossing", "speed_up"]


@dataclass(frozen=True)
class Crossing:
    """Where a curve first reaches a level.

    Attributes:
        level: to reach.
        at: where it does, between the points linearly; ``None``: nowhere.
        last: where the curve ends.
        at_start: whether its first point is there already, so that the true place may be earlier.
    """

    level: float
    at: float | None
    last: float
    at_start: bool = False

    def words(self, form: str = ".1f") -> str:
        """The place, with what is not known of it."""
        if self.at is None:
            return f"more than {self.last:{form}}"
        return f"{'at most ' if self.at_start else ''}{self.at:{form}}"


def crossing(xs: Sequence[float], ys: Sequence[float], level: float) -> Crossing:
    """Find where the line through points, of ascending x, first reaches a level from below.

    Raises:
        ValueError: there is no point.
    """
    if not xs:
        raise ValueError("a curve needs at least one point")
    if ys[0] >= level:
        return Crossing(level, xs[0], xs[-1], at_start=True)
    points = list(zip(xs, ys, strict=True))
    for (x0, y0), (x1, y1) in pairwise(points):
        if y1 >= level:
            return Crossing(level, x0 + (x1 - x0) * (level - y0) / (y1 - y0), xs[-1])
    return Crossing(level, None, xs[-1])


def speed_up(
    baseline: tuple[Sequence[float], Sequence[float]],
    other: tuple[Sequence[float], Sequence[float]],
) -> tuple[float | None, float, Crossing]:
    """How many times sooner another curve reaches the baseline's best than the baseline itself.

    Returns:
        The factor (``None``: never), where the baseline has its best, and where the other one is as
        good.
    """
    xs, ys = baseline
    best = max(ys)
    at = xs[list(ys).index(best)]
    found = crossing(*other, best)
    return at / found.at if found.at else None, at, found
