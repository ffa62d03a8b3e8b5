"""Curves as an SVG that stands in a page: no library, no script, the page's own colours."""

import math
from collections.abc import Mapping, Sequence
from html import escape

__all__ = ["line_chart"]

Points = Sequence[tuple[float, float]]
WIDTH, HEIGHT = 360, 180
LEFT, RIGHT, TOP, BOTTOM = 48, 18, 10, 34
MOST_POINTS = 400


def line_chart(series: Mapping[str, Points], *, label: str, log: bool = False) -> str:
    """Draw curves over the steps of a training.

    Args:
        series: name -> (step, value), ascending. A value that is not finite, or not positive on a
            logarithmic axis, interrupts its curve.
        label: of the vertical axis, and of the whole for those who hear the page.
        log: a logarithmic vertical axis.

    Returns:
        ``<svg>``, whose curves have the classes ``s0``, ``s1`` … in the order of ``series``; empty
        where there is no point to draw.
    """
    drawn = {name: _thinned(points) for name, points in series.items()}
    shown = [(x, y) for points in drawn.values() for x, y in points if _shows(y, log)]
    if not shown:
        return ""
    x_low, x_high = _bounds([x for x, _ in shown])
    heights = [math.log10(y) if log else y for _, y in shown]
    y_low, y_high = _bounds(heights)

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT)
        up = (y - y_low) / (y_high - y_low) * (HEIGHT - TOP - BOTTOM)
        return LEFT + across, HEIGHT - BOTTOM - up

    def text(x: float, y: float, words: str, anchor: str = "middle") -> str:
        return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{words}</text>'

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)}">']
    for tick in _decades(y_low, y_high) if log else _ticks(y_low, y_high):
        _, y = place(x_low, tick)
        parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
        parts.append(text(LEFT - 6, y + 4, _number(10**tick if log else tick), "end"))
    for tick in _ticks(x_low, x_high):
        parts.append(text(place(tick, y_low)[0], HEIGHT - BOTTOM + 16, _number(tick)))
    parts.append(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 3, "step"))
    for i, points in enumerate(drawn.values()):
        path, pen_down = "", False
        for x, y in points:
            if _shows(y, log):
                across, down = place(x, math.log10(y) if log else y)
                # A line of no length, which round caps make a dot, begins each piece.
                path += f"{'L' if pen_down else 'M'}{across:.1f} {down:.1f}"
                path += "" if pen_down else "h0"
            pen_down = _shows(y, log)
        parts.append(f'<path class="line s{i}" d="{path}"/>')
    return "".join([*parts, "</svg>"])


def _shows(y: float, log: bool) -> bool:
    return math.isfinite(y) and (y > 0 or not log)


def _thinned(points: Points) -> Points:
    """Every so many points, and the last."""
    stride = -(-len(points) // MOST_POINTS) if points else 1
    return [*points[:-1][::stride], *points[-1:]]


def _bounds(values: Sequence[float]) -> tuple[float, float]:
    """The range to draw: around the values where they are all the same."""
    low, high = min(values), max(values)
    if high - low < 1e-9 * max(abs(low), abs(high), 1e-9):
        margin = 0.1 * abs(low) or 1.0
        return low - margin, high + margin
    return low, high


def _ticks(low: float, high: float) -> list[float]:
    """Two to six round numbers in a range."""
    step = 10.0 ** math.floor(math.log10((high - low) / 4))
    step *= next(factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= 5)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [i * step for i in range(first, last + 1)]


def _decades(low: float, high: float) -> list[float]:
    """Logarithms of powers of ten in a range of logarithms; in a short one of 2 and 5 as well."""
    factors = (1, 2, 5) if high - low < 1.5 else (1,)
    logs = [k + math.log10(f) for k in range(math.floor(low), math.ceil(high) + 1) for f in factors]
    inside = [x for x in logs if low - 1e-9 <= x <= high + 1e-9]
    return inside[:: -(-len(inside) // 6)] if inside else _ticks(low, high)


def _number(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1 else f"{value:.6g}"
