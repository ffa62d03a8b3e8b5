"""How far to trust a triangulated depth."""

import math

import torch
from jaxtyping import Float, Num
from torch import Tensor

from nerfreg.checks import require_floating, require_same_shape, require_values

__all__ = ["depth_std", "reprojection_weight"]

# A two-view track leaves one residual for its noise to show in, so its own error says little: it is
# pooled with the model's mean error, which counts as this many residuals.
PRIOR_RESIDUALS = 4.0
# A detector places a keypoint no better than about a quarter of a pixel, however small the
# residual.
MIN_PIXEL_NOISE = 0.25
# Beyond this share of the depth a keypoint says nothing; the bound keeps a vanishing parallax
# finite.
MAX_RELATIVE_STD = 0.5


def depth_std(
    depth: Float[Tensor, "*k"],
    error: Float[Tensor, "*k"],
    parallax: Float[Tensor, "*k"],
    track_length: Num[Tensor, "*k"],
    focal: float,
    mean_error: float,
) -> Float[Tensor, "*k"]:
    """Estimate the standard deviation of triangulated depths, to first order.

        std = depth · (σ/focal) · √(12·(T − 1) / (T·(T + 1))) / sin(parallax)
        σ² = (ν·π·mean_error² + T·error²) / (ν + 2T − 3),  ν = 4

    σ is the pixel noise of a track of T views. The angle between the viewing rays, more than the
    number of views or the reprojection error, is what makes a depth good.

    Args:
        depth: z-depth of each keypoint, > 0, any unit.
        error: mean reprojection error of each keypoint's track, pixels, ≥ 0.
        parallax: of all pairs of the track's viewing rays at the point, the angle with the largest
            sine; radians in [0, π].
        track_length: number T ≥ 2 of views in each track.
        focal: focal length, pixels of the same image size as ``error``.
        mean_error: mean of ``error`` over the whole model, pixels, ≥ 0.

    Returns:
        Standard deviation in the unit of ``depth``, > 0, at most half the depth.

    Raises:
        TypeError: a tensor is not floating point (``track_length`` may be an integer tensor).
        ValueError: shapes or devices differ, ``focal`` ≤ 0, ``mean_error`` < 0; with value checks
            on, a value out of its range.

    Numerics:
        Finite for every parallax: a zero one gives the bound of half the depth. Float64 inside.

    Source:
        Our own, where DS-NeRF (Deng et al., CVPR 2022) takes the reprojection error, in pixels, for
        the standard deviation. Noise σ in two images moves the intersection of their rays by
        √2·depth·σ / (focal·sin(parallax)) along a ray; a fit through T evenly spaced views improves
        on its outermost pair by √(6·(T − 1) / (T·(T + 1))), which is 1 for two and three views. A
        track has 2T coordinates and 3 unknowns, so its squared residuals sum to σ²·(2T − 3) on
        average. In the two-view tracks that few views mostly give, the mean error is σ/√π.

    Example:
        >>> import torch
        >>> two = torch.tensor([2, 2])
        >>> depth, error, parallax = torch.tensor([[1.0, 2.0], [0.5, 0.5], [0.1, 0.05]])
        >>> depth_std(depth, error, parallax, two, focal=100.0, mean_error=0.5)
        tensor([0.1209, 0.4830])
    """
    require_floating("depth_std", depth=depth, error=error, parallax=parallax)
    require_same_shape(
        "depth_std",
        "(K,)",
        depth=depth,
        error=error,
        parallax=parallax,
        track_length=track_length,
    )
    if not (focal > 0 and math.isfinite(focal)):
        raise ValueError(f"depth_std: focal must be > 0 and finite, got {focal}")
    if not (mean_error >= 0 and math.isfinite(mean_error)):
        raise ValueError(f"depth_std: mean_error must be ≥ 0 and finite, got {mean_error}")
    require_values("depth_std", "depth", depth, "> 0", depth > 0)
    require_values("depth_std", "error", error, "≥ 0", error >= 0)
    require_values("depth_std", "track_length", track_length, "≥ 2", track_length >= 2)
    in_range = (parallax >= 0) & (parallax <= math.pi)
    require_values("depth_std", "parallax", parallax, "in [0, π]", in_range)

    views = track_length.double().clamp_min(2)
    residuals = 2 * views - 3
    prior = PRIOR_RESIDUALS * math.pi * mean_error**2
    noise = ((prior + views * error.double().square()) / (PRIOR_RESIDUALS + residuals)).sqrt()
    spread = (12 * (views - 1) / (views * (views + 1))).sqrt()
    relative = noise.clamp_min(MIN_PIXEL_NOISE) / focal * spread / parallax.double().sin()
    return (depth * relative.abs().clamp_max(MAX_RELATIVE_STD)).to(depth.dtype)


def reprojection_weight(
    error: Float[Tensor, "*k"], mean_error: float | Float[Tensor, ""]
) -> Float[Tensor, "*k"]:
    """Weight a keypoint's depth by its reprojection error, as DS-NeRF's weighted loss does.

    2 · exp(−(error / mean_error)²)

    Args:
        error: reprojection error of each point, pixels, ≥ 0.
        mean_error: mean error over all points of the model, pixels, > 0.

    Returns:
        Weights in (0, 2]; 2 where the error is 0, 0.7358 where it is the mean.

    Raises:
        TypeError: ``error`` is not floating point.
        ValueError: ``mean_error`` is not positive.

    Source:
        DS-NeRF's released loader. Its configurations leave the weighting off.

    Example:
        >>> import torch
        >>> reprojection_weight(torch.tensor([0.0, 0.5, 1.0]), 0.5)
        tensor([2.0000, 0.7358, 0.0366])
    """
    require_floating("reprojection_weight", error=error)
    if isinstance(mean_error, Tensor):
        require_values("reprojection_weight", "mean_error", mean_error, "> 0", mean_error > 0)
    elif not mean_error > 0:
        raise ValueError(f"reprojection_weight: mean_error must be > 0, got {mean_error}")
    return 2 * torch.exp(-((error / mean_error) ** 2))
