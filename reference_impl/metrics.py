"""How good a rendering is. Every number says which flavour it is."""

import math

import torch
from pytorch_msssim import ssim as gaussian_ssim
from torch import Tensor


def psnr(image: Tensor, truth: Tensor) -> float:
    """Peak signal-to-noise ratio in dB of images (H, W, 3) in [0, 1]."""
    return -10 * math.log10(max(float((image - truth).square().mean()), 1e-10))


def ssim(image: Tensor, truth: Tensor) -> float:
    """Structural similarity of images (H, W, 3) in [0, 1]: 11x11 Gaussian, σ 1.5, data_range 1."""
    a, b = (x.permute(2, 0, 1)[None].float() for x in (image, truth))
    return float(gaussian_ssim(a, b, data_range=1.0))


def depth_mae(depth: Tensor, truth: Tensor) -> float:
    """Mean absolute error of z-depth, in the scene's unit."""
    return float((depth - truth).abs().mean())


def relative_depth_errors(depth: Tensor, truth: Tensor) -> Tensor:
    """|depth − truth| / truth of each point."""
    return (depth - truth).abs() / truth


def median(values: Tensor) -> float:
    """The middle value; NaN of nothing."""
    return float(torch.quantile(values.double(), 0.5)) if values.numel() else math.nan
