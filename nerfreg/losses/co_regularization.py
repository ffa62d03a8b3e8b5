"""Co-regularization: two fields agree where no photograph is (CoR-GS)."""

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from nerfreg.arrays import Array, at_least_float32, detach, namespace
from nerfreg.checks import (
    require_finite,
    require_floating,
    require_mask,
    require_number,
    require_same_shape,
)
from nerfreg.losses.neighbours import bounded
from nerfreg.losses.reduction import Reduction, fill_invalid, reduce

__all__ = ["CoRegularization", "co_regularization"]

# The brightest colour that SSIM sees: fourth powers of it are finite in float32.
BRIGHTEST = 1e3


def co_regularization(
    rgb: Float[Array, "*images height width 3"],
    other: Float[Array, "*images height width 3"],
    *,
    ssim_weight: float = 0.2,
    window: int = 11,
    valid: Bool[Array, "*images"] | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    r"""Pull an image rendered from an unseen pose towards another field's image of the same pose.

    .. math:: (1-w)\operatorname*{mean}_{y,x,c}|\mathrm{rgb}_{yxc}-\mathrm{other}_{yxc}|
        + w\,\big(1-\mathrm{SSIM}(\mathrm{rgb},\,\mathrm{other})\big)

    with w the ``ssim_weight``. Two fields, trained on the same photographs from different random
    states, agree where the photographs decide and differ where they do not. Call it twice, once for
    each field, with the arguments exchanged.

    Args:
        rgb: images that one field renders, in [0, 1]; the gradient is theirs alone.
        other: what the other field renders from the same poses, detached.
        ssim_weight: w, in [0, 1]. 0 leaves the absolute difference, on any array library and
            without pytorch-msssim.
        window: width of SSIM's Gaussian window in pixels, odd, of standard deviation 1.5; images
            must be as large. Patches of 8×8 pixels need 7 or less.
        valid: which images count. Others may hold anything, NaN included.
        reduction: over valid images.

    Returns:
        One value an image, or its reduction; ≥ 0, with 0 exactly where both images are equal; at
        most 1 − w + 2w for colours in [0, 1].

    Raises:
        TypeError: ``rgb`` or ``other`` is not a floating-point array, or no tensor where
            ``ssim_weight`` > 0.
        ValueError: shapes differ, or are not (…, H, W, 3); ``ssim_weight`` is outside [0, 1];
            ``window`` is even, below 3, or larger than the images; ``reduction`` is unknown;
            while values are checked, a valid colour is not finite.
        ImportError: ``ssim_weight`` > 0 and pytorch-msssim is not installed.

    Numerics: float32 or better, under autocast too. A difference beyond 1e15 counts as 1e15, and
    SSIM sees colours beyond ±1000 as ±1000, with gradient 0. SSIM is averaged over channels and
    over the windows that lie inside.

    Source: Zhang et al. 2024 (CoR-GS), the colour term: the loss of 3D Gaussian splatting between
    two renders. *Differs from upstream in:* their SSIM pads images with zeros, so that windows
    reach over the border.

    Example:
        >>> import torch
        >>> black, grey = torch.zeros(16, 16, 3), torch.full((16, 16, 3), 0.5)
        >>> co_regularization(grey, grey).item()
        0.0
        >>> co_regularization(grey, black, ssim_weight=0.0).item()
        0.5
    """
    name = "co_regularization"
    require_floating(name, rgb=rgb, other=other)
    require_same_shape(name, "(…, H, W, 3)", rgb=rgb, other=other)
    if len(rgb.shape) < 3 or rgb.shape[-1] != 3:
        raise ValueError(f"{name}: rgb must be (…, H, W, 3), channels last, got {tuple(rgb.shape)}")
    require_number(name, "ssim_weight", ssim_weight, "in [0, 1]", lambda x: 0 <= x <= 1)
    require_number(name, "window", window, "odd and >= 3", lambda x: x >= 3 and x % 2 == 1)
    require_mask(name, rgb.shape[:-3], valid, rgb)
    require_finite(name, valid, rgb=rgb, other=other)
    if valid is not None:
        in_image = valid[..., None, None, None]
        rgb, other = fill_invalid(rgb, in_image, 0.0), fill_invalid(other, in_image, 0.0)
    rgb, other = at_least_float32(rgb, detach(other))
    xp = namespace(rgb)
    values = xp.mean(xp.abs(bounded(rgb - other)), axis=(-3, -2, -1))
    if ssim_weight > 0:
        similarity = _ssim(name, rgb, other, window)
        values = (1.0 - ssim_weight) * values + ssim_weight * (1.0 - similarity)
    return reduce(values, reduction, valid, function=name)


def _ssim(name: str, rgb: Any, other: Any, window: int) -> Any:
    """Measure the structural similarity of each pair of images."""
    if not isinstance(rgb, Tensor):
        raise TypeError(
            f"{name}: ssim_weight > 0 needs torch tensors, got {type(rgb).__name__};"
            " set ssim_weight=0"
        )
    *images, height, width, _ = rgb.shape
    if min(height, width) < window:
        raise ValueError(
            f"{name}: images must be at least window x window for SSIM, got {height} x {width} and"
            f" window {window}; give a smaller window, or ssim_weight=0"
        )
    try:
        from pytorch_msssim import ssim  # pyright: ignore
    except ImportError as error:
        raise ImportError(
            f"{name}: ssim_weight > 0 needs pytorch-msssim: pip install 'nerfreg[metrics]'"
        ) from error
    dtype = torch.promote_types(rgb.dtype, other.dtype)
    a, b = (
        x.to(dtype).clamp(-BRIGHTEST, BRIGHTEST).reshape(-1, height, width, 3).movedim(-1, 1)
        for x in (rgb, other)
    )
    with torch.autocast(rgb.device.type, enabled=False):
        each: Any = ssim(a, b, data_range=1.0, size_average=False, win_size=window)
    return each.reshape(images)


class CoRegularization(nn.Module):
    """Pull one field's image towards another field's: :func:`co_regularization`.

    Args:
        ssim_weight: share of 1 − SSIM beside the absolute difference.
        window: width of SSIM's window in pixels.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Example:
        >>> import torch
        >>> image = torch.rand(16, 16, 3)
        >>> CoRegularization()(image, image).item()
        0.0
    """

    def __init__(
        self, *, ssim_weight: float = 0.2, window: int = 11, reduction: Reduction = "mean"
    ) -> None:
        super().__init__()
        self.ssim_weight = ssim_weight
        self.window = window
        self.reduction: Reduction = reduction

    def forward(
        self,
        rgb: Float[Array, "*images height width 3"],
        other: Float[Array, "*images height width 3"],
        *,
        valid: Bool[Array, "*images"] | None = None,
    ) -> Float[Array, "..."]:
        """Compute the loss."""
        return co_regularization(
            rgb,
            other,
            ssim_weight=self.ssim_weight,
            window=self.window,
            valid=valid,
            reduction=self.reduction,
        )

    def extra_repr(self) -> str:
        """Show the options."""
        return f"ssim_weight={self.ssim_weight}, window={self.window}, reduction={self.reduction!r}"
