"""Weights from density against loops, by hand, against upstream's numbers, and at their edges."""

import math

import pytest
import torch
from torch import Tensor

from nerfreg.rays import (
    edges_to_intervals,
    opacity,
    weights_from_alpha,
    weights_from_density,
)
from nerfreg.rays.layout import before, ray_layout
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
    # Upstream multiplies 1 − α + 1e-7: up to 3e-7 off, measured.
    weights = weights_from_alpha(numbers["alphas"])
    torch.testing.assert_close(weights, numbers["weights_from_alphas"], rtol=0, atol=1e-6)


@pytest.mark.parametrize("case", golden_cases("nerfacc_packed"))
def test_meets_nerfacc_from_density(case) -> None:
    numbers = golden("nerfacc_packed", case)
    layout = {"ray_indices": numbers["ray_indices"], "n_rays": int(numbers["n_rays"])}
    density = numbers["sigmas"].requires_grad_()
    weights = weights_from_density(density, numbers["t_starts"], numbers["t_ends"], **layout)
    torch.testing.assert_close(weights, numbers["weights"], rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(
        opacity(weights, **layout), numbers["opacities"][:, 0], rtol=1e-12, atol=1e-15
    )
    rays = ray_layout("test", **layout, weights=weights)
    transmittance = 1.0 - before(rays, weights)  # what has not stopped yet
    # Beside a sample of thickness 300 float64 has 4e-14 left, measured.
    torch.testing.assert_close(transmittance, numbers["transmittance"], rtol=0, atol=1e-13)
    (grad,) = torch.autograd.grad((weights * numbers["cotangent"]).sum(), density)
    torch.testing.assert_close(grad, numbers["grad_sigmas"], rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("case", golden_cases("nerfacc_packed"))
def test_meets_nerfacc_from_alpha(case) -> None:
    numbers = golden("nerfacc_packed", case)
    layout = {"ray_indices": numbers["ray_indices"], "n_rays": int(numbers["n_rays"])}
    alpha = numbers["alphas_in"].requires_grad_()
    weights = weights_from_alpha(alpha, **layout)
    torch.testing.assert_close(weights, numbers["weights_from_alpha"], rtol=1e-12, atol=1e-15)
    rays = ray_layout("test", **layout, weights=weights)
    transmittance = 1.0 - before(rays, weights)
    expected = numbers["transmittance_from_alpha"]
    torch.testing.assert_close(transmittance, expected, rtol=0, atol=1e-14)
    (grad,) = torch.autograd.grad((weights * numbers["cotangent"]).sum(), alpha)
    torch.testing.assert_close(grad, numbers["grad_alphas"], rtol=1e-10, atol=1e-14)


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


def slow_weights_from_alpha(alpha) -> list[float]:
    """One ray: what each sample stops of what reaches it."""
    weights, left = [], 1.0
    for a in alpha:
        weights.append(left * a)
        left *= 1.0 - a
    return weights


def test_alpha_agrees_with_loops() -> None:
    alpha = torch.rand(4, 6, dtype=torch.float64)
    alpha[0, 2], alpha[1, 0], alpha[2, 5] = 1.0, 1.0, 0.0
    expected = [slow_weights_from_alpha(ray.tolist()) for ray in alpha]
    torch.testing.assert_close(weights_from_alpha(alpha), torch.tensor(expected).double())
    packed = weights_from_alpha(
        alpha.flatten(), ray_indices=torch.arange(4).repeat_interleave(6), n_rays=4
    )
    torch.testing.assert_close(packed, torch.tensor(expected).double().flatten())


def test_alpha_gradcheck() -> None:
    alpha = (0.95 * torch.rand(4, 6, dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(weights_from_alpha, alpha)


def test_alpha_and_density_say_the_same() -> None:
    density, starts, ends, _ = some_rays()
    alpha = -torch.expm1(-density * (ends - starts))
    expected = weights_from_density(density, starts, ends)
    torch.testing.assert_close(weights_from_alpha(alpha), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_a_sample_with_alpha_one_hides_all_behind_it(dtype, packed) -> None:
    """A product's own derivative would divide by 1 − α = 0."""
    alpha = torch.tensor([0.5, 1.0, 0.5, 1.0, 1.0], dtype=dtype, requires_grad=True)
    layout = {"ray_indices": torch.zeros(5, dtype=torch.int64), "n_rays": 1} if packed else {}
    weights = weights_from_alpha(alpha, **layout)
    assert weights.tolist() == [0.5, 0.5, 0.0, 0.0, 0.0]
    assert weights.dtype == (torch.float32 if dtype == torch.float16 else dtype)
    (grad,) = torch.autograd.grad((weights * torch.arange(1, 6)).sum(), alpha)
    # From the first: its own, less the half of what it hides; behind the second, nothing.
    assert grad.tolist() == [1.0 - 2.0, 1.0, 0.0, 0.0, 0.0]


FLOATS = [0.0, 1.2e-38, 1e-30, 1e-20, 1e-10, 1e-7, 1e-3, 1.0, 1e3, 1e9, 1e10, 1e20, 1e30, 3.4e38]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("at", range(3))
@pytest.mark.parametrize("density_elsewhere", [0.0, 0.5])
def test_finite_for_all_floats(packed, at, density_elsewhere) -> None:
    layout = {"ray_indices": torch.zeros(3, dtype=torch.int64), "n_rays": 1} if packed else {}

    def check(function, *inputs) -> None:
        inputs = [x.clone().requires_grad_() for x in inputs]
        weights = function(*inputs, **layout)
        assert ((weights >= 0.0) & (weights <= 1.0)).all()
        for grad in torch.autograd.grad((0.5 * weights).sum(), inputs):
            assert grad.isfinite().all()

    for number in FLOATS:
        norm = torch.full((1,) if packed else (), 1.5)
        density = torch.full((3,), density_elsewhere)
        starts, ends = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.5, 3.0, 4.0])
        check(weights_from_density, density, starts, ends, torch.full_like(norm, number))
        ends[at] = number
        starts[at + 1 :] = starts[at + 1 :].clamp(min=ends[at])
        starts[at] = starts[at].clamp(max=ends[at])
        ends[at:] = torch.maximum(starts[at:], ends[at:])
        for arguments in [(), (norm,)]:
            check(weights_from_density, density, starts, ends, *arguments)
        density[at] = number
        check(weights_from_density, density, torch.arange(3.0), 1.0 + torch.arange(3.0), norm)
        check(weights_from_alpha, density.clamp(max=1.0))


def test_what_is_thin_is_not_lost_beside_what_is_opaque() -> None:
    """2²⁰ packed samples in float32: half of the rays are solid, to an open end; half are thin."""
    n_rays, n_samples = 8192, 128
    starts = torch.linspace(2.0, 6.0, n_samples).expand(n_rays, -1)
    ends = torch.cat([starts[:, 1:], torch.full((n_rays, 1), 1e10)], dim=-1)
    ends[::2, -1] = 6.5
    density = torch.rand(n_rays, n_samples)
    density[1::2] *= 1e10
    density[::2] *= 10.0 ** -torch.arange(1.0, n_rays // 2 + 1)[:, None].remainder(6)
    indices = torch.arange(n_rays).repeat_interleave(n_samples)
    samples = [x.reshape(-1) for x in (density, starts, ends)]
    weights = weights_from_density(*samples, ray_indices=indices, n_rays=n_rays)
    expected = weights_from_density(*(x.double() for x in (density, starts, ends)))
    got = weights.view(n_rays, n_samples).double()
    # Measured 2.8e-7, and 2.4e-7 where each ray is summed by itself.
    torch.testing.assert_close(got[::2], expected[::2], rtol=5e-7, atol=0)
    torch.testing.assert_close(got[1::2], expected[1::2], rtol=1e-5, atol=1e-30)


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
