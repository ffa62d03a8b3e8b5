"""Co-regularization against loops and scikit-image, by hand, without its extra, at its edges."""

import sys

import numpy as np
import pytest
import torch

from nerfreg.losses import CoRegularization, co_regularization


def slow_ssim(a, b, window) -> float:
    """Average SSIM over the windows inside, of one channel (H, W)."""
    # pytorch-msssim computes its window in float32.
    x = np.arange(window) - window // 2
    g = np.exp(-(x.astype(np.float32) ** 2) / np.float32(2 * 1.5**2))
    g = (g / g.sum()).astype(np.float64)
    kernel = np.outer(g, g)
    values = []
    for i in range(a.shape[0] - window + 1):
        for j in range(a.shape[1] - window + 1):
            p, q = a[i : i + window, j : j + window], b[i : i + window, j : j + window]
            mu_p, mu_q = (kernel * p).sum(), (kernel * q).sum()
            var_p, var_q = (kernel * p * p).sum() - mu_p**2, (kernel * q * q).sum() - mu_q**2
            cov = (kernel * p * q).sum() - mu_p * mu_q
            luminance = (2 * mu_p * mu_q + 1e-4) / (mu_p**2 + mu_q**2 + 1e-4)
            values.append(luminance * (2 * cov + 9e-4) / (var_p + var_q + 9e-4))
    return float(np.mean(values))


def slow_co_regularization(rgb, other, ssim_weight, window) -> np.ndarray:
    values = []
    for a, b in zip(rgb, other, strict=True):
        similarity = np.mean([slow_ssim(a[..., c], b[..., c], window) for c in range(3)])
        difference = np.mean([abs(x - y) for x, y in zip(a.flat, b.flat, strict=True)])
        values.append((1 - ssim_weight) * difference + ssim_weight * (1 - similarity))
    return np.array(values)


def images(*size: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    rgb = rng.random(size)
    return rgb, np.clip(rgb + 0.2 * rng.normal(size=size), 0.0, 1.0)


@pytest.mark.parametrize("ssim_weight", [0.2, 0.0, 1.0])
@pytest.mark.parametrize(("size", "window"), [((12, 14), 11), ((8, 8), 7), ((11, 11), 11)])
@pytest.mark.parametrize("with_valid", [False, True])
def test_agrees_with_loops(ssim_weight, size, window, with_valid) -> None:
    rgb, other = images(3, *size, 3)
    valid = np.array([True, False, True]) if with_valid else np.ones(3, bool)
    expected = slow_co_regularization(rgb, other, ssim_weight, window) * valid
    for reduction, value in [
        ("none", expected),
        ("sum", expected.sum()),
        ("mean", expected.sum() / valid.sum()),
    ]:
        got = co_regularization(
            torch.from_numpy(rgb),
            torch.from_numpy(other),
            ssim_weight=ssim_weight,
            window=window,
            valid=torch.from_numpy(valid) if with_valid else None,
            reduction=reduction,
        )
        np.testing.assert_allclose(got.numpy(), value, rtol=1e-6)


def test_ssim_is_scikit_images() -> None:
    metrics = pytest.importorskip("skimage.metrics")
    rgb, other = images(24, 20, 3)
    similarity = metrics.structural_similarity(
        rgb,
        other,
        channel_axis=-1,
        data_range=1.0,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    got = co_regularization(torch.from_numpy(rgb), torch.from_numpy(other), ssim_weight=1.0)
    assert got.item() == pytest.approx(1 - similarity, rel=1e-5)


def test_by_hand() -> None:
    """Grey ½ beside black: differences ½; both are flat, so SSIM is C₁ / (¼ + C₁), C₁ = 10⁻⁴."""
    grey, black = torch.full((16, 16, 3), 0.5), torch.zeros(16, 16, 3)
    value = co_regularization(grey, black)
    assert value.item() == pytest.approx(0.8 * 0.5 + 0.2 * (1 - 1e-4 / 0.2501), rel=1e-5)


@pytest.mark.parametrize("batch", [(), (2,), (2, 3)])
def test_takes_images_in_any_batch(batch) -> None:
    rgb, other = torch.rand(2, *batch, 12, 12, 3)
    each = co_regularization(rgb, other, reduction="none")
    assert each.shape == batch
    flat = co_regularization(rgb.reshape(-1, 12, 12, 3), other.reshape(-1, 12, 12, 3))
    torch.testing.assert_close(each.mean(), flat)


def test_each_field_learns_from_the_other_alone() -> None:
    first, second = (torch.rand(12, 12, 3).requires_grad_() for _ in range(2))
    co_regularization(first, second).backward()
    assert first.grad.any()
    assert second.grad is None


def test_flat_and_overexposed_images_stay_finite() -> None:
    for fill in (0.0, 1.0, 1e10, 3e38):
        rgb = torch.full((2, 12, 12, 3), fill, requires_grad=True)
        value = co_regularization(rgb, torch.zeros(2, 12, 12, 3))
        value.backward()
        assert value.isfinite()
        assert rgb.grad.isfinite().all()


def test_autocast_does_not_reach_the_windows() -> None:
    rgb, other = torch.rand(2, 2, 16, 16, 3)
    expected = co_regularization(rgb, other, ssim_weight=1.0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = co_regularization(rgb, other, ssim_weight=1.0)
    assert torch.equal(got, expected)


@pytest.mark.parametrize("reverse", [False, True])
def test_images_of_two_precisions(reverse) -> None:
    a, b = torch.rand(2, 12, 12, 3, dtype=torch.float64)
    expected = co_regularization(a, b)
    a, b = (a.float(), b) if reverse else (a, b.float())
    assert co_regularization(a, b).item() == pytest.approx(expected.item(), rel=1e-5)


def test_without_ssim_any_library_and_any_size_will_do() -> None:
    rgb, other = images(2, 1, 2, 3)
    expected = abs(rgb - other).mean()
    assert co_regularization(rgb, other, ssim_weight=0.0) == pytest.approx(expected)
    jax = pytest.importorskip("jax")
    got = co_regularization(jax.numpy.asarray(rgb), jax.numpy.asarray(other), ssim_weight=0.0)
    assert float(got) == pytest.approx(expected, rel=1e-6)


def test_a_missing_extra_is_named(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pytorch_msssim", None)
    rgb = torch.rand(12, 12, 3)
    with pytest.raises(ImportError, match=r"pip install 'nerfreg\[metrics\]'"):
        co_regularization(rgb, rgb)
    assert co_regularization(rgb, rgb, ssim_weight=0.0).item() == 0.0


RGB = torch.ones(3, 12, 12, 3)


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize(
    ("error", "message", "arguments", "options"),
    [
        (
            ValueError,
            r"rgb must be \(…, H, W, 3\), channels last, got \(3, 3, 12, 12\)",
            (RGB.movedim(-1, 1), RGB.movedim(-1, 1)),
            {},
        ),
        (ValueError, r"rgb, other must share one shape", (RGB, RGB[0]), {}),
        (
            ValueError,
            r"at least window x window for SSIM, got 8 x 12 and window 11; give a smaller window",
            (RGB[:, :8], RGB[:, :8]),
            {},
        ),
        (ValueError, r"window must be a number odd and >= 3, got 4", (RGB, RGB), {"window": 4}),
        (ValueError, r"window must be a number odd and >= 3, got 1", (RGB, RGB), {"window": 1}),
        (
            ValueError,
            r"ssim_weight must be a number in \[0, 1\], got 1.2",
            (RGB, RGB),
            {"ssim_weight": 1.2},
        ),
        (ValueError, r"reduction must be", (RGB, RGB), {"reduction": "max"}),
        (ValueError, r"valid must be boolean of shape \(3,\)", (RGB, RGB), {"valid": RGB}),
        (ValueError, r"one device", (RGB, RGB.to("meta")), {}),
        (TypeError, r"rgb must be floating point", (RGB.byte(), RGB), {}),
        (
            TypeError,
            r"ssim_weight > 0 needs torch tensors, got ndarray; set ssim_weight=0",
            (RGB.numpy(), RGB.numpy()),
            {},
        ),
    ],
)
def test_says_what_is_wrong(error, message, arguments, options) -> None:
    with pytest.raises(error, match="^co_regularization: .*" + message):
        co_regularization(*arguments, **options)


def test_module_shows_its_options() -> None:
    shown = repr(CoRegularization(ssim_weight=0.5, window=7))
    assert shown == "CoRegularization(ssim_weight=0.5, window=7, reduction='mean')"
