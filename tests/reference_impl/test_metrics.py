"""Metrics against numbers worked out by hand and against scikit-image."""

import math

import pytest
import torch
from skimage.metrics import structural_similarity

from reference_impl import metrics


def images(seed=0):
    generator = torch.Generator().manual_seed(seed)
    truth = torch.rand(30, 41, 3, generator=generator)
    return (truth + 0.1 * torch.randn(truth.shape, generator=generator)).clamp(0, 1), truth


def test_psnr_by_hand():
    truth = torch.full((4, 5, 3), 0.5)
    assert metrics.psnr(truth + 0.1, truth) == pytest.approx(20.0, abs=1e-4)
    half = truth.clone()
    half[:2] += 0.1
    assert metrics.psnr(half, truth) == pytest.approx(20 + 10 * math.log10(2), abs=1e-4)
    assert metrics.psnr(truth, truth) == pytest.approx(100)


def test_ssim_is_scikit_images_over_the_valid_region():
    image, truth = images()
    _, full = structural_similarity(
        truth.numpy(),
        image.numpy(),
        channel_axis=2,
        data_range=1.0,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )
    # The window is 11 wide: five pixels along each border depend on what is beyond it.
    expected = full[5:-5, 5:-5].mean()
    assert metrics.ssim(image, truth) == pytest.approx(expected, abs=1e-5)
    assert metrics.ssim(truth, truth) == pytest.approx(1.0, abs=1e-6)


def test_depth_errors_by_hand():
    depth, truth = torch.tensor([1.0, 3.0, 4.5]), torch.tensor([2.0, 2.0, 5.0])
    assert metrics.depth_mae(depth, truth) == pytest.approx(2.5 / 3)
    relative = metrics.relative_depth_errors(depth, truth)
    torch.testing.assert_close(relative, torch.tensor([0.5, 0.5, 0.1]))


def test_median():
    assert metrics.median(torch.tensor([3.0, 1.0, 2.0])) == 2
    assert metrics.median(torch.tensor([3.0, 1.0])) == 2
    assert math.isnan(metrics.median(torch.zeros(0)))
