"""A diagnosis of two depths that should be one: of another kind, another scale, or inverted?"""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from nerfreg.arrays import Array, to_numpy
from nerfreg.checks import require_floating, require_mask, require_same_shape, require_shape
from nerfreg.rays.depth_kinds import require_optical_axis

__all__ = ["DepthAgreement", "check_depth_agreement"]

Numbers = NDArray[np.float64]
Likely = Literal[
    "agreement",
    "scale",
    "rendered is z-depth",
    "rendered is distance",
    "inverse depth",
    "scatter",
]

# What is off by less goes unmentioned: few-view renderings err by some percent without any mistake.
TOLERANCE = 0.1
# Fewer points than this tell no kind apart from chance.
LEAST_POINTS = 30
# How many standard errors a slope must be from 0 to be worth a word.
CERTAIN_SLOPE = 3.5
# Lengths of directions that differ by less cannot tell z-depth from distance.
LEAST_SPAN = math.log(1.02)
BINS = 10


@dataclass(frozen=True)
class DepthAgreement:
    """How rendered depth compares with the truth, and the likely mistake; ``str`` says it in words.

    Attributes:
        likely: ``"agreement"``; ``"scale"``; ``"rendered is z-depth"`` (and the truth distance);
            ``"rendered is distance"`` (and the truth z-depth); ``"inverse depth"`` (one of the
            two is); or ``"scatter"``: they differ, and none of these explains it.
        relative_error: median of abs(rendered − truth) / truth, as they came.
        explained_error: the same after the likely conversion, scale included.
        scale: median of rendered / truth after the likely conversion of kind; of rendered · truth
            for ``"inverse depth"``.
        slope: of log(rendered / truth) against log ‖d‖: 0 for two of one kind, −1 where z-depth was
            rendered and distance is true, 1 the other way round. NaN without ``directions``, or
            where their lengths are nearly the same.
        n: number of points compared.
    """

    likely: Likely
    relative_error: float
    explained_error: float
    scale: float
    slope: float
    n: int

    def __str__(self) -> str:
        error = f"median relative error {self.relative_error:.1%} at {self.n} points"
        if self.likely == "agreement":
            return f"agreement: {error}"
        if self.likely == "scatter":
            return f"scatter: {error}, which neither another kind of depth nor a scale explains"
        scaled = f"rendered is {self.scale:.3g} times the truth"
        remedy = {
            "scale": f"{scaled}; was one world rescaled without the other?",
            "rendered is z-depth": "the truth is distance; use nerfreg.rays.z_depth_to_distance on"
            " what is rendered, or distance_to_z_depth on the truth",
            "rendered is distance": "the truth is z-depth; use nerfreg.rays.distance_to_z_depth on"
            " what is rendered, or z_depth_to_distance on the truth",
            "inverse depth": f"one of the two is; rendered is {self.scale:.3g} / truth",
        }[self.likely]
        if self.likely.startswith("rendered") and abs(self.scale - 1) > TOLERANCE:
            remedy += f"; then {scaled}"
        return f"{self.likely}: {remedy} ({error}, then {self.explained_error:.1%})"


def check_depth_agreement(
    rendered: Float[Array, "*points"],
    truth: Float[Array, "*points"],
    directions: Float[Array, "*points 3"] | None = None,
    *,
    valid: Bool[Array, "*points"] | None = None,
) -> DepthAgreement:
    r"""Find out whether two depths agree and, where they do not, which convention was missed.

    Of one ray, distance is z-depth · ‖d‖ where ``directions`` have camera z = 1. So if the two
    depths are of different kinds, the logarithm of their ratio rises or falls with log ‖d‖ by a
    slope of ±1, from the image's centre to its corners; a wrong scale moves it everywhere alike.

    Args:
        rendered: depth from the renderer.
        truth: depth to compare with: a sensor's, structure-from-motion's, or exact.
        directions: of the same rays, scaled so that camera z is 1
            (:meth:`nerfreg.views.Cameras.rays`), in any frame. ``None`` leaves the kinds untold.
        valid: which points count. Depths ≤ 0 and those that are not finite never do.

    Returns:
        The diagnosis. It looks for one mistake of kind and one scale, in medians over ten classes
        of equal size by ‖d‖: half of a class may be outliers.

    Raises:
        TypeError: an argument is not a floating-point array.
        ValueError: shapes differ; no point is left to compare; ``directions`` all have unit length,
            and so have forgotten their optical axis.

    Numerics: float64, on the host: it reads values, so it is for looking, not for training.

    Example:
        >>> import torch
        >>> from nerfreg.views import Cameras, pinhole
        >>> cameras = Cameras.from_opencv(torch.eye(4)[None, :3], pinhole(30.0, 64, 48), 64, 48)
        >>> xy = 48 * torch.rand(1000, 2)
        >>> directions = cameras.rays(torch.zeros(1000, dtype=torch.long), xy).directions
        >>> z_depth = 1 + torch.rand(1000)
        >>> check_depth_agreement(z_depth, z_depth * directions.norm(dim=-1), directions).likely
        'rendered is z-depth'
    """
    points = comparable_points("check_depth_agreement", rendered, truth, directions, valid)
    log_rendered, log_truth, log_length = (np.log(x) for x in points)
    ratio = log_rendered - log_truth
    slope, error = _slope(log_length, ratio)
    likely: Likely = "agreement"
    explained = ratio
    enough = len(ratio) >= LEAST_POINTS
    if enough and _spread(log_rendered + log_truth) < 0.5 * _spread(ratio):
        likely, explained = "inverse depth", log_rendered + log_truth
    elif enough and abs(abs(slope) - 1) < 0.5 and abs(slope) > CERTAIN_SLOPE * error:
        likely = "rendered is z-depth" if slope < 0 else "rendered is distance"
        explained = ratio - math.copysign(1.0, slope) * log_length
    scale = float(np.median(explained))
    relative_error = float(np.median(np.abs(np.expm1(ratio))))
    explained_error = _error(explained)
    # Few points lie closer to their median, by chance, than they should: take the farthest.
    spread = _deviation(ratio) if enough else float(np.abs(ratio - np.median(ratio)).max())
    uncertain = 4 * _median_error(spread, float(len(ratio)))
    if likely == "agreement" and abs(scale) > max(math.log1p(TOLERANCE), uncertain):
        likely = "scale"
    elif likely == "agreement" and relative_error > TOLERANCE:
        likely = "scatter"
    return DepthAgreement(
        likely, relative_error, explained_error, math.exp(scale), slope, len(ratio)
    )


def comparable_points(
    function: str, rendered: Any, truth: Any, directions: Any, valid: Any
) -> tuple[Numbers, Numbers, Numbers]:
    """Check the arguments of a comparison, and keep the points that can be compared.

    Returns:
        Rendered depth, true depth and ‖d‖ (1 without ``directions``) of the points left, (n,) each.
    """
    require_floating(function, rendered=rendered, truth=truth, directions=directions)
    require_same_shape(function, "one a point", rendered=rendered, truth=truth)
    shape = tuple(rendered.shape)
    require_shape(function, "one direction a point", (*shape, 3), directions=directions)
    require_mask(function, shape, valid, rendered)
    depths = [to_numpy(x).reshape(-1) for x in (rendered, truth)]
    length = np.ones_like(depths[0])
    if directions is not None:
        length = np.linalg.norm(to_numpy(directions).reshape(-1, 3), axis=-1)
    counted = np.ones(len(length), bool) if valid is None else to_numpy(valid).reshape(-1) > 0
    for x in (*depths, length):
        counted &= np.isfinite(x) & (x > 0)
    if not counted.any():
        raise ValueError(
            f"{function}: no point is left to compare: of {len(length)}, none is valid with both"
            " depths finite and > 0"
        )
    if directions is not None:
        require_optical_axis(function, directions, counted)
    return depths[0][counted], depths[1][counted], length[counted]


def medians_along(x: Numbers, y: Numbers) -> tuple[Numbers, Numbers]:
    """Take the medians of x and of y in up to ten classes of equal size, in order of x."""
    order = np.argsort(x, kind="stable")
    classes: list[NDArray[np.int64]] = np.array_split(order, min(BINS, len(x)))
    of_x: Numbers = np.array([float(np.median(x[c])) for c in classes])
    of_y: Numbers = np.array([float(np.median(y[c])) for c in classes])
    return of_x, of_y


def _slope(x: Numbers, y: Numbers) -> tuple[float, float]:
    """Fit a line to the medians; its slope and that one's standard error, NaN without a span."""
    n = len(x) / BINS
    of_x, of_y = medians_along(x, y)
    if len(of_x) < 3 or np.ptp(of_x) < LEAST_SPAN:
        return math.nan, math.nan
    of_x -= of_x.mean()
    slope = float(of_x @ of_y / (of_x @ of_x))
    return slope, _median_error(_deviation(y), n) / math.sqrt(of_x @ of_x)


def _error(log_ratio: Numbers) -> float:
    """The median relative error that is left when the scale is right."""
    return float(np.median(np.abs(np.expm1(log_ratio - np.median(log_ratio)))))


def _median_error(deviation: float, n: float) -> float:
    """The standard error of the median of n numbers with this standard deviation."""
    return math.sqrt(math.pi / 2) * deviation / math.sqrt(n)


def _deviation(x: Numbers) -> float:
    """The standard deviation of a Gaussian of the same spread."""
    return 1.4826 * _spread(x)


def _spread(x: Numbers) -> float:
    """The median distance from the median: half of the numbers may be anything."""
    return float(np.median(np.abs(x - np.median(x))))
