"""Line of sight against quadrature, by hand, against nerfstudio's numbers, and at its edges."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from nerfreg import check_values
from nerfreg.losses import LineOfSight, depth_mse, line_of_sight
from tests.golden import golden, golden_cases

VALID = torch.tensor([True, False, True, True, False])
TAILS = math.erf(3 / math.sqrt(2))  # mass of a normal distribution within 3 std
FLOOR = math.erf(3) / (2 * math.sqrt(math.pi)) / TAILS**2  # ∫K² at std 1


def some_rays(dtype=torch.float64) -> tuple[Tensor, ...]:
    """Five rays of seven intervals with gaps; the kernel's bounds cut intervals."""
    generator = torch.Generator().manual_seed(0)
    widths = torch.rand(5, 7, generator=generator, dtype=dtype) + 0.05
    gaps = 0.2 * torch.rand(5, 7, generator=generator, dtype=dtype)
    ends = 1.0 + (widths + gaps).cumsum(-1)
    weights = 0.9 * torch.rand(5, 7, generator=generator, dtype=dtype).softmax(-1)
    depth = 1.5 + 3.0 * torch.rand(5, generator=generator, dtype=dtype)
    std = 0.05 + 0.5 * torch.rand(5, generator=generator, dtype=dtype)
    return weights, ends - widths, ends, depth, std


def simpson(function, a, b, n=200) -> float:
    """Integrate a smooth function."""
    x = [a + (b - a) * i / (2 * n) for i in range(2 * n + 1)]
    y = [function(value) for value in x]
    return (b - a) / (6 * n) * (y[0] + 4 * sum(y[1::2]) + 2 * sum(y[2:-1:2]) + y[-1])


def slow_line_of_sight(weights, starts, ends, depth, std, beyond=False) -> float:
    """One ray: both integrals by quadrature, piece by piece between all bounds."""
    near, far = depth - 3 * std, depth + 3 * std

    def kernel(t):
        return math.exp(-(((t - depth) / std) ** 2) / 2) / (std * math.sqrt(2 * math.pi)) / TAILS

    bounds = sorted({*starts, *ends, near, far})
    total = 0.0
    for a, b in itertools.pairwise(bounds):
        middle = (a + b) / 2
        h = sum(
            w / (e - s) for w, s, e in zip(weights, starts, ends, strict=True) if s < middle < e
        )
        if near < middle < far:
            total += simpson(lambda t, h=h: (h - kernel(t)) ** 2, a, b)
        elif middle < near or beyond:
            total += h**2 * (b - a)
    return total


def slow_nerfstudio(weights, starts, ends, depth, std, beyond=False) -> float:
    total = 0.0
    for w, s, e in zip(weights, starts, ends, strict=True):
        away = (s + e) / 2 - depth
        if abs(away) <= 3 * std:
            kernel = math.exp(-((away / std) ** 2) / 2) / (std * math.sqrt(2 * math.pi))
            total += (w - kernel) ** 2
        elif away < 0 or beyond:
            total += w**2
    return total


@pytest.mark.parametrize("form", ["integral", "nerfstudio"])
@pytest.mark.parametrize("beyond", [False, True])
@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize("valid", [None, VALID])
def test_agrees_with_loops(form, beyond, relative, valid) -> None:
    rays = some_rays()
    slow = slow_line_of_sight if form == "integral" else slow_nerfstudio
    expected = np.array(
        [slow(*(x.tolist() for x in ray), beyond=beyond) for ray in zip(*rays, strict=True)]
    )
    if relative:
        expected *= rays[-1].numpy()
    if valid is not None:
        expected *= valid.numpy()
    n = 5 if valid is None else int(valid.sum())
    options = {"form": form, "beyond": beyond, "relative": relative, "valid": valid}
    for reduction, value in [
        ("none", expected),
        ("sum", expected.sum()),
        ("mean", expected.sum() / n),
    ]:
        got = line_of_sight(*rays, **options, reduction=reduction)
        np.testing.assert_allclose(got.numpy(), value, rtol=1e-9)


def test_by_hand() -> None:
    """One interval of width 2 with weight ½, half of it and of the kernel (std 1) on either side.

    h = ¼ on [−2, 0], K on [−3, 3]. Near: ∫h² = 2/16, 2∫hK = 2·¼·(Φ(0) − Φ(−2)) / TAILS, and ∫K².
    """
    ray = (torch.tensor([[x]], dtype=torch.float64) for x in (0.5, -2.0, 0.0))
    depth, std = torch.zeros(1).double(), torch.ones(1).double()
    mass = 0.5 * math.erf(2 / math.sqrt(2)) / TAILS
    value = line_of_sight(*ray, depth, std)
    assert value.item() == pytest.approx(2 / 16 - 0.5 * mass + FLOOR, rel=1e-12)


@pytest.mark.parametrize("case", golden_cases("ns_urf_depth_loss"))
def test_meets_nerfstudio(case) -> None:
    """It adds a squared depth error, and divides by all rays, with a depth or without."""
    numbers = golden("ns_urf_depth_loss", case)
    weights, mids = numbers["weights"][..., 0].requires_grad_(), numbers["steps"][..., 0]
    depth = numbers["termination_depth"][..., 0]
    rendered = numbers["predicted_depth"][..., 0].requires_grad_()
    std = (numbers["sigma"] / 3.0).expand_as(depth)
    counted = {"valid": depth > 0, "reduction": "sum"}
    total = line_of_sight(weights, mids, mids, depth, std, form="nerfstudio", **counted)
    total = (total + depth_mse(rendered, depth, **counted)) / len(depth)
    total.backward()
    torch.testing.assert_close(total, numbers["loss"], rtol=1e-12, atol=0)
    gradient = numbers["grad_weights"][..., 0]
    torch.testing.assert_close(weights.grad, gradient, rtol=1e-11, atol=1e-14)
    gradient = numbers["grad_predicted_depth"][..., 0]
    torch.testing.assert_close(rendered.grad, gradient, rtol=1e-11, atol=1e-14)


def kernel_masses(starts, ends, depth, std) -> Tensor:
    """The kernel's own mass in each interval."""
    low, high = (((x - depth) / std).clamp(-3.0, 3.0) for x in (starts, ends))
    return 0.5 * (torch.erf(high / math.sqrt(2)) - torch.erf(low / math.sqrt(2))) / TAILS


def even_rays(n_samples: int) -> tuple[Tensor, ...]:
    """A ray from 0 to 4 that stops as its kernel says, around 2 with std 0.2."""
    edges = torch.linspace(0.0, 4.0, n_samples + 1, dtype=torch.float64)[None]
    starts, ends = edges[:, :-1], edges[:, 1:]
    depth, std = (torch.tensor([x], dtype=torch.float64) for x in (2.0, 0.2))
    return kernel_masses(starts, ends, 2.0, 0.2), starts, ends, depth, std


def test_a_right_ray_nears_zero_where_nerfstudios_sum_grows() -> None:
    """Masses shrink with their intervals, densities do not: theirs is a sum of what is left."""
    integral = [line_of_sight(*even_rays(n)).item() for n in (50, 200, 800)]
    assert 0.0 < integral[2] < 0.1 * integral[1] < 0.01 * integral[0]
    assert integral[2] < 1e-4 * FLOOR / 0.2
    released = [line_of_sight(*even_rays(n), form="nerfstudio").item() for n in (50, 200, 800)]
    assert released[2] > 3 * released[1] > 9 * released[0] > 0.0


def test_descent_finds_the_kernel() -> None:
    """The least value is where weights are the kernel's masses; nerfstudio's wants more than 1."""
    masses, *ray = even_rays(100)
    masses.requires_grad_()
    (pull,) = torch.autograd.grad(line_of_sight(masses, *ray, beyond=True), masses)
    # 2(h − mean of K): 0 but for the interval ends, on which nothing lies.
    assert pull.abs().max() < 1e-9
    (pull,) = torch.autograd.grad(line_of_sight(masses, *ray, form="nerfstudio"), masses)
    assert pull.min() < -3.0


def test_the_sampling_does_not_matter() -> None:
    """Cut intervals, weights cut alike, and the value is the same."""
    weights, starts, ends, depth, std = some_rays()
    at = starts + 0.3 * (ends - starts)
    finer = [torch.stack(x, -1).flatten(1) for x in ((starts, at), (at, ends))]
    shares = torch.stack((0.3 * weights, 0.7 * weights), -1).flatten(1)
    for options in ({}, {"beyond": True}, {"relative": True}):
        whole = line_of_sight(weights, starts, ends, depth, std, **options, reduction="none")
        cut = line_of_sight(shares, *finer, depth, std, **options, reduction="none")
        torch.testing.assert_close(cut, whole, rtol=1e-10, atol=0)


def test_a_target_narrower_than_its_interval_pulls() -> None:
    starts, ends = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[2.0, 3.0, 4.0]])
    weights = torch.tensor([[0.3, 0.2, 0.1]], requires_grad=True)
    depth, std = torch.tensor([2.4]), torch.tensor([0.001])
    for beyond, behind in [(False, 0.0), (True, 0.2)]:
        value = line_of_sight(weights, starts, ends, depth, std, beyond=beyond)
        (pull,) = torch.autograd.grad(value, weights)
        assert pull[0, 0] == pytest.approx(0.6)  # 2h: away from what is in front
        assert pull[0, 1] < -1.5  # towards what holds the target
        assert pull[0, 2] == pytest.approx(behind)


def test_a_ray_that_stops_nowhere_pays_for_the_kernel() -> None:
    starts, ends = torch.tensor([[1.0, 2.0]]), torch.tensor([[2.0, 3.0]])
    for depth in (0.0, 2.2, 9.0):
        for std in (0.01, 0.5):
            target = torch.tensor([depth]), torch.tensor([std])
            value = line_of_sight(torch.zeros(1, 2), starts, ends, *target)
            assert value.item() == pytest.approx(FLOOR / std, rel=1e-6)
            relative = line_of_sight(torch.zeros(1, 2), starts, ends, *target, relative=True)
            assert relative.item() == pytest.approx(0.2836, abs=1e-3)


def test_a_target_out_of_reach_asks_the_ray_to_pass() -> None:
    weights = torch.tensor([[0.5, 0.4]], requires_grad=True)
    starts, ends = torch.tensor([[1.0, 2.0]]), torch.tensor([[2.0, 3.0]])
    value = line_of_sight(weights, starts, ends, torch.tensor([9.0]), torch.tensor([0.1]))
    (pull,) = torch.autograd.grad(value, weights)
    assert pull.tolist() == [pytest.approx([1.0, 0.8])]
    # In front of everything, and without the term behind: nothing to ask.
    value = line_of_sight(weights, starts, ends, torch.tensor([0.0]), torch.tensor([0.1]))
    (pull,) = torch.autograd.grad(value, weights)
    assert not pull.any()


def test_intervals_without_width_and_open_ones_are_harmless() -> None:
    starts, ends = torch.tensor([[1.0, 2.0, 2.0]]), torch.tensor([[2.0, 2.0, 1e10]])
    weights = torch.tensor([[0.5, 0.2, 0.3]], requires_grad=True)
    depth, std = torch.tensor([1.5]), torch.tensor([0.1])
    value = line_of_sight(weights, starts, ends, depth, std, beyond=True)
    alone = line_of_sight(weights[:, :1], starts[:, :1], ends[:, :1], depth, std, beyond=True)
    assert value.item() == pytest.approx(alone.item(), rel=1e-6)
    (pull,) = torch.autograd.grad(value, weights)
    assert pull.isfinite().all()
    assert pull[0, 1:].abs().max() < 1e-6


@pytest.mark.parametrize("form", ["integral", "nerfstudio"])
@pytest.mark.parametrize("tiny", [0.0, 1e-45, 1e-20, 1e-12])
def test_a_learnt_std_may_vanish(form, tiny) -> None:
    weights, starts, ends, depth, _ = (x.float() for x in some_rays())
    given = [x.clone().requires_grad_() for x in (weights, starts, ends, depth)]
    std = torch.full_like(depth, tiny).requires_grad_()
    value = line_of_sight(*given, std, form=form)
    assert value.isfinite()
    for gradient in torch.autograd.grad(value, [*given, std]):
        assert gradient.isfinite().all()


@pytest.mark.parametrize("form", ["integral", "nerfstudio"])
def test_float32_is_close_to_float64(form) -> None:
    rays = some_rays()
    single = line_of_sight(*(x.float() for x in rays), form=form, reduction="none")
    double = line_of_sight(*rays, form=form, reduction="none")
    torch.testing.assert_close(single.double(), double, rtol=2e-5, atol=1e-5)


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"form": "l2"}, ValueError, r'form must be "integral" or "nerfstudio", got \'l2\''),
        ({"starts": torch.ones(5, 8)}, ValueError, r"weights, starts, ends must share one shape"),
        (
            {"depth": torch.ones(5, 1)},
            ValueError,
            r"depth must have shape \(5,\), one a ray of weights, got \(5, 1\)",
        ),
        ({"std": torch.tensor(0.1)}, ValueError, r"std must have shape \(5,\)"),
        ({"std": 0.1}, TypeError, r"std must be an array .* got float"),
        ({"depth": torch.ones(5).int()}, TypeError, r"depth must be floating point"),
        ({"weights": torch.ones(5, 7) > 0}, TypeError, r"weights must be floating point"),
        ({"valid": torch.ones(7) > 0}, ValueError, r"valid must be boolean of shape \(5,\)"),
        ({"reduction": "max"}, ValueError, r"reduction must be"),
    ],
)
def test_says_what_is_wrong(changes, error, message) -> None:
    arguments = dict(zip(("weights", "starts", "ends", "depth", "std"), some_rays(), strict=True))
    with pytest.raises(error, match="^line_of_sight: " + message):
        line_of_sight(**{**arguments, **changes})


def test_checks_std_when_asked() -> None:
    *rays, std = some_rays()
    std[1] = -1.0
    assert line_of_sight(*rays, std).isfinite()
    with check_values():
        with pytest.raises(ValueError, match=r"^line_of_sight: std must be > 0 everywhere, but 1"):
            line_of_sight(*rays, std)
        line_of_sight(*rays, std, valid=VALID)


def test_module_is_the_function() -> None:
    rays = some_rays()
    options = {"form": "nerfstudio", "beyond": True, "relative": True, "reduction": "none"}
    assert torch.equal(LineOfSight(**options)(*rays), line_of_sight(*rays, **options))
