"""Rendered depth against the truth: how far apart, and by which mistake."""

from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from nerfreg.arrays import Array
from nerfreg.plots.canvas import new_figure
from nerfreg.rays.depth_agreement import check_depth_agreement, comparable_points, medians_along

__all__ = ["plot_depth_agreement"]


def plot_depth_agreement(
    rendered: Float[Array, "*points"],
    truth: Float[Array, "*points"],
    directions: Float[Array, "*points 3"] | None = None,
    *,
    valid: Bool[Array, "*points"] | None = None,
    unit: str = "",
) -> Any:
    """Draw rendered depth against the truth, and their ratio from the image's centre outwards.

    Left, points on the diagonal agree, and a wrong scale is another straight line through 0. Right,
    the ratio lies flat where both depths are of one kind; where one is z-depth and the other
    distance it follows one of the dashed curves. The title says what is likely.

    Args:
        rendered: depth from the renderer.
        truth: depth to compare with.
        directions: of the same rays, scaled so that camera z is 1. ``None`` leaves the right out.
        valid: which points count. Depths ≤ 0 and those that are not finite never do.
        unit: of the depths, for the labels, for example ``"m"``.

    Returns:
        A ``matplotlib.figure.Figure``.

    Raises:
        ImportError: matplotlib is not installed.
        TypeError: an argument is not a floating-point array.
        ValueError: as :func:`~nerfreg.rays.check_depth_agreement`.

    Example:
        >>> import torch
        >>> truth = 1 + torch.rand(500)
        >>> figure = plot_depth_agreement(truth * 1.5, truth)
        >>> figure.axes[0].get_title()
        'median relative error 50.0% at 500 points'
    """
    name = "plot_depth_agreement"
    x, y, length = comparable_points(name, truth, rendered, directions, valid)
    found = check_depth_agreement(rendered, truth, directions, valid=valid)
    figure = new_figure(name, 5.0 if directions is None else 10.0, 4.2)
    axes = figure.subplots(1, 1 if directions is None else 2, squeeze=False)[0]
    unit = f" ({unit})" if unit else ""
    # What lies far out would leave all else a dot; it is still in the medians.
    high = 1.05 * float(np.quantile(np.concatenate([x, y]), 0.99))
    _cloud(axes[0], x, y, (0, high), (0, high))
    axes[0].axline((0, 0), slope=1, color="C1", linewidth=1, label="equal")
    axes[0].set(
        xlabel=f"true depth{unit}",
        ylabel=f"rendered depth{unit}",
        aspect="equal",
        title=f"median relative error {found.relative_error:.1%} at {found.n} points",
    )
    axes[0].legend(loc="upper left", fontsize=8)
    if directions is not None:
        # tan of the angle to the optical axis: how far from the principal point, in focal lengths.
        off_axis = np.sqrt(np.maximum(length**2 - 1, 0))
        _ratio(axes[1], off_axis, y / x)
    figure.suptitle(f"likely: {found.likely}", fontsize=11)
    return figure


def _ratio(axes: Any, off_axis: Any, ratio: Any) -> None:
    """The ratio of the depths over how far off the axis, with what mistakes of kind look like."""
    far = float(off_axis.max()) or 1.0
    low, high = np.quantile(ratio, [0.02, 0.98])
    margin = 0.25 * max(high - low, 0.1)
    _cloud(axes, off_axis, ratio, (0, far), (low - margin, high + margin))
    medians = medians_along(off_axis, ratio)
    grid = np.linspace(0, far, 50)
    # ‖d‖ against that of the first median, through which every line passes.
    length = np.sqrt((1 + grid**2) / (1 + medians[0][0] ** 2))
    powers = {
        "of one kind": 0,
        "rendered z-depth, true distance": -1,
        "rendered distance, true z-depth": 1,
    }
    for (label, power), color in zip(powers.items(), ("C1", "C2", "C3"), strict=True):
        line = medians[1][0] * length**power
        axes.plot(grid, line, color=color, linestyle="--", linewidth=1, label=label)
    axes.plot(*medians, color="black", marker="o", markersize=4, label="median")
    axes.set(
        xlabel="from the principal point outwards (focal lengths)",
        ylabel="rendered depth / true depth",
    )
    axes.legend(loc="best", fontsize=8)


def _cloud(axes: Any, x: Any, y: Any, x_range: Any, y_range: Any) -> None:
    """Points while they can be told apart, else how many fall together."""
    if len(x) <= 3000:
        axes.scatter(x, y, s=5, alpha=0.4, color="C0", linewidths=0)
        axes.set(xlim=x_range, ylim=y_range)
    else:
        axes.hist2d(x, y, bins=80, range=(x_range, y_range), cmap="Blues", norm="log")
