"""Sampling against upstream's numbers, and the laws of an inverse cdf."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nerfreg.views import Rays
from reference_impl.mipnerf.cones import cast
from reference_impl.mipnerf.sampling import even_edges, invert_cdf, resample, stratify
from tests.golden import golden, golden_cases

EXACT = {"rtol": 1e-9, "atol": 1e-10}
EPS32 = torch.finfo(torch.float32).eps


@pytest.mark.parametrize("case", golden_cases("resample"))
@pytest.mark.parametrize("n", [5, 17, 40])
def test_deterministic_quantiles_equal_upstream(case, n):
    data = golden("resample", case)
    quantiles = torch.linspace(0, 1 - EPS32, n, dtype=torch.float64).expand(7, n).contiguous()
    samples = invert_cdf(data["t_vals"], data["weights"], quantiles)
    torch.testing.assert_close(samples, data[f"pdf_det_n{n}"], **EXACT)


@pytest.mark.parametrize("case", golden_cases("resample"))
@pytest.mark.parametrize("kind", ["multi", "single"])
def test_given_quantiles_equal_upstream(case, kind):
    data = golden("resample", case)
    samples = invert_cdf(data["t_vals"], data["weights"], data[f"pdf_rand_{kind}_u"])
    torch.testing.assert_close(samples, data[f"pdf_rand_{kind}"], **EXACT)


@pytest.mark.parametrize("case", golden_cases("resample"))
@pytest.mark.parametrize("padding", [0.0, 0.01, 0.1])
def test_resampling_equals_upstream(case, padding):
    data = golden("resample", case)
    edges = resample(data["t_vals"], data["weights"], 16, padding=padding)
    torch.testing.assert_close(edges, data[f"resample_pad{padding}_t"], **EXACT)
    rays = Rays(data["origins"], data["directions"], data["directions"], data["radii"])
    for shape in ("cone", "cylinder"):
        means, variances = cast(rays, edges, shape)
        torch.testing.assert_close(means, data[f"resample_pad{padding}_{shape}_means"], **EXACT)
        torch.testing.assert_close(variances, data[f"resample_pad{padding}_{shape}_covs"], **EXACT)


@pytest.mark.parametrize("case", golden_cases("resample"))
def test_first_level_equals_upstream(case):
    data = golden("resample", case)
    n = data["strat_det_t"].shape[-1] - 1
    edges = even_edges(data["near"], data["far"], n)
    torch.testing.assert_close(edges, data["strat_det_t"], **EXACT)
    for kind in ("multi", "single"):
        jittered = stratify(edges, data[f"strat_rand_{kind}_u"])
        torch.testing.assert_close(jittered, data[f"strat_rand_{kind}_t"], **EXACT)


def test_disparity_spacing_is_even_in_the_inverse():
    near, far = torch.tensor([[0.5], [2.0]]).double(), torch.tensor([[8.0], [100.0]]).double()
    edges = even_edges(near, far, 6, "disparity")
    torch.testing.assert_close(edges[:, [0, -1]], torch.cat((near, far), -1))
    steps = (1 / edges).diff(dim=-1)
    torch.testing.assert_close(steps, steps[:, :1].expand_as(steps))
    assert (edges.diff(dim=-1) > 0).all()


@given(st.integers(0, 10_000), st.integers(1, 9), st.integers(1, 20), st.booleans())
def test_new_edges_are_sorted_and_stay_inside(seed, bins, n, random):
    generator = torch.Generator().manual_seed(seed)
    edges = torch.rand(4, bins + 1, generator=generator).cumsum(-1)
    weights = torch.rand(4, bins, generator=generator)
    weights = weights * (torch.rand(4, bins, generator=generator) > 0.5)
    uniform = torch.rand(4, n + 1, generator=generator) if random else None
    new = resample(edges, weights, n, padding=0.0, uniform=uniform)
    assert new.shape == (4, n + 1)
    assert new.isfinite().all()
    assert (new.diff(dim=-1) >= 0).all()
    assert (new >= edges[:, :1]).all()
    assert (new <= edges[:, -1:]).all()


def test_samples_follow_the_histogram():
    edges = torch.tensor([[0.0, 1.0, 2.0, 4.0]]).double()
    weights = torch.tensor([[1.0, 0.0, 3.0]]).double()
    quantiles = torch.rand(1, 100_000, dtype=torch.float64).sort(-1).values
    samples = invert_cdf(edges, weights, quantiles)
    counts = torch.histogram(samples[0], edges[0]).hist / samples.shape[-1]
    torch.testing.assert_close(counts, torch.tensor([0.25, 0.0, 0.75]).double(), rtol=0, atol=6e-3)
