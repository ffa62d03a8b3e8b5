"""Weights from density against loops, by hand, against upstream's numbers, and at their edges."""

import math

import pytest
import torch
from torch import Tensor

from nerfreg.rays import edges_to_intervals, opacity, weights_from_density
from tests.golden import golden, golden_cases


def slow_weights(density, starts, ends, norm) -> list[float]:
    """One ray: how much light each interval stops of what reaches it."""
    weights, left = [], 1.0
    for sigma, start, end in zip(density, starts, ends, strict=True):
        passed = math.exp(-sigma * (end - start) * norm)
        weights.append(left * (1.0 - passed))
        left *= passed
    return weights


def some_rays() -> tuple[Tensor, ...]:
    edges = torch.rand(4, 7, dtype=torch.float64).cumsum(-1)
    starts, ends = edges_to_intervals(edges)
    return (
        3.0 * torch.rand_like(starts),
        starts,
        ends - 0.3 * (ends - starts),
        1.0 + torch.rand(4).double(),
    )


@pytest.mark.parametrize("with_norm", [True, False])
def test_agrees_with_loops(with_norm) -> None:
    density, starts, ends, norm = some_rays()
    norm = norm if with_norm else torch.ones_like(norm)
    expected = [
        slow_weights(*(x.tolist() for x in ray))
        for ray in zip(density, starts, ends, norm, strict=True)
    ]
    weights = weights_from_density(density, starts, ends, norm if with_norm else None)
    torch.testing.assert_close(weights, torch.tensor(expected).double(), rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(opacity(weights), weights.sum(-1))


def test_by_hand() -> None:
    """Density log 2 over lengths 1 and 2: half stops first, then ¾ of the other half."""
    starts, ends = torch.tensor([[0.0, 1.0]]), torch.tensor([[1.0, 3.0]])
    weights = weights_from_density(torch.full((1, 2), math.log(2)), starts, ends)
    torch.testing.assert_close(weights, torch.tensor([[0.5, 0.375]]))
    assert opacity(weights).item() == pytest.approx(0.875)


@pytest.mark.parametrize("case", golden_cases("render"))
def test_meets_mipnerf(case) -> None:
    numbers = golden("render", case)
    density = numbers["density"].requires_grad_()
    starts, ends = edges_to_intervals(numbers["t_vals"])
    weights = weights_from_density(density, starts, ends, numbers["directions"].norm(dim=-1))
    torch.testing.assert_close(weights, numbers["weights"], rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(opacity(weights), numbers["black_acc"], rtol=1e-12, atol=1e-15)
    (grad,) = torch.autograd.grad((opacity(weights) * numbers["cot_scalar"]).sum(), density)
    torch.testing.assert_close(grad, numbers["black_acc_grad_density"], rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("case", golden_cases("ns_get_weights"))
def test_meets_nerfstudio(case) -> None:
    numbers = {k: v[..., 0] for k, v in golden("ns_get_weights", case).items()}
    density = numbers["densities"].requires_grad_()
    weights = weights_from_density(density, numbers["starts"], numbers["ends"])
    torch.testing.assert_close(weights, numbers["weights"], rtol=1e-12, atol=1e-15)
    (grad,) = torch.autograd.grad((weights * numbers["cotangent"]).sum(), density)
    torch.testing.assert_close(grad, numbers["grad_densities"], rtol=1e-10, atol=1e-14)


def test_gradcheck() -> None:
    rays = tuple(x.requires_grad_() for x in some_rays())
    assert torch.autograd.gradcheck(weights_from_density, rays)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("density", [0.0, 1e-30, 1.0, 1e30])
@pytest.mark.parametrize("end", [3.0, 1e10])
@pytest.mark.parametrize("n_samples", [1, 3])
def test_finite_at_the_edges(dtype, density, end, n_samples) -> None:
    starts = torch.arange(n_samples)[None].to(dtype)
    ends = torch.cat([starts[:, 1:], torch.full((1, 1), end, dtype=dtype)], dim=-1)
    ends[:, 0] = starts[:, 0] if n_samples > 1 else ends[:, 0]  # an interval without width
    sigma = torch.full_like(starts, density, requires_grad=True)
    weights = weights_from_density(sigma, starts, ends)
    weights.square().sum().backward()
    assert weights.isfinite().all()
    assert weights.dtype == torch.float32
    assert sigma.grad.isfinite().all()
    assert 0.0 <= opacity(weights).item() <= 1.0


def test_thin_intervals_keep_their_precision() -> None:
    """1 − exp(−1e-9) is 0 in float32; the weight is 1e-9."""
    weights = weights_from_density(torch.tensor([[1e-9]]), torch.zeros(1, 1), torch.ones(1, 1))
    assert weights.item() == pytest.approx(1e-9, rel=1e-6)


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (
            {"ends": torch.ones(4, 5)},
            ValueError,
            r"density, starts, ends must share one shape \(…, S\)",
        ),
        (
            {"direction_norm": torch.ones(4, 1)},
            ValueError,
            r"direction_norm must have shape \(4,\), one a ray",
        ),
        ({"density": torch.ones(4, 6).int()}, TypeError, r"density must be floating point"),
    ],
)
def test_says_what_is_wrong(changes, error, message) -> None:
    arguments = dict(zip(("density", "starts", "ends", "direction_norm"), some_rays(), strict=True))
    with pytest.raises(error, match="^weights_from_density: " + message):
        weights_from_density(**{**arguments, **changes})
