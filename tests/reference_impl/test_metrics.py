"""Metrics against numbers worked out by hand and against scikit-image."""

import math

import pytest
import torch
from skimage.metrics import structural_similarity

from reference_impl import metrics
from tests.golden import golden, golden_cases


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


@pytest.mark.parametrize(
    ("size", "lacking"),
    [((11, 20), set()), ((20, 10), {"ssim"}), ((6, 9), {"ssim", "ssim_released"})],
)
def test_images_smaller_than_a_window_have_no_number(size, lacking):
    """Instead of one of another window under the same name."""
    image = torch.rand(*size, 3)
    found = metrics.measure(image, image)
    assert {"ssim", "ssim_released"} - found.keys() == lacking
    assert metrics.too_small(size[1], size[0]).keys() == lacking


def test_depth_errors_by_hand():
    depth, truth = torch.tensor([1.0, 3.0, 4.5]), torch.tensor([2.0, 2.0, 5.0])
    assert metrics.depth_mae(depth, truth) == pytest.approx(2.5 / 3)
    relative = metrics.relative_depth_errors(depth, truth)
    torch.testing.assert_close(relative, torch.tensor([0.5, 0.5, 0.1]))


def test_median():
    assert metrics.median(torch.tensor([3.0, 1.0, 2.0])) == 2
    assert metrics.median(torch.tensor([3.0, 1.0])) == 2
    assert math.isnan(metrics.median(torch.zeros(0)))


@pytest.mark.parametrize("case", golden_cases("metrics"))
def test_released_numbers_are_regnerfs(case):
    upstream = golden("metrics", case)
    truth, image = upstream["img"], upstream["pred"]
    mask = upstream["mask"][..., 0] == 1
    values = metrics.measure(image, truth, mask=mask)
    for ours, theirs in {
        "psnr": "psnr",
        "ssim_released": "ssim_data_range2",
        "psnr_masked": "psnr_masked",
        "ssim_released_masked": "ssim_masked_data_range2",
    }.items():
        assert values[ours] == pytest.approx(float(upstream[theirs]), rel=1e-9), ours
    right = metrics.ssim_released(image, truth, data_range=1.0)
    assert right == pytest.approx(float(upstream["ssim_data_range1"]), rel=1e-9)


@pytest.mark.parametrize("case", golden_cases("metrics"))
def test_average_is_regnerfs(case):
    upstream = golden("metrics", case)
    errors = [
        metrics.average_error(*row)
        for row in zip(
            *(upstream[f"avg_{name}_in"].tolist() for name in ("psnr", "ssim", "lpips")),
            strict=True,
        )
    ]
    assert errors == pytest.approx(upstream["avg_err"].tolist(), rel=1e-9)


def fake(image, truth, *, scaled=True):
    return float((image - truth).abs().mean()) * (2 if scaled else 1)


def test_every_number_names_its_flavour():
    image, truth = images()
    mask = torch.zeros(30, 41, dtype=torch.bool)
    mask[:20] = True
    networks = {"vgg": fake, "alex": fake}
    values = metrics.measure(image, truth, mask=mask, lpips=networks)
    assert {name.removesuffix("_masked") for name in values} <= set(metrics.FLAVOURS)
    # Each twice: of the image and of the object.
    assert len(values) == 2 * 7
    assert values["lpips_vgg"] == 2 * values["lpips_released"]
    expected = metrics.average_error(values["psnr"], values["ssim"], values["lpips_vgg"])
    assert values["average"] == expected
    assert not {"average", "lpips_released"} & set(metrics.measure(image, truth))
    assert "average" not in metrics.measure(image, truth, lpips={"alex": fake})


def test_what_is_outside_of_the_mask_does_not_count():
    image, truth = images()
    mask = torch.zeros(30, 41, dtype=torch.bool)
    mask[5:25, 10:30] = True
    values = metrics.measure(image, truth, mask=mask, lpips={"vgg": fake})
    image[~mask] = torch.rand(30 * 41 - 400, 3)
    again = metrics.measure(image, truth, mask=mask, lpips={"vgg": fake})
    for name in values:
        assert (values[name] == again[name]) == name.endswith("_masked"), name
    whole = metrics.measure(image, truth, mask=torch.ones(30, 41, dtype=torch.bool))
    for name in ("psnr", "ssim", "ssim_released"):
        assert whole[f"{name}_masked"] == pytest.approx(whole[name], rel=1e-6)
