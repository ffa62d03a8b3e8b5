"""Entropy of where along a ray the matter lies (InfoNeRF)."""

import math

from jaxtyping import Bool, Float, Integer
from torch import nn

from nerfreg.arrays import Array, at_least_float32, clip, is_float16, namespace, within
from nerfreg.checks import (
    require_floating,
    require_mask,
    require_number,
    require_one_device,
    require_shape,
)
from nerfreg.losses.reduction import Reduction, fill_invalid, reduce
from nerfreg.rays.layout import ray_layout, spread, total

__all__ = ["RayEntropy", "ray_entropy"]

EPS = 1e-10


def ray_entropy(
    weights: Float[Array, "*rays samples"],
    opacity: Float[Array, "*n_rays"] | None = None,
    *,
    threshold: float = 0.1,
    base: float = 2.0,
    ray_indices: Integer[Array, " samples"] | None = None,
    n_rays: int | None = None,
    valid: Bool[Array, "*n_rays"] | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    r"""Ask each ray that meets anything to meet it in one place.

    .. math:: H = -\sum_k p_k \log_{\mathrm{base}} p_k,\qquad
        p_k = \frac{\mathrm{weights}_k}{\sum_j \mathrm{weights}_j}

    and 0 for a ray whose opacity does not exceed ``threshold``.

    Args:
        weights: ≥ 0, of either kind. *Weights*, the probability that the ray stops in each
            interval: only what is seen counts, and a solid wall costs nothing. *Alphas*
            (1 − exp(−σδ)), as in the paper: what lies hidden behind a surface counts as well, so a
            ray pays for a second surface and for the inside of a solid; leave an open last interval
            out, of which any density at all makes an alpha of 1.
        opacity: of each ray, ≥ 0; decides which rays count and receives no gradient. ``None`` means
            the sum of ``weights``: with weights, the rendered opacity; with alphas, the quantity
            that the paper compares (its code takes the rendered opacity: pass that).
        threshold: rays with no more opacity count 0, since empty rays should stay empty. They stay
            in the mean, so the weight of a ray does not depend on the others;
            ``valid=opacity > threshold`` takes the mean over the rest alone.
        base: of the logarithm; 2 gives bits, as the code, whose weights belong to it; ``math.e``
            gives nats.
        ray_indices: ray of each sample, sorted, if samples are packed (N,).
        n_rays: number of rays, if samples are packed; an empty ray counts 0.
        valid: which rays count; others may hold anything, NaN included.
        reduction: over valid rays.

    Returns:
        One value a ray, or its reduction, in bits: ≥ 0, with 0 where everything lies in one
        interval, at most log2 of the number of samples. Lengths and the scale of ``weights`` do not
        matter.

    Raises:
        TypeError: ``weights`` or ``opacity`` is not a floating-point array.
        ValueError: ``opacity`` or ``valid`` is not one a ray (nothing is broadcast); a dense ray
            has no sample; ``threshold`` < 0 or ``base`` ≤ 1; ``reduction`` is unknown; or as
            :class:`~nerfreg.rays.RayTermination` for packed samples.

    Numerics: float32 or better. The logarithm takes p as at least 1e-10 and the sum of ``weights``
    counts as at least 1e-10 (1e-3 for float16, whose gradient cannot hold the inverse); both matter
    only where no gradient would be finite.

    Source: Kim et al. 2022 (InfoNeRF), ray entropy minimization. *Differs from upstream in:*
    nothing that shows, given alphas and the rendered opacity: the code adds 1e-10 where a lower
    bound stands here. Its log scaling is ``(ray_entropy(…) + 1e-10).log()``.

    Example:
        >>> import torch
        >>> weights = torch.tensor([[0.2, 0.2, 0.2, 0.2], [0.0, 0.8, 0.0, 0.0]])
        >>> ray_entropy(weights, reduction="none").tolist()
        [2.0, 0.0]
    """
    name = "ray_entropy"
    require_number(name, "threshold", threshold, ">= 0", lambda x: x >= 0)
    require_number(name, "base", base, "> 1", lambda x: x > 1)
    require_floating(name, weights=weights, opacity=opacity)
    rays = ray_layout(name, ray_indices, n_rays, weights=weights)
    require_shape(name, "one a ray of weights", rays.ray_shape, opacity=opacity)
    require_one_device(name, weights=weights, opacity=opacity)
    require_mask(name, rays.ray_shape, valid, weights)
    least = 2.0**-10 if is_float16(weights) else EPS
    counted = None if valid is None else spread(rays, valid)
    (weights,) = at_least_float32(fill_invalid(weights, counted, 0.0))
    xp = namespace(weights)

    mass = total(rays, weights)
    p = weights / spread(rays, clip(mass, least))
    nats = 0.0 - total(rays, p * xp.log(within(p, EPS)))  # no −0 where p is 1
    entropy = nats / math.log(base)
    hit = (mass if opacity is None else opacity) > threshold
    return reduce(xp.where(hit, entropy, 0.0), reduction, valid, function=name)


class RayEntropy(nn.Module):
    """Ask each ray that meets anything to meet it in one place: :func:`ray_entropy`.

    Args:
        threshold: opacity that a ray must exceed to count.
        base: of the logarithm.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Example:
        >>> import torch
        >>> RayEntropy()(torch.tensor([[0.4, 0.4]])).item()
        1.0
    """

    def __init__(
        self, *, threshold: float = 0.1, base: float = 2.0, reduction: Reduction = "mean"
    ) -> None:
        super().__init__()
        self.threshold = threshold
        self.base = base
        self.reduction: Reduction = reduction

    def forward(
        self,
        weights: Float[Array, "*rays samples"],
        opacity: Float[Array, "*n_rays"] | None = None,
        *,
        ray_indices: Integer[Array, " samples"] | None = None,
        n_rays: int | None = None,
        valid: Bool[Array, "*n_rays"] | None = None,
    ) -> Float[Array, "..."]:
        """Compute the loss."""
        return ray_entropy(
            weights,
            opacity,
            threshold=self.threshold,
            base=self.base,
            ray_indices=ray_indices,
            n_rays=n_rays,
            valid=valid,
            reduction=self.reduction,
        )

    def extra_repr(self) -> str:
        """Show the options."""
        return f"threshold={self.threshold}, base={self.base}, reduction={self.reduction!r}"
