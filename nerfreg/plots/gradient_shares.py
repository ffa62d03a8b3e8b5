"""What each term of the loss contributes to the gradient, over time."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nerfreg.plots.canvas import new_figure

__all__ = ["plot_gradient_shares"]


def plot_gradient_shares(
    steps: Sequence[int], shares: Sequence[Mapping[str, Any]], *, title: str = ""
) -> Any:
    """Draw the shares of a loss's terms: stacked, and each on a logarithmic axis.

    Stacked, one sees who leads; on the logarithmic axis, who hardly takes part.

    Args:
        steps: of the optimiser, at which was measured, ascending.
        shares: at each of them, name -> share: :attr:`GradientShares.shares
            <nerfreg.GradientShares>`, or ``gradient_shares`` in a line of the reference trainer's
            ``log.jsonl``. Numbers or 0-d arrays. A term missing at a step counts as 0 there.
        title: above both.

    Returns:
        A ``matplotlib.figure.Figure``.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: there is nothing to draw, or not one mapping a step.

    Example:
        >>> shares = [{"color": 0.9, "smooth": 0.1}, {"color": 0.6, "smooth": 0.4}]
        >>> figure = plot_gradient_shares([0, 100], shares)
        >>> [axes.get_yscale() for axes in figure.axes]
        ['linear', 'log']
    """
    if len(steps) != len(shares):
        raise ValueError(
            "plot_gradient_shares: shares must hold one mapping a step, got"
            f" {len(shares)} for {len(steps)} steps"
        )
    names = list(dict.fromkeys(name for at_step in shares for name in at_step))
    if not names:
        raise ValueError("plot_gradient_shares: shares must name at least one term, got none")
    values = np.array([[float(at_step.get(name, 0.0)) for at_step in shares] for name in names])
    figure = new_figure("plot_gradient_shares", 9.0, 3.2)
    stacked, each = figure.subplots(1, 2, sharex=True)
    colors = [f"C{i % 10}" for i in range(len(names))]
    stacked.stackplot(steps, values, labels=names, colors=colors, alpha=0.85)
    stacked.set(xlabel="step", ylabel="share of the gradient", ylim=(0, 1))
    for name, row, color in zip(names, values, colors, strict=True):
        each.plot(steps, np.where(row > 0, row, np.nan), color=color, label=name, marker=".")
    each.set(xlabel="step", ylabel="share of the gradient", yscale="log")
    if not (values > 0).any():
        each.set_ylim(1e-6, 1)
    each.grid(alpha=0.3)
    figure.legend(*stacked.get_legend_handles_labels(), loc="outside right center", fontsize=8)
    if title:
        figure.suptitle(title)
    return figure
