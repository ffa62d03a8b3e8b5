"""Encodings against upstream's numbers."""

import pytest
import torch

from reference_impl.mipnerf.encoding import encode_gaussian, encode_point, expected_sin
from tests.golden import golden, golden_cases

EXACT = {"rtol": 1e-9, "atol": 1e-9}


@pytest.mark.parametrize("case", golden_cases("ipe"))
def test_gaussians_equal_upstream(case):
    data = golden("ipe", case)
    degrees = int(data["min_deg"]), int(data["max_deg"])
    mean, variance = data["x"].clone().requires_grad_(), data["cov_diag"].clone().requires_grad_()
    features = encode_gaussian(mean, variance, *degrees)
    torch.testing.assert_close(features, data["ipe_diag"], **EXACT)
    gradients = torch.autograd.grad((features * data["cot"]).sum(), (mean, variance))
    # Derivatives reach 2¹⁵ and 4¹⁵: the phase's rounding grows with them.
    for gradient, name in zip(gradients, ("x", "cov"), strict=True):
        expected = data[f"ipe_diag_grad_{name}"]
        torch.testing.assert_close(
            gradient, expected, rtol=1e-9, atol=1e-9 * float(expected.abs().max())
        )
    diagonal = data["cov_full"].diagonal(dim1=-2, dim2=-1)
    torch.testing.assert_close(
        encode_gaussian(data["x"], diagonal, *degrees), data["ipe_full"], **EXACT
    )


@pytest.mark.parametrize("case", golden_cases("ipe"))
def test_points_equal_upstream(case):
    data = golden("ipe", case)
    view = data["viewdirs"]
    torch.testing.assert_close(
        encode_point(view, 0, 4, append_identity=True), data["pe_view_deg4_id"], **EXACT
    )
    torch.testing.assert_close(encode_point(view, 0, 4), data["pe_view_deg4_noid"], **EXACT)
    degrees = int(data["min_deg"]), int(data["max_deg"])
    features = encode_point(data["x"], *degrees, append_identity=True)
    torch.testing.assert_close(features, data["pe_x_mind_maxd_id"], **EXACT)


@pytest.mark.parametrize("case", golden_cases("ipe"))
def test_expected_sin_equals_upstream(case):
    data = golden("ipe", case)
    mean, spread = expected_sin(data["es_x"], data["es_var"])
    torch.testing.assert_close(mean, data["es_mean"], **EXACT)
    torch.testing.assert_close(spread, data["es_yvar"], **EXACT)


def test_gaussian_encoding_is_the_mean_encoding_of_its_points():
    generator = torch.Generator().manual_seed(0)
    mean = torch.tensor([0.3, -0.7, 1.1], dtype=torch.float64)
    variance = torch.tensor([0.04, 0.01, 0.0], dtype=torch.float64)
    draws = torch.randn(200_000, 3, generator=generator, dtype=torch.float64)
    sampled = encode_point(mean + variance.sqrt() * draws, 0, 4).mean(0)
    # The standard error of a mean of sines over 200000 draws is at most 0.0016.
    torch.testing.assert_close(encode_gaussian(mean, variance, 0, 4), sampled, rtol=0, atol=7e-3)


def test_a_point_is_a_gaussian_without_extent():
    point = torch.rand(5, 3, dtype=torch.float64)
    torch.testing.assert_close(
        encode_gaussian(point, torch.zeros_like(point), 0, 8), encode_point(point, 0, 8)
    )


def test_frequencies_finer_than_the_gaussian_vanish():
    features = encode_gaussian(torch.rand(4, 3), torch.full((4, 3), 0.5), 0, 12)
    assert features.unflatten(-1, (2, 12, 3))[..., 5:, :].abs().max() < 1e-6
    assert features.isfinite().all()
