"""Likelihood of a pixel's colour under the colours along its ray (MixNeRF)."""

import math
from typing import Any, Literal

from jaxtyping import Bool, Float, Integer
from torch import nn

from nerfreg.arrays import Array, at_least_float32, clip, detach, is_float16, namespace
from nerfreg.checks import (
    require_choice,
    require_finite,
    require_floating,
    require_mask,
    require_number,
    require_one_device,
    require_shape,
    require_values,
)
from nerfreg.losses.reduction import Reduction, fill_invalid, reduce
from nerfreg.rays.layout import Layout, largest, ray_layout, spread, total

__all__ = ["MixtureNLL", "mixture_nll"]

Form = Literal["mixture", "released"]

FAR = 1e6


def mixture_nll(
    weights: Float[Array, "*rays samples"],
    rgb: Float[Array, "*rays samples channels"],
    scale: Float[Array, "*rays samples channels"],
    target: Float[Array, "*n_rays channels"],
    *,
    form: Form = "mixture",
    eps: float | None = None,
    min_scale: float = 1e-3,
    ray_indices: Integer[Array, " samples"] | None = None,
    n_rays: int | None = None,
    valid: Bool[Array, "*n_rays"] | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    r"""Explain a pixel's colour by the colours along its ray, each with a width of its own.

    .. math:: -\log \sum_k \pi_k \prod_c \frac{1}{2\,\mathrm{scale}_{kc}}
        \exp\Big(-\frac{|\mathrm{target}_c - \mathrm{rgb}_{kc}|}{\mathrm{scale}_{kc}}\Big),\qquad
        \pi_k = \frac{\mathrm{weights}_k + \varepsilon}{\sum_j (\mathrm{weights}_j + \varepsilon)}

    The rendered colour may be right by mixing two wrong ones; here a sample that the ray stops in
    must have the colour itself.

    Args:
        weights: probability that the ray stops in each interval.
        rgb: colour of each sample, in [0, 1]; any number of channels.
        scale: of the Laplace distribution of each sample and channel, > 0, in the unit of ``rgb``:
            an extra output of the field, through a softplus.
        target: the pixel's colour.
        form: ``"mixture"``; ``"released"`` is −log(Σ_k π_k … + ε) with π_k = weights_k /
            (Σ_j weights_j + ε), which for outliers saturates at −log ε, without gradient.
        eps: ε; ``None`` means 1e-6 for ``"mixture"`` and, as published, 1e-12 for ``"released"``;
            1e-4 for float16 weights, whose gradient cannot hold 1/ε.
        min_scale: what ``scale`` counts as at least, or a colour that is met would be rewarded
            without end. The scale has no gradient below.
        ray_indices: ray of each sample, sorted, if samples are packed (N,); ``rgb`` and ``scale``
            are then (N, channels).
        n_rays: number of rays, if samples are packed.
        valid: which rays count; others may hold anything, NaN included.
        reduction: over valid rays.

    Returns:
        One value a ray, or its reduction; nats of a density, all channels together, so negative
        where a colour is met well: ≥ channels · log(2 · ``min_scale``), −18.6 by default, where all
        samples have the target's colour and the least scale. A ray of opacity 0 has no mixture and
        counts 0 (``"released"``: −log ε).

    Raises:
        TypeError: an argument is not a floating-point array.
        ValueError: ``rgb`` or ``scale`` is not one colour a sample, ``target`` not one a ray, or
            ``valid`` not one a ray (nothing is broadcast); a dense ray has no sample; ``eps`` or
            ``min_scale`` ≤ 0; an option is unknown; while values are checked, a valid ``scale`` ≤ 0
            or ``target`` that is not finite; or as :class:`~nerfreg.rays.RayTermination` for packed
            samples.

    Numerics: float32 or better; ``"mixture"`` through log-sum-exp, so an outlier keeps its gradient
    however far it is. ε bounds the gradient to weights by 1/ε. Colours further apart than 1e6 count
    as that. Weights are probabilities: sums beyond the largest number are not provided for. In
    float16, gradients to scales below 0.01 overflow.

    Source: Seo et al. 2023 (MixNeRF), the mixture of Laplace distributions and its code. *Differs
    from upstream in:* the log-sum-exp and where ε stands (``"released"`` has theirs);
    ``min_scale``; rays of opacity 0, which are NaN there.

    Example:
        >>> import torch
        >>> rgb = torch.tensor([[[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]]])
        >>> scale, grey = torch.full_like(rgb, 0.1), torch.full((1, 3), 0.5)
        >>> half = torch.tensor([[0.5, 0.5]])  # renders the grey asked for, out of black and white
        >>> round(mixture_nll(half, rgb, scale, grey).item(), 2)
        10.17
        >>> round(mixture_nll(half, torch.full_like(rgb, 0.5), scale, grey).item(), 2)
        -4.83
    """
    name = "mixture_nll"
    require_choice(name, "form", form, ("mixture", "released"))
    if eps is not None:
        require_number(name, "eps", eps, "> 0", lambda x: x > 0)
    require_number(name, "min_scale", min_scale, "> 0", lambda x: x > 0)
    require_floating(name, weights=weights, rgb=rgb, scale=scale, target=target)
    rays = ray_layout(name, ray_indices, n_rays, weights=weights)
    channels = target.shape[-1] if len(target.shape) > 0 else 3
    require_shape(name, "one colour a ray of weights", (*rays.ray_shape, channels), target=target)
    a_sample = (*weights.shape, channels)
    require_shape(name, "one colour a sample of weights, as target", a_sample, rgb=rgb, scale=scale)
    require_one_device(name, weights=weights, rgb=rgb, scale=scale, target=target)
    require_mask(name, rays.ray_shape, valid, weights)
    require_finite(name, valid, target=target)
    if eps is None:
        eps = 1e-4 if is_float16(weights) else 1e-6 if form == "mixture" else 1e-12
    if valid is not None:
        weights = fill_invalid(weights, spread(rays, valid), 0.0)
        at_colors = _to_colors(rays, valid[..., None])
        rgb, scale = fill_invalid(rgb, at_colors, 0.0), fill_invalid(scale, at_colors, 1.0)
        target = fill_invalid(target, valid[..., None], 0.0)
    require_values(name, "scale", scale, "> 0", lambda x: x > 0)
    weights, rgb, scale, target = at_least_float32(weights, rgb, scale, target)

    xp = namespace(weights)
    scale = clip(scale, min_scale)
    away = clip(xp.abs(rgb - _to_colors(rays, target)), None, FAR)
    log_likelihood = -xp.sum(away / scale + xp.log(scale) + math.log(2.0), axis=-1)
    opacity = total(rays, weights)
    some = opacity > 0
    if form == "released":
        likelihood = total(rays, weights * xp.exp(log_likelihood)) / (opacity + eps)
        values = -xp.log(xp.where(some, likelihood, 0.0) + eps)
        return reduce(values, reduction, valid, function=name)

    best = largest(rays, detach(log_likelihood), -math.inf)
    share = weights + eps
    likelihood = total(rays, share * xp.exp(log_likelihood - spread(rays, best)))
    # Where there is a mixture, both sums are at least ε; elsewhere their logarithms are 0.
    values = xp.log(xp.where(some, total(rays, share), 1.0)) - xp.where(some, best, 0.0)
    values = values - xp.log(xp.where(some, likelihood, 1.0))
    return reduce(values, reduction, valid, function=name)


def _to_colors(rays: Layout, per_ray: Any) -> Any:
    """Give each sample its ray's colour (dense: an axis that broadcasts)."""
    return per_ray[..., None, :] if rays.ray_indices is None else spread(rays, per_ray)


class MixtureNLL(nn.Module):
    """Explain a pixel's colour by the colours along its ray: :func:`mixture_nll`.

    Args:
        form: ``"mixture"`` or ``"released"``.
        eps: ``None`` means the form's own.
        min_scale: what a scale counts as at least.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Example:
        >>> import torch
        >>> rgb, scale = torch.zeros(1, 4, 3), torch.full((1, 4, 3), 0.5)
        >>> loss = MixtureNLL()(torch.full((1, 4), 0.25), rgb, scale, torch.ones(1, 3))
        >>> round(loss.item(), 4)  # 3 channels, each 2 scales away
        6.0
    """

    def __init__(
        self,
        *,
        form: Form = "mixture",
        eps: float | None = None,
        min_scale: float = 1e-3,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        self.form: Form = form
        self.eps = eps
        self.min_scale = min_scale
        self.reduction: Reduction = reduction

    def forward(
        self,
        weights: Float[Array, "*rays samples"],
        rgb: Float[Array, "*rays samples channels"],
        scale: Float[Array, "*rays samples channels"],
        target: Float[Array, "*n_rays channels"],
        *,
        ray_indices: Integer[Array, " samples"] | None = None,
        n_rays: int | None = None,
        valid: Bool[Array, "*n_rays"] | None = None,
    ) -> Float[Array, "..."]:
        """Compute the loss."""
        return mixture_nll(
            weights,
            rgb,
            scale,
            target,
            form=self.form,
            eps=self.eps,
            min_scale=self.min_scale,
            ray_indices=ray_indices,
            n_rays=n_rays,
            valid=valid,
            reduction=self.reduction,
        )

    def extra_repr(self) -> str:
        """Show the options."""
        return (
            f"form={self.form!r}, eps={self.eps}, min_scale={self.min_scale},"
            f" reduction={self.reduction!r}"
        )
