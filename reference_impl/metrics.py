"""How good a rendering is. Every number's name says which flavour it is.

Images are (H, W, 3) in [0, 1]. :func:`measure` is what evaluation calls; the rest are its parts.
"""

import math
from collections.abc import Mapping
from typing import Protocol

import torch
from pytorch_msssim import ssim as gaussian_ssim
from torch import Tensor
from torch.nn.functional import avg_pool2d

__all__ = [
    "FLAVOURS",
    "Lpips",
    "average_error",
    "depth_mae",
    "measure",
    "median",
    "psnr",
    "relative_depth_errors",
    "ssim",
    "ssim_released",
    "too_small",
]

# Pixels on either side of the windows.
SSIM_SIDE, RELEASED_SIDE = 11, 7

# What metrics.json says of each number in it.
FLAVOURS = {
    "psnr": "dB, of each image's mean squared error, then averaged",
    "ssim": "11x11 Gaussian window, sigma 1.5, data_range 1, valid region",
    "ssim_released": "as RegNeRF's released evaluation computed it: scikit-image, 7x7 uniform"
    " window, sample covariance, data_range 2 (for images in [0, 1]: too high)",
    "lpips_vgg": "LPIPS v0.1, VGG16, images scaled to [-1, 1]",
    "lpips_alex": "LPIPS v0.1, AlexNet, images scaled to [-1, 1]",
    "lpips_squeeze": "LPIPS v0.1, SqueezeNet 1.1, images scaled to [-1, 1]",
    "lpips_released": "LPIPS v0.1, VGG16, images left in [0, 1], as FreeNeRF and SparseNeRF do",
    "average": "RegNeRF's: geometric mean of 10^(-psnr/10), sqrt(1 - ssim) and lpips_vgg of each"
    " image, then averaged",
    "_masked": "of the object's pixels alone: psnr over them; the others with everything else white"
    " in both images",
    "depth_mae": "mean |z-depth error|, scene units, exact depth",
    "depth_error": "median |z-depth error| / z-depth at points known from structure-from-motion or"
    " a depth sensor in the views measured; in the mean: over all points of all of them",
}


class Lpips(Protocol):
    """A perceptual distance of two images: 0 for equal ones."""

    def __call__(self, image: Tensor, truth: Tensor, *, scaled: bool = True) -> float:
        """Compare; ``scaled``: bring [0, 1] to [−1, 1] first, as LPIPS expects."""
        ...


def measure(
    image: Tensor,
    truth: Tensor,
    *,
    mask: Tensor | None = None,
    lpips: Mapping[str, Lpips] | None = None,
) -> dict[str, float]:
    """Compare a rendering with its photograph in every flavour.

    Args:
        image: rendered.
        truth: photographed.
        mask: (H, W) bool, the object's pixels; adds every number once more for them alone, under
            its name with ``_masked``.
        lpips: perceptual distances by the name of their network; without ``vgg`` there is no
            ``average``.

    Returns:
        Numbers by the names in :data:`FLAVOURS`.
    """
    values = _compare(image, truth, psnr(image, truth), lpips or {})
    if mask is not None:
        # As RegNeRF does: errors count where the object is, windows look at it on white.
        outside = ~mask[..., None]
        a, b = image.masked_fill(outside, 1.0), truth.masked_fill(outside, 1.0)
        masked = _compare(a, b, psnr(image[mask], truth[mask]), lpips or {})
        values |= {f"{name}_masked": value for name, value in masked.items()}
    return values


def _compare(
    image: Tensor, truth: Tensor, own_psnr: float, lpips: Mapping[str, Lpips]
) -> dict[str, float]:
    small = too_small(image.shape[1], image.shape[0])
    values = {
        "psnr": own_psnr,
        **({} if "ssim" in small else {"ssim": ssim(image, truth)}),
        **({} if "ssim_released" in small else {"ssim_released": ssim_released(image, truth)}),
        **{f"lpips_{name}": distance(image, truth) for name, distance in lpips.items()},
    }
    if "vgg" in lpips:
        values["lpips_released"] = lpips["vgg"](image, truth, scaled=False)
    if "vgg" in lpips and "ssim" in values:
        values["average"] = average_error(values["psnr"], values["ssim"], values["lpips_vgg"])
    return values


def too_small(width: int, height: int) -> dict[str, str]:
    """Which metrics images of this size have not, and why: their windows do not fit in."""
    return {
        name: f"images of {width}x{height} pixels, {side} is the least on either side"
        for name, side in (("ssim", SSIM_SIDE), ("ssim_released", RELEASED_SIDE))
        if min(width, height) < side
    }


def psnr(image: Tensor, truth: Tensor) -> float:
    """Peak signal-to-noise ratio in dB of colours (…, 3) in [0, 1]."""
    return -10 * math.log10(max(float((image - truth).square().mean()), 1e-10))


def ssim(image: Tensor, truth: Tensor) -> float:
    """Structural similarity: 11x11 Gaussian, σ 1.5, data_range 1."""
    a, b = (x.permute(2, 0, 1)[None].float() for x in (image, truth))
    return float(gaussian_ssim(a, b, data_range=1.0, win_size=SSIM_SIDE))


def ssim_released(image: Tensor, truth: Tensor, *, data_range: float = 2.0) -> float:
    """Structural similarity as RegNeRF's code computed it: scikit-image's defaults of its time.

    7x7 uniform window inside the image, covariances of a sample. Of floating-point images it took
    the range to be 2, [−1, 1], though they lie in [0, 1]; that makes every image look better.
    """
    a, b = (x.permute(2, 0, 1)[None].double() for x in (image, truth))

    def mean(x: Tensor) -> Tensor:
        return avg_pool2d(x, RELEASED_SIDE, stride=1)

    of_sample = RELEASED_SIDE**2 / (RELEASED_SIDE**2 - 1)
    mean_a, mean_b = mean(a), mean(b)
    var_a = of_sample * (mean(a * a) - mean_a**2)
    var_b = of_sample * (mean(b * b) - mean_b**2)
    cov = of_sample * (mean(a * b) - mean_a * mean_b)
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    similarity = (2 * mean_a * mean_b + c1) * (2 * cov + c2)
    return float((similarity / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))).mean())


def average_error(psnr: float, ssim: float, lpips: float) -> float:
    """RegNeRF's one number an image: geometric mean of three errors, each 0 for a perfect image."""
    return (10 ** (-psnr / 10) * math.sqrt(max(1 - ssim, 0)) * max(lpips, 0)) ** (1 / 3)


def depth_mae(depth: Tensor, truth: Tensor) -> float:
    """Mean absolute error of z-depth, in the scene's unit."""
    return float((depth - truth).abs().mean())


def relative_depth_errors(depth: Tensor, truth: Tensor) -> Tensor:
    """|depth − truth| / truth of each point."""
    return (depth - truth).abs() / truth


def median(values: Tensor) -> float:
    """The middle value; NaN of nothing."""
    return float(torch.quantile(values.double(), 0.5)) if values.numel() else math.nan
