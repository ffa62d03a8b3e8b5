"""Expected and median depth against loops, by hand, against upstream, and at their edges."""

import pytest
import torch
from torch import Tensor

from nerfreg.rays import edges_to_intervals, expected_depth, median_depth, weights_from_density
from tests.golden import golden, golden_cases


def some_rays() -> tuple[Tensor, ...]:
    edges = 1.0 + torch.rand(4, 7, dtype=torch.float64).cumsum(-1)
    starts, ends = edges_to_intervals(edges)
    return 0.8 * torch.rand_like(starts).softmax(-1), starts, ends - 0.3 * (ends - starts)


def slow_expected_depth(weights, starts, ends) -> float:
    total = sum(w * (s + e) / 2 for w, s, e in zip(weights, starts, ends, strict=True))
    return min(max(total / max(sum(weights), 2.0**-23), starts[0]), ends[-1])


def slow_median_depth(weights, starts, ends) -> float:
    left = sum(weights) / 2
    for w, s, e in zip(weights, starts, ends, strict=True):
        if left <= w:
            return s + (e - s) * left / w
        left -= w
    raise AssertionError


@pytest.mark.parametrize(
    ("function", "slow"), [(expected_depth, slow_expected_depth), (median_depth, slow_median_depth)]
)
def test_agrees_with_loops(function, slow) -> None:
    rays = some_rays()
    expected = [slow(*(x.tolist() for x in ray)) for ray in zip(*rays, strict=True)]
    torch.testing.assert_close(function(*rays), torch.tensor(expected).double(), rtol=1e-6, atol=0)
    one = function(*(x[2] for x in rays))
    torch.testing.assert_close(one, function(*rays)[2])  # no batch axis


def test_by_hand() -> None:
    """.2 stop in [1, 2], .6 in [4, 6]: mean (.2·1.5 + .6·5)/.8, median .2 of .6 into [4, 6]."""
    rays = torch.tensor([0.2, 0.6]), torch.tensor([1.0, 4.0]), torch.tensor([2.0, 6.0])
    assert expected_depth(*rays).item() == pytest.approx(4.125)
    assert expected_depth(*rays, normalize=False).item() == pytest.approx(3.3)
    assert median_depth(*rays).item() == pytest.approx(4 + 2 / 3)
    # Released: mid-points 1.5 and 5 at cumulated weights .2 and .8; half of .8 lies a third
    # between.
    assert median_depth(*rays, form="released").item() == pytest.approx(1.5 + 3.5 / 3)


@pytest.mark.parametrize("case", golden_cases("render"))
def test_meets_regnerf(case) -> None:
    numbers = golden("render", case)
    density = numbers["density"].requires_grad_()
    starts, ends = edges_to_intervals(numbers["t_vals"])
    weights = weights_from_density(density, starts, ends, numbers["directions"].norm(dim=-1))
    depth = expected_depth(weights, starts, ends)
    for background in ("black", "white"):
        torch.testing.assert_close(
            depth, numbers[f"{background}_distance_mean_save"], rtol=1e-12, atol=0
        )
    (grad,) = torch.autograd.grad((depth * numbers["cot_scalar"]).sum(), density)
    torch.testing.assert_close(
        grad, numbers["black_distance_mean_save_grad_density"], rtol=1e-10, atol=1e-13
    )
    # Row 0 is an empty ray, whose median upstream reads off a cdf of zeros.
    median = median_depth(weights, starts, ends, form="released")
    torch.testing.assert_close(
        median[1:], numbers["black_distance_median"][1:], rtol=1e-6, atol=0
    )  # 2e-8 off at an opacity of 4e-9, measured; 1e-15 elsewhere
    torch.testing.assert_close(median[3:], numbers["black_distance_median"][3:], rtol=1e-12, atol=0)


@pytest.mark.parametrize("case", golden_cases("ns_depth_renderer"))
def test_meets_nerfstudio(case) -> None:
    numbers = {k: v[..., 0] for k, v in golden("ns_depth_renderer", case).items()}
    weights = numbers["weights"].requires_grad_()
    depth = expected_depth(weights, numbers["starts"], numbers["ends"])
    # Upstream divides by Σw + 1e-10: up to 4e-9 off in value and 7e-8 in gradient, measured.
    torch.testing.assert_close(depth, numbers["expected_depth"], rtol=0, atol=2e-8)
    (grad,) = torch.autograd.grad(depth.sum(), weights)
    torch.testing.assert_close(grad, numbers["grad_weights_of_sum_expected"], rtol=0, atol=2e-7)


@pytest.mark.parametrize("case", golden_cases("nerfacc_packed"))
def test_meets_nerfacc(case) -> None:
    numbers = golden("nerfacc_packed", case)
    layout = {"ray_indices": numbers["ray_indices"], "n_rays": int(numbers["n_rays"])}
    rays = numbers["weights"], numbers["t_starts"], numbers["t_ends"]
    summed = expected_depth(*rays, normalize=False, **layout)
    torch.testing.assert_close(summed, numbers["depth_accumulated"][:, 0], rtol=1e-13, atol=0)
    # An empty ray has no first interval to be at: 0, as upstream.
    depth = expected_depth(*rays, **layout)
    occupied = numbers["opacities"][:, 0] > 0.0
    torch.testing.assert_close(
        depth[occupied], numbers["depth_expected"][occupied, 0], rtol=1e-13, atol=0
    )
    for ray, (start, count) in enumerate(numbers["packed_info"].tolist()):
        if not occupied[ray]:
            assert depth[ray] == (numbers["t_starts"][start] if count else 0.0)


@pytest.mark.parametrize("function", [expected_depth, median_depth])
def test_gradcheck(function) -> None:
    rays = tuple(x.requires_grad_() for x in some_rays())
    assert torch.autograd.gradcheck(function, rays)


def test_unnormalised_gradcheck() -> None:
    rays = tuple(x.requires_grad_() for x in some_rays())
    assert torch.autograd.gradcheck(lambda *x: expected_depth(*x, normalize=False), rays)


@pytest.mark.parametrize(
    "function",
    [
        expected_depth,
        median_depth,
        lambda *x: expected_depth(*x, normalize=False),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    ("weights", "starts", "ends"),
    [
        ([0.0, 0.0], [1.0, 2.0], [2.0, 3.0]),
        ([1e-7, 0.0], [1.0, 2.0], [2.0, 3.0]),
        ([1.0, 0.0], [1.0, 2.0], [2.0, 1e10]),
        ([0.0, 1.0], [1.0, 2.0], [2.0, 1e10]),
        ([0.5, 0.0, 0.5], [1.0, 2.0, 2.0], [2.0, 2.0, 3.0]),
        ([1.0], [1.0], [2.0]),
        ([1.0], [1.0], [1e10]),
        ([0.0], [0.0], [0.0]),
    ],
)
def test_finite_and_within_the_scene_at_the_edges(function, dtype, weights, starts, ends) -> None:
    if dtype == torch.float16:
        ends = [e if e < 1e9 else 3.0 for e in ends]  # float16 has no 1e10
    rays = [torch.tensor([x], dtype=dtype) for x in (weights, starts, ends)]
    rays[0].requires_grad_()
    depth = function(*rays)
    assert depth.dtype == torch.float32
    assert 0.0 <= depth.item() <= 3.0
    depth.sum().backward()
    assert rays[0].grad.isfinite().all()


@pytest.mark.parametrize("function", [expected_depth, median_depth])
def test_an_empty_ray_is_at_near(function) -> None:
    rays = torch.zeros(1, 3), torch.tensor([[2.0, 3.0, 4.0]]), torch.tensor([[3.0, 4.0, 1e10]])
    assert function(*rays).item() == 2.0


def test_an_empty_ray_has_gradient_zero() -> None:
    weights = torch.zeros(1, 2, requires_grad=True)
    expected_depth(weights, torch.tensor([[1.0, 2.0]]), torch.tensor([[2.0, 3.0]])).sum().backward()
    assert not weights.grad.any()


def test_gradients_of_empty_rays_stay_finite_in_wide_intervals() -> None:
    weights = torch.zeros(1, 2, requires_grad=True)
    rays = weights, torch.tensor([[1.0, 1e4]]), torch.tensor([[1e4, 1e8]])
    for depth in (expected_depth(*rays), median_depth(*rays)):
        (grad,) = torch.autograd.grad(depth.sum(), weights)
        assert grad.isfinite().all()


def test_released_median_lies_too_near() -> None:
    """All mass in [2, 3]: the median is 2.5; upstream's is halfway from the mid-point before."""
    rays = torch.tensor([0.0, 1.0]), torch.tensor([1.0, 2.0]), torch.tensor([2.0, 3.0])
    assert median_depth(*rays).item() == 2.5
    assert median_depth(*rays, form="released").item() == 2.0


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize("function", [expected_depth, median_depth])
@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((4, 6), (4, 6), (4, 5)), r"weights, starts, ends must share one shape"),
        (((4, 0), (4, 0), (4, 0)), r"weights must be \(…, S\) with S >= 1, got \(4, 0\)"),
    ],
)
def test_says_what_is_wrong(function, shapes, message) -> None:
    with pytest.raises(ValueError, match=f"^{function.__name__}: {message}"):
        function(*(torch.ones(shape) for shape in shapes))
    with pytest.raises(TypeError, match="weights must be floating point"):
        function(torch.ones(4, 6).int(), torch.ones(4, 6), torch.ones(4, 6))


@pytest.mark.usefixtures("unhooked")
def test_median_refuses_an_unknown_form() -> None:
    with pytest.raises(ValueError, match=r'form must be "uniform" or "released", got \'paper\''):
        median_depth(*some_rays(), form="paper")
