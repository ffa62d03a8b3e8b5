"""Depth KL against loops, by hand, against DS-NeRF's and nerfstudio's numbers, and at its edges."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from nerfreg import check_values
from nerfreg.losses import DepthKL, depth_kl
from nerfreg.rays import weights_from_density
from tests.golden import golden, golden_cases

VALID = torch.tensor([True, False, True, True, False])


def some_rays(dtype=torch.float64, *, gaps: bool = True) -> tuple[Tensor, ...]:
    """Five rays of seven intervals, with targets and standard deviations."""
    generator = torch.Generator().manual_seed(0)
    widths = torch.rand(5, 7, generator=generator, dtype=dtype) + 0.05
    holes = torch.rand(5, 7, generator=generator, dtype=dtype) * (0.2 if gaps else 0.0)
    ends = 1.0 + (widths + holes).cumsum(-1)
    weights = 0.9 * torch.rand(5, 7, generator=generator, dtype=dtype).softmax(-1)
    depth = 1.0 + 4.0 * torch.rand(5, generator=generator, dtype=dtype)
    std = 0.05 + torch.rand(5, generator=generator, dtype=dtype)
    return weights, ends - widths, ends, depth, std


def slow_kl(weights, starts, ends, depth, std, eps=1e-6) -> float:
    """One ray: the divergence by its definition, with Python's own erf."""
    q = [
        0.5
        * (math.erf((e - depth) / std / math.sqrt(2)) - math.erf((s - depth) / std / math.sqrt(2)))
        for s, e in zip(starts, ends, strict=True)
    ]
    cells = [*zip(q, weights, strict=True), (max(1 - sum(q), 0), max(1 - sum(weights), 0))]
    return sum((a + eps) * math.log((a + eps) / (b + eps)) for a, b in cells)


def slow_dsnerf(weights, starts, ends, depth, std, eps=1e-5, bound_last=True) -> float:
    """One ray: the published sum."""
    widths = [e - s for s, e in zip(starts, ends, strict=True)]
    if bound_last and len(widths) > 1:
        widths[-1] = min(widths[-1], max(widths[:-1]))
    return -sum(
        math.log(w + eps) * math.exp(-((s - depth) ** 2) / (2 * std**2)) * width
        for w, s, width in zip(weights, starts, widths, strict=True)
    )


@pytest.mark.parametrize("form", ["kl", "dsnerf"])
@pytest.mark.parametrize("eps", [None, 1e-3])
@pytest.mark.parametrize("bound_last", [True, False])
@pytest.mark.parametrize("valid", [None, VALID])
def test_agrees_with_loops(form, eps, bound_last, valid) -> None:
    rays = some_rays()
    rays[2][:, -1] += 3.0
    options = {} if eps is None else {"eps": eps}
    if form == "dsnerf":
        options["bound_last"] = bound_last
    slow = slow_kl if form == "kl" else slow_dsnerf
    expected = np.array(
        [slow(*(x.tolist() for x in ray), **options) for ray in zip(*rays, strict=True)]
    )
    if valid is not None:
        expected *= valid.numpy()
    n = 5 if valid is None else int(valid.sum())
    for reduction, value in [
        ("none", expected),
        ("sum", expected.sum()),
        ("mean", expected.sum() / n),
    ]:
        got = depth_kl(
            *rays, form=form, eps=eps, bound_last=bound_last, valid=valid, reduction=reduction
        )
        np.testing.assert_allclose(got.numpy(), value, rtol=1e-10)


def test_kl_by_hand() -> None:
    """A target split evenly between two intervals, met by ¾ and ¼.

    ½ log(½/¾) + ½ log(½/¼) = ½ log(4/3), up to a few ε.
    """
    weights = torch.tensor([[0.75, 0.25]], dtype=torch.float64)
    starts, ends = torch.tensor([[1.0, 2.0]]).double(), torch.tensor([[2.0, 3.0]]).double()
    value = depth_kl(
        weights, starts, ends, torch.tensor([2.0]).double(), torch.tensor([0.1]).double()
    )
    assert value.item() == pytest.approx(0.5 * math.log(4 / 3), abs=3e-6)


def test_dsnerf_by_hand() -> None:
    """One interval of width 2 that starts at the target, weight ½: −log(½ + 1e-5)·exp(0)·2."""
    half = torch.tensor([[0.5]], dtype=torch.float64)
    start, end = torch.tensor([[1.0]]).double(), torch.tensor([[3.0]]).double()
    at, std = torch.tensor([1.0]).double(), torch.tensor([0.3]).double()
    value = depth_kl(half, start, end, at, std, form="dsnerf")
    assert value.item() == pytest.approx(-2 * math.log(0.5 + 1e-5), rel=1e-12)


@pytest.mark.parametrize("case", golden_cases("dsnerf_sigma_loss"))
def test_dsnerf_meets_upstream_from_density_to_gradient(case) -> None:
    numbers = golden("dsnerf_sigma_loss", case)
    raw, starts = numbers["raw_sigma"].requires_grad_(), numbers["z_vals"]
    ends = starts + numbers["dists"]  # widths include ‖d‖ and the open 1e10
    std = (
        numbers["err"].double().sqrt().expand_as(numbers["depths"])
    )  # upstream's err is a variance
    weights = weights_from_density(raw.relu(), starts, ends)
    options = {"form": "dsnerf", "bound_last": False, "reduction": "none"}
    values = depth_kl(weights, starts, ends, numbers["depths"], std, **options)
    values.sum().backward()
    # Upstream's transmittance multiplies (1 − α + 1e-10): 4e-10 (values), 6e-9 (gradients) off,
    # measured.
    torch.testing.assert_close(values, numbers["loss_per_ray"], rtol=1e-8, atol=0)
    gradient = numbers["grad_raw_sigma_of_sum"]
    torch.testing.assert_close(raw.grad, gradient, rtol=0, atol=5e-8 * float(gradient.abs().max()))


@pytest.mark.parametrize("case", golden_cases("dsnerf_sigma_loss"))
def test_dsnerf_meets_upstream_from_its_weights(case) -> None:
    numbers = golden("dsnerf_sigma_loss", case)
    starts, depth = numbers["z_vals"], numbers["depths"]
    std = numbers["err"].double().sqrt().expand_as(depth)
    rays = numbers["weights"], starts, starts + numbers["dists"]
    options = {"form": "dsnerf", "bound_last": False}
    torch.testing.assert_close(
        depth_kl(*rays, depth, std, **options, reduction="none"),
        numbers["loss_per_ray"],
        rtol=1e-12,
        atol=1e-95,  # a ray whose target lies far outside has a loss of 4e-97
    )
    torch.testing.assert_close(
        depth_kl(*rays, depth, std, **options), numbers["loss_mean"], rtol=1e-12, atol=0
    )
    torch.testing.assert_close(
        depth_kl(*(x[:, :-1] for x in rays), depth, std, **options, reduction="none"),
        numbers["loss_per_ray_without_last_sample"],
        rtol=1e-12,
        atol=1e-95,
    )


@pytest.mark.parametrize("case", golden_cases("ns_ds_nerf_depth_loss"))
def test_dsnerf_meets_nerfstudio(case) -> None:
    """It samples at mid-points, calls a variance sigma, and divides by all rays, valid or not."""
    numbers = golden("ns_ds_nerf_depth_loss", case)
    weights = numbers["weights"][..., 0].requires_grad_()
    mids, widths = numbers["steps"][..., 0], numbers["lengths"][..., 0]
    depth = numbers["termination_depth"][..., 0]
    for target, key in [
        (depth, "loss"),
        (depth * numbers["directions_norm"][..., 0], "loss_not_euclidean"),
    ]:
        total = depth_kl(
            weights,
            mids,
            mids + widths,
            target,
            numbers["sigma"].sqrt().expand_as(target),
            form="dsnerf",
            eps=1e-7,
            bound_last=False,
            valid=target > 0,
            reduction="sum",
        )
        torch.testing.assert_close(total / len(depth), numbers[key], rtol=1e-12, atol=0)
        if key == "loss":
            (grad,) = torch.autograd.grad(total / len(depth), weights)
            torch.testing.assert_close(
                grad, numbers["grad_weights"][..., 0], rtol=1e-10, atol=1e-12
            )


@pytest.mark.parametrize("form", ["kl", "dsnerf"])
def test_gradcheck(form) -> None:
    rays = tuple(x.requires_grad_() for x in some_rays())
    assert torch.autograd.gradcheck(
        lambda *x: depth_kl(*x, form=form, bound_last=False, valid=VALID), rays
    )


def test_kl_is_zero_where_the_ray_stops_as_the_target_says() -> None:
    _, starts, ends, depth, std = some_rays()
    normal = torch.distributions.Normal(depth[:, None], std[:, None])
    mass = (normal.cdf(ends) - normal.cdf(starts)).requires_grad_()
    value = depth_kl(mass, starts, ends, depth, std)
    value.backward()
    assert abs(value.item()) < 1e-12
    assert mass.grad.abs().max() < 1e-9


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_kl_is_never_below_zero_by_more_than_rounding(dtype) -> None:
    _, starts, ends, depth, std = some_rays(dtype, gaps=False)
    normal = torch.distributions.Normal(depth[:, None], std[:, None])
    mass = normal.cdf(ends) - normal.cdf(starts)
    for factor in (1.0, 1.0 + 1e-6, 1.0 - 1e-6):  # sums that rounding moved above or below 1
        value = depth_kl(mass * factor, starts, ends, depth, std, reduction="none")
        assert value.min() >= -3e-7
        assert value.max() < 1e-5


def test_a_target_narrower_than_its_interval_pulls() -> None:
    """Where the published sum is blind: no sample within 20 std of the target."""
    starts, ends = torch.tensor([[1.0, 2.0]]), torch.tensor([[2.0, 3.0]])
    depth, std = torch.tensor([2.4]), torch.tensor([0.01])
    weights = torch.tensor([[0.6, 0.2]], requires_grad=True)
    (kl,) = torch.autograd.grad(depth_kl(weights, starts, ends, depth, std), weights)
    (published,) = torch.autograd.grad(
        depth_kl(weights, starts, ends, depth, std, form="dsnerf"), weights
    )
    assert not published.any()
    torch.testing.assert_close(kl, torch.tensor([[0.0, -5.0]]), rtol=1e-4, atol=1e-4)


def test_a_target_out_of_reach_asks_the_ray_to_pass() -> None:
    weights = torch.tensor([[0.5, 0.4]], requires_grad=True)
    starts, ends = torch.tensor([[1.0, 2.0]]), torch.tensor([[2.0, 3.0]])
    for depth in (0.0, 9.0):
        value = depth_kl(weights, starts, ends, torch.tensor([depth]), torch.tensor([0.1]))
        (grad,) = torch.autograd.grad(value, weights)
        assert (grad > 0).all()  # descent lowers every weight


def test_far_tails_keep_their_precision() -> None:
    """Float32 masses 8 to 12 standard deviations out, on both sides, within 1e-3 of float64."""
    starts = torch.tensor([[-12.0, -10.0, 8.0, 10.0]])
    ends = torch.tensor([[-10.0, -8.0, 10.0, 12.0]])
    rays = torch.zeros(1, 4), starts, ends, torch.zeros(1), torch.ones(1)
    single = depth_kl(*rays, eps=1e-30)
    double = depth_kl(*(x.double() for x in rays), eps=1e-30)
    mass = [
        math.erfc(a / math.sqrt(2)) - math.erfc(b / math.sqrt(2)) for a, b in [(8, 10), (10, 12)]
    ]
    expected = sum(m * (math.log(0.5 * m / 1e-30) - 1) for m in mass)
    assert expected > 1e-15
    assert double.item() == pytest.approx(expected, rel=1e-9)
    assert single.item() == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("form", ["kl", "dsnerf"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("depth", [0.0, 1.0, 1.5, 2.0, 1e4])
@pytest.mark.parametrize("std", [1e-4, 0.1, 1e4])
@pytest.mark.parametrize(
    ("weights", "starts", "ends"),
    [
        ([0.0, 0.0], [1.0, 2.0], [2.0, 3.0]),  # an empty ray
        ([1.0, 0.0], [1.0, 2.0], [2.0, 1e10]),  # opaque, and open at the end
        ([0.0, 1.0], [1.0, 2.0], [2.0, 1e10]),  # opaque in what is open
        ([0.5, 0.0, 0.5], [1.0, 2.0, 2.0], [2.0, 2.0, 3.0]),  # an interval without width
        ([1.0], [1.0], [2.0]),  # one sample
        ([1.0], [1.0], [1e10]),  # one open sample
        ([0.0, 0.0], [1.0, 1.0], [1.0, 1.0]),  # nothing but points
    ],
)
def test_finite_at_the_edges(form, dtype, depth, std, weights, starts, ends) -> None:
    if dtype == torch.float16:  # which has no 1e10
        ends = [min(end, 1e4) for end in ends]
    tensors = [torch.tensor([x], dtype=dtype) for x in (weights, starts, ends)]
    tensors[0].requires_grad_()
    targets = torch.tensor([depth], dtype=dtype), torch.tensor([std], dtype=dtype)
    value = depth_kl(*tensors, *targets, form=form)
    value.backward()
    assert value.isfinite()
    assert tensors[0].grad.isfinite().all()
    assert value.dtype == torch.float32
    if form == "kl":
        assert -1e-6 <= value.item() <= 14.0


def test_an_open_last_interval_is_bounded() -> None:
    weights, starts, ends, depth, std = some_rays()
    open_ends = torch.cat([ends[:, :-1], torch.full_like(ends[:, :1], 1e10)], dim=-1)
    for form, limit in [("kl", 14.0), ("dsnerf", 100.0)]:
        assert depth_kl(weights, starts, open_ends, depth, std, form=form) < limit
    released = depth_kl(weights, starts, open_ends, depth, std, form="dsnerf", bound_last=False)
    assert released > 1e7


def test_invalid_rays_may_hold_any_target() -> None:
    weights, starts, ends, depth, std = some_rays()
    weights.requires_grad_()
    for form in ("kl", "dsnerf"):
        clean = depth_kl(weights, starts, ends, depth, std, form=form, valid=VALID)
        for rubbish in (torch.nan, torch.inf, 0.0):
            spoiled = (torch.where(VALID, x, rubbish) for x in (depth, std))
            value = depth_kl(weights, starts, ends, *spoiled, form=form, valid=VALID)
            assert value == clean
            (grad,) = torch.autograd.grad(value, weights)
            assert grad.isfinite().all()
            assert not grad[~VALID].any()


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float16, 2e-3), (torch.bfloat16, 2e-2)])
@pytest.mark.parametrize("form", ["kl", "dsnerf"])
def test_half_precision_loses_its_input_only(form, dtype, bound) -> None:
    rays = some_rays(torch.float32)
    low = depth_kl(*(x.to(dtype) for x in rays), form=form, eps=1e-4)
    assert low.dtype == torch.float32
    torch.testing.assert_close(low, depth_kl(*rays, form=form, eps=1e-4), rtol=bound, atol=0)


@pytest.mark.parametrize("form", ["kl", "dsnerf"])
def test_float32_is_close_to_float64(form) -> None:
    rays = some_rays()
    single = depth_kl(*(x.float() for x in rays), form=form, reduction="none")
    double = depth_kl(*rays, form=form, reduction="none")
    torch.testing.assert_close(single.double(), double, rtol=2e-5, atol=1e-6)


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"starts": torch.ones(5, 8)}, ValueError, r"weights, starts, ends must share one shape"),
        (
            {"depth": torch.ones(5, 1)},
            ValueError,
            r"depth must have shape \(5,\), one a ray, got \(5, 1\)",
        ),
        ({"depth": torch.ones(7)}, ValueError, r"depth must have shape \(5,\)"),
        (
            {"std": torch.tensor(1.0)},
            ValueError,
            r"std must have shape \(5,\), one a ray, got \(\)",
        ),
        (
            {"valid": torch.ones(5, 7, dtype=torch.bool)},
            ValueError,
            r"valid must be boolean of shape \(5,\)",
        ),
        ({"form": "js"}, ValueError, r'form must be "kl" or "dsnerf", got \'js\''),
        ({"eps": 0.0}, ValueError, r"eps must be a number > 0, got 0.0"),
        ({"eps": math.nan}, ValueError, r"eps must be a number > 0, got nan"),
        ({"reduction": "max"}, ValueError, r"reduction must be"),
        (
            {"weights": torch.ones(5, 7, dtype=torch.int64)},
            TypeError,
            r"weights must be floating point",
        ),
        ({"depth": 2.0}, TypeError, r"depth must be an array \(torch, JAX or NumPy\), got float"),
        (
            {k: torch.ones(5, 0) for k in ("weights", "starts", "ends")},
            ValueError,
            r"weights must be \(…, S\) with S >= 1, got \(5, 0\)",
        ),
    ],
)
def test_says_what_is_wrong(changes, error, message) -> None:
    arguments = dict(zip(("weights", "starts", "ends", "depth", "std"), some_rays(), strict=True))
    with pytest.raises(error, match="^depth_kl: " + message):
        depth_kl(**{**arguments, **changes})


@pytest.mark.parametrize("form", ["kl", "dsnerf"])
def test_checks_std_when_asked(form) -> None:
    *rays, std = some_rays()
    std[1] = -1.0
    assert depth_kl(*rays, std, form=form).isfinite()
    with check_values():
        with pytest.raises(ValueError, match=r"^depth_kl: std must be > 0 everywhere, but 1 of 5"):
            depth_kl(*rays, std, form=form)
        depth_kl(*rays, std, form=form, valid=VALID)


@pytest.mark.parametrize("form", ["kl", "dsnerf"])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_module_is_the_function(form, reduction) -> None:
    rays = some_rays()
    options = {"form": form, "eps": 1e-4, "bound_last": False, "reduction": reduction}
    module = DepthKL(**options)
    expected = depth_kl(*rays, **options, valid=VALID)
    torch.testing.assert_close(module(*rays, valid=VALID), expected, rtol=0, atol=0)
    assert repr(module) == (
        f"DepthKL(form='{form}', eps=0.0001, bound_last=False, reduction='{reduction}')"
    )


@pytest.mark.parametrize("form", ["kl", "dsnerf"])
@pytest.mark.parametrize("tiny", [1e-12, 1e-20, 1e-38, 1e-45])
def test_a_learnt_std_may_vanish(form, tiny) -> None:
    """Nothing finite gives a gradient that is not, to any argument."""
    weights, starts, ends, depth, _ = (x.float() for x in some_rays())
    ends = torch.cat([ends[:, :-1], torch.full_like(ends[:, :1], 1e10)], -1)
    given = [x.clone().requires_grad_() for x in (weights, starts, ends, depth)]
    std = torch.full_like(depth, tiny).requires_grad_()
    value = depth_kl(*given, std, form=form)
    assert value.isfinite()
    for gradient in torch.autograd.grad(value, [*given, std]):
        assert gradient.isfinite().all()
