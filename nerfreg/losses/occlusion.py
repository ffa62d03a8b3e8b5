"""Density right in front of the camera (FreeNeRF)."""

from jaxtyping import Bool, Float, Integer
from torch import nn

from nerfreg.arrays import Array, at_least_float32, clip, detach, namespace
from nerfreg.checks import require_floating, require_mask, require_number
from nerfreg.losses.reduction import Reduction, fill_invalid, reduce
from nerfreg.rays.layout import n_samples as count_samples
from nerfreg.rays.layout import ray_layout, spread, total, total_of_first

__all__ = ["Occlusion", "occlusion"]

N_SAMPLES = 10
MAX_DENSITY = 1e30


def occlusion(
    density: Float[Array, "*rays samples"],
    starts: Float[Array, "*rays samples"] | None = None,
    ends: Float[Array, "*rays samples"] | None = None,
    *,
    n_samples: int | None = None,
    distance: float | None = None,
    ray_indices: Integer[Array, " samples"] | None = None,
    n_rays: int | None = None,
    valid: Bool[Array, "*n_rays"] | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    r"""Penalise density close to the camera, where walls of floaters grow.

    By rank, as published, with S samples on the ray; or, with ``distance``, by where samples are:

    .. math:: \frac{1}{S}\sum_{k \le n} \mathrm{density}_k
        \qquad\text{or}\qquad \int_{t < \mathrm{distance}} \mathrm{density}(t)\,dt =
        \sum_k \mathrm{density}_k\,\max(\min(\mathrm{ends}_k, \mathrm{distance}) -
        \mathrm{starts}_k, 0)

    The integral does not depend on how many samples there are, nor on which of them an occupancy
    grid left out; of the interval that ``distance`` cuts, the near part counts.

    Args:
        density: σ ≥ 0.
        starts: lower bounds of the intervals, in the ray parameter t. ``distance`` needs them,
            ranks do not. They receive no gradient: density should go, not samples.
        ends: upper bounds, of which the same holds.
        n_samples: how many samples at the front of each ray are near. ``None`` means 10, unless
            ``distance`` is given. Of 128 samples, FreeNeRF takes 10 (DTU) or 20 (LLFF).
        distance: what begins nearer than this is near, in t's unit.
        ray_indices: ray of each sample, sorted, if samples are packed (N,). Ranks then count the
            samples that are left, and the first of those may be a surface: use ``distance``.
        n_rays: number of rays, if samples are packed; an empty ray counts 0.
        valid: which rays count; others may hold anything, NaN included.
        reduction: over valid rays.

    Returns:
        One value a ray, or its reduction; ≥ 0, with 0 where the near part is empty. By rank, the
        unit of ``density``: 1/length. By distance, an optical thickness without unit: the near part
        lets exp(−value) of the light through. With samples spread evenly from t = 0 to ``far``, the
        second is ``far`` times the first.

    Raises:
        TypeError: an argument is not a floating-point array.
        ValueError: ``starts`` or ``ends`` is shaped otherwise than ``density``; both ``n_samples``
            and ``distance``; ``distance`` without ``starts`` and ``ends``; ``n_samples`` is no
            whole number ≥ 1 or ``distance`` ≤ 0; ``valid`` is not one a ray; a dense ray has no
            sample; or as :class:`~nerfreg.rays.RayTermination` for packed samples.

    Numerics: float32 or better. Density, and by rank its sum, counts as at most 1e30.

    Source: Yang et al. 2023 (FreeNeRF), occlusion regularization. *Differs from upstream in:*
    ``distance``. For DTU the code also penalises the first 15 samples where they are black or
    white, which belongs to that data set:
    ``occlusion(torch.where(plain | first, density, 0.0), n_samples=15)``.

    Example:
        >>> import torch
        >>> density = torch.tensor([[4.0, 2.0, 0.0, 8.0]])
        >>> starts = torch.tensor([[0.0, 1.0, 2.0, 3.0]])
        >>> occlusion(density, n_samples=2).item()  # (4 + 2) / 4
        1.5
        >>> occlusion(density, starts, starts + 1.0, distance=1.5).item()  # 4·1 + 2·½
        5.0
    """
    name = "occlusion"
    if n_samples is not None and distance is not None:
        raise ValueError(
            f"{name}: n_samples and distance are two ways to say what is near; give one"
        )
    if n_samples is not None:
        whole = "that is whole and >= 1"
        require_number(name, "n_samples", n_samples, whole, lambda x: x >= 1 and x % 1 == 0)
    if distance is not None:
        require_number(name, "distance", distance, "> 0", lambda x: x > 0)
        if starts is None or ends is None:
            raise ValueError(f"{name}: distance needs starts and ends; ranks alone need neither")
    require_floating(name, density=density, starts=starts, ends=ends)
    rays = ray_layout(name, ray_indices, n_rays, density=density, starts=starts, ends=ends)
    require_mask(name, rays.ray_shape, valid, density)
    counted = None if valid is None else spread(rays, valid)
    (density,) = at_least_float32(fill_invalid(density, counted, 0.0))
    xp = namespace(density)

    if distance is None:
        n_near = N_SAMPLES if n_samples is None else int(n_samples)
        n = xp.astype(clip(count_samples(rays, density), 1), density.dtype)
        values = clip(total_of_first(rays, density, n_near), None, MAX_DENSITY) / n
    else:
        starts, ends = at_least_float32(
            *(fill_invalid(detach(x), counted, 0.0) for x in (starts, ends))
        )
        length = clip(clip(ends, None, distance) - starts, 0.0)
        values = total(rays, clip(density, None, MAX_DENSITY) * length)
    return reduce(values, reduction, valid, function=name)


class Occlusion(nn.Module):
    """Penalise density close to the camera: :func:`occlusion`.

    Args:
        n_samples: how many samples at the front of each ray are near; ``None`` means 10, unless
            ``distance`` is given.
        distance: what begins nearer than this is near.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Example:
        >>> import torch
        >>> Occlusion(n_samples=1)(torch.tensor([[3.0, 5.0]])).item()
        1.5
    """

    def __init__(
        self,
        *,
        n_samples: int | None = None,
        distance: float | None = None,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        self.n_samples = n_samples
        self.distance = distance
        self.reduction: Reduction = reduction

    def forward(
        self,
        density: Float[Array, "*rays samples"],
        starts: Float[Array, "*rays samples"] | None = None,
        ends: Float[Array, "*rays samples"] | None = None,
        *,
        ray_indices: Integer[Array, " samples"] | None = None,
        n_rays: int | None = None,
        valid: Bool[Array, "*n_rays"] | None = None,
    ) -> Float[Array, "..."]:
        """Compute the loss."""
        return occlusion(
            density,
            starts,
            ends,
            n_samples=self.n_samples,
            distance=self.distance,
            ray_indices=ray_indices,
            n_rays=n_rays,
            valid=valid,
            reduction=self.reduction,
        )

    def extra_repr(self) -> str:
        """Show the options."""
        return f"n_samples={self.n_samples}, distance={self.distance}, reduction={self.reduction!r}"
