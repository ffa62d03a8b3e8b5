"""Cones and cylinders against upstream's numbers and against sampling."""

import pytest
import torch

from nerfreg.views import Rays
from reference_impl.mipnerf.cones import cast, cone_moments, lift
from tests.golden import golden, golden_cases


def _rays(data, requires_grad=False):
    origins, directions, radii = (
        data[name].clone().requires_grad_(requires_grad)
        for name in ("origins", "directions", "radii")
    )
    return Rays(origins, directions, directions, radii)


@pytest.mark.parametrize("case", golden_cases("cast_rays"))
@pytest.mark.parametrize("shape", ["cone", "cylinder"])
@pytest.mark.parametrize("kind", ["diag", "full"])
def test_cast_equals_upstream(case, shape, kind):
    data = golden("cast_rays", case)
    rays = _rays(data, requires_grad=True)
    edges = data["t_vals"].clone().requires_grad_()
    means, covariances = cast(rays, edges, shape, diagonal=kind == "diag")
    torch.testing.assert_close(means, data[f"{shape}_{kind}_means"], rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(covariances, data[f"{shape}_{kind}_covs"], rtol=1e-9, atol=1e-10)
    pulled = (means * data[f"{shape}_{kind}_cot_means"]).sum()
    pulled = pulled + (covariances * data[f"{shape}_{kind}_cot_covs"]).sum()
    inputs = (edges, rays.origins, rays.directions, rays.radii)
    names = ("t_vals", "origins", "directions", "radii")
    for name, gradient in zip(names, torch.autograd.grad(pulled, inputs), strict=True):
        expected = data[f"{shape}_{kind}_grad_{name}"]
        torch.testing.assert_close(
            gradient, expected, rtol=1e-9, atol=1e-10, msg=lambda m, n=name: f"{n}: {m}"
        )


@pytest.mark.parametrize("case", golden_cases("cast_rays"))
def test_moments_equal_the_unstable_textbook_form(case):
    data = golden("cast_rays", case)
    starts, ends = data["cone_unstable_t0"], data["cone_unstable_t1"]
    edges = torch.stack((starts, ends), -1)
    means, variances = lift(
        data["directions"][:, None].expand(-1, starts.shape[1], -1),
        *cone_moments(edges, data["radii"][:, None]),
    )
    torch.testing.assert_close(
        means[..., 0, :], data["cone_stable_means_noorigin"], rtol=1e-9, atol=1e-10
    )
    torch.testing.assert_close(
        variances[..., 0, :], data["cone_stable_covs"], rtol=1e-9, atol=1e-10
    )
    # The textbook form cancels: that it agrees only so far is why it is not used.
    torch.testing.assert_close(
        means[..., 0, :], data["cone_unstable_means_noorigin"], rtol=1e-6, atol=1e-8
    )
    torch.testing.assert_close(
        variances[..., 0, :], data["cone_unstable_covs"], rtol=1e-6, atol=1e-8
    )


def test_moments_equal_those_of_points_drawn_in_the_frustum():
    generator = torch.Generator().manual_seed(1)
    near, far, radius, n = 1.0, 3.0, 0.2, 400_000
    uniform = torch.rand(3, n, generator=generator, dtype=torch.float64)
    # Uniform in volume: t³ uniform between the bounds, distance from the axis as the root of a
    # uniform.
    t = (near**3 + (far**3 - near**3) * uniform[0]) ** (1 / 3)
    across = radius * t * uniform[1].sqrt() * torch.cos(2 * torch.pi * uniform[2])
    mean, along, spread = cone_moments(
        torch.tensor([near, far], dtype=torch.float64), torch.tensor([radius], dtype=torch.float64)
    )
    torch.testing.assert_close(mean[0], t.mean(), rtol=2e-3, atol=0)
    torch.testing.assert_close(along[0], t.var(), rtol=5e-3, atol=0)
    torch.testing.assert_close(spread[0], across.var(), rtol=5e-3, atol=0)


def test_far_thin_frusta_do_not_cancel_in_float32():
    edges = torch.tensor([1000.0, 1000.01])
    _, along, _ = cone_moments(edges, torch.tensor([1e-3]))
    half = (edges[1].double() - edges[0].double()) / 2
    torch.testing.assert_close(along[0].double(), half.square() / 3, rtol=1e-4, atol=0)
