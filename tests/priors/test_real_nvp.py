"""RealNVP: a true density, bounded where nothing was learnt, one graph."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from nerfreg.priors import RealNVP, RealNVPConfig

SMALL = RealNVPConfig(patch_size=2, n_couplings=3, width=7, depth=2)


def patches(n: int = 400, size: int = 2, seed: int = 0) -> Tensor:
    """Patches whose pixels are alike, as those of photographs are."""
    generator = torch.Generator().manual_seed(seed)
    shade = torch.rand(n, 1, 1, 1, generator=generator)
    return shade + 0.05 * torch.randn(n, size, size, 3, generator=generator)


def shaken(config: RealNVPConfig = SMALL, seed: int = 0) -> RealNVP:
    """A flow whose last layers are not zero any more."""
    torch.manual_seed(seed)
    flow = RealNVP(config)
    for name, parameter in flow.named_parameters():
        if parameter.abs().max() == 0 and name.endswith("weight"):
            torch.nn.init.normal_(parameter, std=0.3)
    flow.double().standardize_(patches(size=config.patch_size))
    return flow


def to_gaussian(flow: RealNVP, x: Tensor) -> Tensor:
    for layer in reversed(flow.flow.flows):
        x, _ = layer.inverse(x)
    return x


@pytest.mark.parametrize("basis", ["principal", "pixels"])
@pytest.mark.parametrize("size", [2, 3])
def test_the_density_is_the_change_of_variables(basis: Any, size: int) -> None:
    flow = shaken(RealNVPConfig(patch_size=size, n_couplings=3, width=7, depth=1, basis=basis))
    x = patches(5, size, seed=1).flatten(1).double()
    for row, got in zip(x, flow.log_prob(x), strict=True):
        jacobian = torch.autograd.functional.jacobian(lambda v: to_gaussian(flow, v[None])[0], row)
        z = to_gaussian(flow, row[None])[0]
        gaussian = -0.5 * z.square().sum() - 0.5 * len(z) * math.log(2 * math.pi)
        torch.testing.assert_close(got, gaussian + torch.linalg.slogdet(jacobian)[1])


def test_before_training_it_is_the_gaussian_of_the_data() -> None:
    data = patches(5000)
    flow = RealNVP(SMALL).double()
    flow.standardize_(data)
    x = data.flatten(1).double()
    gaussian = torch.distributions.MultivariateNormal(x.mean(0), torch.cov(x.T))
    torch.testing.assert_close(flow.log_prob(x), gaussian.log_prob(x), rtol=1e-6, atol=1e-5)


def test_pixels_before_training_are_independent_gaussians() -> None:
    data = patches(5000)
    flow = RealNVP(RealNVPConfig(patch_size=2, n_couplings=1, width=4, basis="pixels")).double()
    flow.standardize_(data)
    x = data.flatten(1).double()
    gaussians = torch.distributions.Normal(x.mean(0), x.std(0))
    torch.testing.assert_close(
        flow.log_prob(x), gaussians.log_prob(x).sum(-1), rtol=1e-6, atol=1e-5
    )


def test_sampling_inverts_scoring() -> None:
    flow = shaken()
    x = flow.sample(50, torch.Generator().manual_seed(1))
    assert x.shape == (50, 2, 2, 3)
    z = torch.randn(50, 12, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    torch.testing.assert_close(to_gaussian(flow, x.flatten(1)), z)


def test_a_trained_flow_beats_the_gaussian_where_contrast_varies() -> None:
    """Half of the patches are flat, half are not: no Gaussian knows, a flow can."""
    generator = torch.Generator().manual_seed(0)
    contrast = torch.where(torch.rand(4000, 1, 1, 1, generator=generator) < 0.5, 0.01, 0.2)
    data = 0.5 + contrast * torch.randn(4000, 2, 2, 3, generator=generator)
    torch.manual_seed(0)
    flow = RealNVP(RealNVPConfig(patch_size=2, n_couplings=4, width=32, depth=1))
    flow.standardize_(data)
    x, unseen = data.flatten(1).split([3000, 1000])
    before = flow.log_prob(unseen).mean().item()
    optimizer = torch.optim.Adam(flow.parameters(), lr=1e-2)
    for _ in range(150):
        optimizer.zero_grad()
        (-flow.log_prob(x).mean() / 12).backward()
        optimizer.step()
    assert flow.log_prob(unseen).mean().item() > before + 12 * 0.3


@pytest.mark.parametrize("magnitude", [0.0, 1e-38, 1.0, 3.0, 1e4, 1e6])
def test_finite_for_whatever_comes(magnitude: float) -> None:
    flow = shaken(RealNVPConfig(patch_size=4, n_couplings=8, width=16)).float()
    generator = torch.Generator().manual_seed(0)
    for x in (
        torch.full((3, 48), magnitude),
        -torch.full((3, 48), magnitude),
        magnitude * torch.randn(3, 48, generator=generator),
        magnitude * (torch.arange(48) % 2).expand(3, 48),
    ):
        x.requires_grad_()
        value = flow.log_prob(x)
        value.sum().backward()
        assert value.isfinite().all()
        assert x.grad is not None
        assert x.grad.isfinite().all()


def test_one_coupling_stretches_by_a_bounded_factor() -> None:
    config = RealNVPConfig(patch_size=2, n_couplings=1, width=7, max_log_scale=0.5)
    flow = shaken(config)
    for parameter in flow.parameters():
        torch.nn.init.normal_(parameter, std=50.0)
    coupling: Any = flow.flow.flows[0]
    _, log_det = coupling.inverse(torch.randn(100, 12, dtype=torch.float64))
    assert log_det.abs().max() <= 6 * 0.5
    assert log_det.abs().max() > 1.0  # and the bound is nearly met


@pytest.mark.usefixtures("unhooked")
def test_compiles_as_one_graph() -> None:
    torch.compiler.reset()
    flow = shaken()
    x = patches(5).flatten(1).double().requires_grad_()
    compiled: Any = torch.compile(flow.log_prob, fullgraph=True, backend="aot_eager")
    values = flow.log_prob(x), compiled(x)
    torch.testing.assert_close(values[1], values[0])
    gradients = [torch.autograd.grad(value.sum(), x)[0] for value in values]
    torch.testing.assert_close(gradients[1], gradients[0])


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patch_size": 0}, r"patch_size must be a whole number >= 1, got 0"),
        ({"n_couplings": 1.5}, r"n_couplings must be a whole number >= 1, got 1.5"),
        ({"width": -1}, r"width must be a whole number >= 1, got -1"),
        ({"depth": 0}, r"depth must be a whole number >= 1, got 0"),
        ({"max_log_scale": 0.0}, r"max_log_scale must be a number > 0, got 0.0"),
        ({"basis": "zca"}, r'basis must be "principal" or "pixels", got \'zca\''),
    ],
)
def test_wrong_sizes(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^RealNVPConfig: {message}"):
        RealNVPConfig(**options)


@pytest.mark.usefixtures("unhooked")
def test_patches_of_another_size() -> None:
    flow = RealNVP(SMALL)
    with pytest.raises(ValueError, match=r"^RealNVP.log_prob: x must be \(n, 12\).*got \(3, 27\)"):
        flow.log_prob(torch.zeros(3, 27))
    with pytest.raises(ValueError, match=r"patches must be \(n, 2, 2, 3\), got \(5, 3, 3, 3\)"):
        flow.standardize_(torch.zeros(5, 3, 3, 3))
