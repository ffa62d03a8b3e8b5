"""Figures to look at a training with, drawn by matplotlib (extra: plot) once one is asked for.

Each function draws one figure from arrays of torch, JAX or NumPy and returns it; save it with
``figure.savefig("name.png")``.
"""

from nerfreg.plots.depth_agreement import plot_depth_agreement
from nerfreg.plots.gradient_shares import plot_gradient_shares
from nerfreg.plots.termination import plot_termination

__all__ = ["plot_depth_agreement", "plot_gradient_shares", "plot_termination"]
