"""Where one ray stops, beside where its keypoint says that it should: DS-NeRF's figure."""

import math
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Integer
from numpy.typing import NDArray

from nerfreg.arrays import Array, erfc, to_numpy
from nerfreg.losses.depth_kl import depth_kl
from nerfreg.plots.canvas import new_figure
from nerfreg.rays.intervals import OPEN_END
from nerfreg.rays.layout import ray_layout
from nerfreg.rays.termination import RayTermination

__all__ = ["plot_termination"]

Numbers = NDArray[np.float64]


def plot_termination(
    weights: Float[Array, "*rays samples"],
    starts: Float[Array, "*rays samples"],
    ends: Float[Array, "*rays samples"],
    depth: Float[Array, "*n_rays"] | float | int | None = None,
    std: Float[Array, "*n_rays"] | float | int | None = None,
    *,
    ray_indices: Integer[Array, " samples"] | None = None,
    n_rays: int | None = None,
    ray: int | None = None,
    before: RayTermination[Any] | None = None,
    kind: str = "t",
    title: str = "",
    ax: Any = None,
) -> Any:
    r"""Draw where a ray stops, per unit of t, against its target N(depth, std²).

    Each interval is as high as weight / (end − start), so that areas are probabilities. The target
    is drawn as :func:`nerfreg.depth_kl` compares it, averaged over each interval, and, thin, as it
    is. The arguments are those of that function, so ``plot_termination(**rays, ray=3)`` takes a
    :class:`~nerfreg.rays.RayTermination`.

    Args:
        weights: probability that the ray stops in each interval.
        starts: lower bounds of the intervals, in the ray parameter t.
        ends: upper bounds. The last may be open (1e10): the legend then tells what stops there.
        depth: target, in t's kind and unit; one a ray, or one number for the ray that is drawn.
        std: its standard deviation, > 0, likewise. Without it the target is a line.
        ray_indices: ray of each sample, sorted, if samples are packed (N,).
        n_rays: number of rays, if samples are packed.
        ray: which of several rays to draw; of dense samples with more axes, counted row by row.
        before: the same rays at an earlier step, drawn grey; samples may lie elsewhere.
        kind: what t is, for the label: ``"z-depth (m)"``, say.
        title: of the ray, in front of its numbers.
        ax: matplotlib axes to draw in, instead of a figure of its own.

    Returns:
        The ``matplotlib.figure.Figure``.

    Raises:
        ImportError: matplotlib is not installed.
        TypeError: an array is not floating point; or as :class:`~nerfreg.rays.RayTermination`.
        ValueError: of several rays none is named, or one that is not there; ``std`` comes without
            ``depth`` or is not > 0; samples are points (``starts`` = ``ends``), of which there is
            no density; or as :class:`~nerfreg.rays.RayTermination`.

    Source: Deng et al. 2022 (DS-NeRF), their figure of ray terminations.

    Example:
        >>> import torch
        >>> starts = torch.linspace(1.0, 4.75, 16)
        >>> weights = torch.softmax(-((starts - 2.4) ** 2) / 0.1, 0)
        >>> figure = plot_termination(weights, starts, starts + 0.25, depth=2.5, std=0.2)
        >>> figure.axes[0].get_title()
        'KL 0.01 nats'
    """
    name = "plot_termination"
    if std is not None and depth is None:
        raise ValueError(f"{name}: std must come with depth, got std alone")
    layout = ray_layout(name, ray_indices, n_rays, weights=weights, starts=starts, ends=ends)
    n = math.prod(layout.ray_shape)
    if ray is None and n != 1:
        raise ValueError(f"{name}: ray must name one of the {n} rays, got None")
    chosen = 0 if ray is None else ray
    if not 0 <= chosen < n:
        raise ValueError(f"{name}: ray must be in [0, {n}), got {ray}")
    mean, deviation = (
        _of_ray(name, *given, n, chosen) for given in (("depth", depth), ("std", std))
    )
    if deviation is not None and not deviation > 0:
        raise ValueError(f"{name}: std must be > 0, got {deviation:g}")
    one = _one_ray(RayTermination(weights, starts, ends, ray_indices, n_rays), chosen)
    rays = {"ray": one}
    if before is not None:
        rays = {"before": _one_ray(before, chosen), "after": one}
    axes = new_figure(name, 6.5, 3.4).add_subplot() if ax is None else ax
    for (label, drawn), color in zip(rays.items(), ("0.6", "C0")[-len(rays) :], strict=True):
        heights, edges = _outline(drawn, drawn.weights)
        words = [f"{drawn.opacity:.0%} stops"]
        if drawn.beyond > 0:
            words.append(f"{drawn.beyond:.0%} of it beyond the last bound")
        axes.stairs(heights, edges, color=color, fill=True, alpha=0.35)
        axes.stairs(heights, edges, color=color, label=f"{label}: {', '.join(words)}")
    axes.axvline(one.expected, color="C0", label=f"expected {one.expected:.4g}")
    median = f"median {one.median:.4g}"
    axes.axvline(one.median, color="C0", linestyle="--", label=median)
    if mean is not None:
        _draw_target(axes, one, mean, deviation)
    axes.set(
        xlabel=kind, ylabel="probability of stopping, per unit", xlim=_range(rays, mean, deviation)
    )
    divergences = []
    if mean is not None and deviation is not None:
        divergences = [f"{_kl(drawn, mean, deviation):.2f}" for drawn in rays.values()]
    numbers = f"KL {' → '.join(divergences)} nats" if divergences else ""
    axes.set_title(": ".join(filter(None, (title, numbers))), fontsize=10)
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=8)
    return axes.figure


class _Ray(NamedTuple):
    """One ray: its samples, without those of no width, and what they come to."""

    weights: Numbers
    starts: Numbers
    ends: Numbers
    opacity: float
    beyond: float
    expected: float
    median: float


def _one_ray(rays: RayTermination[Any], ray: int) -> _Ray:
    """Take one ray out of many, in either layout."""
    if rays.ray_indices is None:
        rows = [to_numpy(x) for x in (rays.weights, rays.starts, rays.ends)]
        weights, starts, ends = (x.reshape(-1, x.shape[-1])[ray] for x in rows)
    else:
        mine = to_numpy(rays.ray_indices) == ray
        weights, starts, ends = (to_numpy(x)[mine] for x in (rays.weights, rays.starts, rays.ends))
    wide = ends > starts
    if (weights[~wide] > 0).any():
        raise ValueError(
            "plot_termination: ends must be > starts wherever weights > 0: points have no density"
        )
    weights, starts, ends = weights[wide], starts[wide], ends[wide]
    one = _packed(weights, starts, ends)
    return _Ray(
        weights,
        starts,
        ends,
        opacity=float(weights.sum()),
        beyond=float(weights[ends >= OPEN_END].sum()),
        expected=float(one.expected_depth()[0]),
        median=float(one.median_depth()[0]),
    )


def _packed(weights: Numbers, starts: Numbers, ends: Numbers) -> RayTermination[Any]:
    """The samples of a ray as packed ones, which may be none."""
    return RayTermination(weights, starts, ends, np.zeros(len(weights), np.int64), 1)


def _of_ray(function: str, name: str, given: Any, n: int, ray: int) -> float | None:
    """The ray's own number: one of an array with one a ray, or the number given."""
    if given is None:
        return None
    values = to_numpy(given).reshape(-1)
    if values.size not in (1, n):
        raise ValueError(
            f"{function}: {name} must be a number or one a ray, ({n},), got {values.size}"
        )
    return float(values[ray if values.size == n else 0])


def _outline(one: _Ray, mass: Numbers) -> tuple[Numbers, Numbers]:
    """Heights and edges of a staircase of mass per unit of t, 0 in gaps, without an open end."""
    bounded = one.ends < OPEN_END
    starts, ends, mass = one.starts[bounded], one.ends[bounded], mass[bounded]
    if not len(starts):
        return np.zeros(1), np.array([0.0, 1.0])
    # Every interval, and the gap behind it where there is one.
    heights = np.stack([mass / (ends - starts), np.zeros_like(mass)], -1).ravel()[:-1]
    edges = np.stack([starts, ends], -1).ravel()
    kept = np.diff(edges) > 0
    return heights[kept], np.append(edges[:-1][kept], edges[-1])


def _draw_target(axes: Any, one: _Ray, mean: float, std: float | None) -> None:
    """The target as the loss sees it on the ray's intervals, and as it is."""
    if std is None:
        axes.axvline(mean, color="C1", linewidth=2, label=f"target {mean:.4g}")
        return
    low, high = ((x - mean) / std for x in (one.starts, one.ends))
    mass = 0.5 * (erfc(low * math.sqrt(0.5)) - erfc(high * math.sqrt(0.5)))
    heights, edges = _outline(one, mass)
    axes.stairs(heights, edges, color="C1", label=f"target {mean:.4g} ± {std:.2g}")
    top = axes.get_ylim()[1]
    t = np.linspace(mean - 5 * std, mean + 5 * std, 201)
    axes.plot(
        t,
        np.exp(-0.5 * ((t - mean) / std) ** 2) / (std * math.sqrt(2 * math.pi)),
        color="C1",
        linewidth=0.8,
        linestyle=":",
    )
    # A target narrower than its interval would press all else to the ground.
    axes.set_ylim(0, top)


def _range(rays: dict[str, _Ray], mean: float | None, std: float | None) -> tuple[float, float]:
    """The t between which all but the outermost 1 % stops on either side, and the target."""
    marks: list[float] = []
    for one in rays.values():
        marks += [one.expected, one.median]
        stopped = np.cumsum(one.weights) / max(one.opacity, 1e-12)
        share = one.weights / max(one.opacity, 1e-12)
        holds = (stopped > 0.01) & (stopped - share < 0.99) & (one.ends < OPEN_END)
        marks += [*one.starts[holds], *one.ends[holds]]
    if mean is not None:
        marks += [mean - 4 * (std or 0.0), mean + 4 * (std or 0.0)]
    low, high = min(marks), max(marks)
    margin = 0.05 * (high - low) or 0.5
    return low - margin, high + margin


def _kl(one: _Ray, mean: float, std: float) -> float:
    rays = _packed(one.weights, one.starts, one.ends)
    return float(depth_kl(**rays, depth=np.array([mean]), std=np.array([std])))
