"""Distortion against loops, by hand, against four codes' numbers, and its own derivative."""

import math

import pytest
import torch
from torch import Tensor

from nerfreg.losses import distortion
from nerfreg.losses.distortion import _distortion, _Packed
from nerfreg.rays import edges_to_intervals
from nerfreg.rays.layout import ray_layout
from tests.golden import golden, golden_cases

VALID = torch.tensor([True, False, True, True, False])


def some_rays(dtype=torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    """Five rays of seven intervals with gaps, the last one open on two of them."""
    generator = torch.Generator().manual_seed(0)
    widths = torch.rand(5, 7, generator=generator, dtype=dtype) + 0.05
    holes = torch.rand(5, 7, generator=generator, dtype=dtype) * 0.2
    ends = 1.0 + (widths + holes).cumsum(-1)
    weights = 0.9 * torch.rand(5, 7, generator=generator, dtype=dtype).softmax(-1)
    starts = ends - widths
    ends[1:3, -1] = 1e10
    return weights, starts, ends


def packed_rays(dtype=torch.float64) -> tuple[tuple[Tensor, Tensor, Tensor], dict]:
    """Nine rays of no, one and several samples; the first and the last are empty."""
    counts = torch.tensor([0, 3, 1, 0, 0, 5, 2, 1, 0])
    ray_indices = torch.arange(9).repeat_interleave(counts)
    generator = torch.Generator().manual_seed(1)
    n = len(ray_indices)
    edges = torch.rand(2 * n, generator=generator, dtype=dtype).cumsum(0)
    starts, ends = edges[::2].clone(), edges[1::2].clone()
    ends[[2, 3]] = 1e10
    weights = torch.rand(n, generator=generator, dtype=dtype)
    return (weights, starts, ends), {"ray_indices": ray_indices, "n_rays": 9}


def slow_distortion(weights, starts, ends) -> float:
    """One ray, pair by pair; what is open is a point at its start."""
    ends = [e if e < 1e9 else s for s, e in zip(starts, ends, strict=True)]
    middles = [(s + e) / 2 for s, e in zip(starts, ends, strict=True)]
    pairs = sum(
        a * b * abs(m - n)
        for a, m in zip(weights, middles, strict=True)
        for b, n in zip(weights, middles, strict=True)
    )
    return pairs + sum(w * w * (e - s) / 3 for w, s, e in zip(weights, starts, ends, strict=True))


@pytest.mark.parametrize("valid", [None, VALID])
def test_agrees_with_loops(valid) -> None:
    rays = some_rays()
    expected = torch.tensor(
        [slow_distortion(*(x.tolist() for x in ray)) for ray in zip(*rays, strict=True)],
        dtype=torch.float64,
    )
    if valid is not None:
        expected = expected * valid
    n = 5 if valid is None else int(valid.sum())
    for reduction, value in [
        ("none", expected),
        ("sum", expected.sum()),
        ("mean", expected.sum() / n),
    ]:
        got = distortion(*rays, valid=valid, reduction=reduction)
        torch.testing.assert_close(got, value, rtol=1e-12, atol=0)


def test_by_hand() -> None:
    """Weights ½ and ¼ on [0, 1] and [1, 3], with mid-points ½ and 2.

    Between the two 2·½·¼·1.5 = 0.375, and within them (¼·1 + 1/16·2) / 3 = 0.125.
    """
    weights, edges = torch.tensor([0.5, 0.25]), torch.tensor([0.0, 1.0, 3.0])
    assert distortion(weights, *edges_to_intervals(edges)).item() == 0.5


def test_it_is_the_mean_distance_of_where_two_rays_stop() -> None:
    """Two draws from the same opaque ray, uniform within intervals."""
    weights, edges = torch.tensor([0.2, 0.5, 0.3]), torch.tensor([0.0, 1.0, 1.5, 4.0])
    starts, ends = edges_to_intervals(edges)
    generator = torch.Generator().manual_seed(0)
    at = weights.multinomial(400_000, replacement=True, generator=generator)
    t = starts[at] + (ends - starts)[at] * torch.rand(len(at), generator=generator)
    apart = (t[::2] - t[1::2]).abs()
    error = float(apart.std()) / math.sqrt(len(apart))
    value = distortion(weights, starts, ends).item()
    assert value == pytest.approx(apart.mean().item(), abs=4 * error)


# Upstream


@pytest.mark.parametrize("case", golden_cases("distortion_loss"))
def test_meets_nerfstudio(case) -> None:
    """Gradients to weights and edges; its two functions and its reduction."""
    numbers = golden("distortion_loss", case)
    weights, edges = numbers["weights"][..., 0].requires_grad_(), numbers["sdist"].requires_grad_()
    rays = weights, *edges_to_intervals(edges)
    values = distortion(*rays, reduction="none")
    exact = {"rtol": 1e-12, "atol": 1e-15}
    torch.testing.assert_close(values, numbers["per_ray_lossfun_distortion"], **exact)
    torch.testing.assert_close(values, numbers["nerfstudio_distortion_loss"][:, 0], **exact)
    torch.testing.assert_close(distortion(*rays), numbers["distortion_loss_mean"], **exact)
    to_weights, to_edges = torch.autograd.grad(values.sum(), (weights, edges))
    torch.testing.assert_close(to_weights, numbers["grad_weights_of_sum"][..., 0], **exact)
    key = "grad_weights_nerfstudio_of_sum"
    torch.testing.assert_close(to_weights, numbers[key][..., 0], **exact)
    torch.testing.assert_close(to_edges, numbers["grad_sdist_of_sum"], **exact)


@pytest.mark.parametrize("case", golden_cases("multinerf_stepfun"))
def test_meets_multinerf(case) -> None:
    numbers = golden("multinerf_stepfun", case)
    weights = numbers["w"].requires_grad_()
    values = distortion(weights, *edges_to_intervals(numbers["t"]), reduction="none")
    torch.testing.assert_close(values, numbers["distortion_per_ray"], rtol=1e-12, atol=1e-15)
    (gradient,) = torch.autograd.grad(values.sum(), weights)
    key = "grad_w_distortion_of_sum"
    torch.testing.assert_close(gradient, numbers[key], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("case", golden_cases("eff_distloss_dense"))
def test_meets_efficient_distloss(case) -> None:
    """It takes mid-points and widths, and a mean over rays."""
    numbers = golden("eff_distloss_dense", case)
    weights, half = numbers["w"].requires_grad_(), numbers["interval"] / 2
    value = distortion(weights, numbers["m"] - half, numbers["m"] + half)
    for key in ("loss", "loss_native", "loss_custom_backward"):
        torch.testing.assert_close(value, numbers[key], rtol=1e-12, atol=1e-15)
    (gradient,) = torch.autograd.grad(value, weights)
    torch.testing.assert_close(gradient, numbers["grad_w"], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("case", golden_cases("eff_distloss_flatten"))
def test_meets_efficient_distloss_packed(case) -> None:
    """Its mean is over max(ray_id) + 1 rays: it does not know the empty ones at the end."""
    numbers = golden("eff_distloss_flatten", case)
    weights, half = numbers["w"].requires_grad_(), numbers["interval"] / 2
    layout = {"ray_indices": numbers["ray_id"], "n_rays": int(numbers["n_rays_true"])}
    rays = weights, numbers["m"] - half, numbers["m"] + half
    exact = {"rtol": 1e-12, "atol": 1e-15}
    values = distortion(*rays, **layout, reduction="none")
    torch.testing.assert_close(values, numbers["per_ray_dense_reference"], **exact)
    mean = distortion(*rays, **layout)
    torch.testing.assert_close(mean, numbers["loss_mean_over_true_n_rays"], **exact)
    upstream = values.sum() / int(numbers["n_rays_upstream"])
    torch.testing.assert_close(upstream, numbers["loss_upstream"], **exact)
    (gradient,) = torch.autograd.grad(upstream, weights)
    torch.testing.assert_close(gradient, numbers["grad_w"], **exact)


@pytest.mark.parametrize("case", golden_cases("nerfacc_packed"))
def test_meets_nerfacc(case) -> None:
    numbers = golden("nerfacc_packed", case)
    weights = numbers["weights"].requires_grad_()
    layout = {"ray_indices": numbers["ray_indices"], "n_rays": int(numbers["n_rays"])}
    rays = weights, numbers["t_starts"], numbers["t_ends"]
    values = distortion(*rays, **layout, reduction="none")
    exact = {"rtol": 1e-12, "atol": 1e-15}
    torch.testing.assert_close(values, numbers["distortion_per_ray"][:, 0], **exact)
    (gradient,) = torch.autograd.grad(values.sum(), weights)
    torch.testing.assert_close(gradient, numbers["grad_weights_distortion_of_sum"], **exact)


# Packed samples: the derivative written out, beside what autograd finds


@pytest.mark.parametrize("grad", ["mean", "one a ray"])
@pytest.mark.parametrize("wanted", [(0,), (1, 2), (0, 1, 2), (2,)])
def test_packed_samples_have_the_derivative_that_autograd_finds(grad, wanted) -> None:
    samples, layout = packed_rays()
    rays = ray_layout("test", **layout, weights=samples[0])
    given = [x.clone().requires_grad_(i in wanted) for i, x in enumerate(samples)]
    leaves = [given[i] for i in wanted]
    cotangent = torch.full((9,), 1 / 9) if grad == "mean" else torch.linspace(0.5, 1.5, 9)
    value = distortion(*given, **layout, reduction="mean" if grad == "mean" else "none")
    plain = _distortion(rays, *given)
    assert type(value.grad_fn) is not type(plain.grad_fn)
    expected = torch.autograd.grad(plain, leaves, cotangent.double())
    got = torch.autograd.grad(value, leaves, None if grad == "mean" else cotangent.double())
    for x, y in zip(got, expected, strict=True):
        assert x.dtype == torch.float64
        torch.testing.assert_close(x, y, rtol=1e-7, atol=1e-9)
    torch.testing.assert_close(distortion(*given, **layout), plain.mean(), rtol=1e-12, atol=0)


def test_packed_samples_have_first_and_second_derivatives() -> None:
    samples, layout = packed_rays()
    samples[2][[2, 3]] = samples[1][[2, 3]] + 0.1  # where finite differences see the open ends move
    given = [x.requires_grad_() for x in samples]

    def function(*x: Tensor) -> Tensor:
        return distortion(*x, **layout, reduction="none")

    assert torch.autograd.gradcheck(function, given)
    assert torch.autograd.gradgradcheck(function, given)
    assert torch.autograd.gradgradcheck(
        lambda weights: function(weights, *(x.detach() for x in given[1:])), given[:1]
    )


def test_packed_samples_of_several_dtypes() -> None:
    """Weights of a half-precision renderer beside bounds in float64 take the plain path."""
    (weights, starts, ends), layout = packed_rays()
    given = [weights.float().requires_grad_(), starts.requires_grad_(), ends.requires_grad_()]
    value = distortion(*given, **layout)
    value.backward()
    assert [x.grad.dtype for x in given] == [torch.float32, torch.float64, torch.float64]
    torch.testing.assert_close(
        value, distortion(weights, starts, ends, **layout), rtol=1e-6, atol=0
    )


def test_a_mask_leaves_the_written_derivative_right() -> None:
    samples, layout = packed_rays()
    valid = torch.tensor([True, True, False, True, False, True, True, False, True])
    given = [x.requires_grad_() for x in samples]
    rays = ray_layout("test", **layout, weights=samples[0])
    value = distortion(*given, **layout, valid=valid, reduction="sum")
    expected = torch.autograd.grad(_distortion(rays, *given)[valid].sum(), given)
    for x, y in zip(torch.autograd.grad(value, given), expected, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-10, atol=1e-12)


def test_no_packed_samples() -> None:
    given = [torch.zeros(0, requires_grad=True) for _ in range(3)]
    value = distortion(*given, ray_indices=torch.zeros(0, dtype=torch.int64), n_rays=2)
    value.backward()
    assert value.item() == 0.0


def test_float32_gradients_of_many_packed_rays_are_those_of_float64() -> None:
    """Sums over all rays at once lose nothing to their neighbours, one of which is far larger."""
    generator = torch.Generator().manual_seed(2)
    counts = torch.randint(0, 64, (2000,), generator=generator)
    ray_indices = torch.arange(2000).repeat_interleave(counts)
    edges = torch.rand(2 * len(ray_indices), generator=generator).cumsum(0).view(-1, 2)
    edges = edges - edges[(counts.cumsum(0) - counts).clamp_max(len(edges) - 1)[ray_indices], :1]
    edges[ray_indices == 1000] *= 1e4
    weights = torch.rand(len(ray_indices), generator=generator) / 64
    layout = {"ray_indices": ray_indices, "n_rays": 2000, "reduction": "sum"}
    single = [x.clone().requires_grad_() for x in (weights, edges[:, 0], edges[:, 1])]
    double = [x.detach().double().requires_grad_() for x in single]
    value, expected = distortion(*single, **layout), distortion(*double, **layout)
    assert value.item() == pytest.approx(expected.item(), rel=1e-5)
    ordinary = ray_indices != 1000
    for x, y in zip(
        torch.autograd.grad(value, single), torch.autograd.grad(expected, double), strict=True
    ):
        largest = float(y[ordinary].abs().max())
        torch.testing.assert_close(x.double()[ordinary], y[ordinary], rtol=0, atol=1e-6 * largest)


# Numerics


@pytest.mark.parametrize("packed", [False, True])
def test_nothing_cancels(packed) -> None:
    """A thin wall at t = 1000 on an opaque ray, in float32: a moment formula is off by 100 %."""
    starts = 1000.0 + torch.tensor([0.0, 2.0**-13, 2.0**-12])
    ends = starts + 2.0**-13
    weights = torch.tensor([1e-4, 0.9998, 1e-4])
    layout = {"ray_indices": torch.zeros(3, dtype=torch.int64), "n_rays": 1} if packed else {}
    value = distortion(weights, starts, ends, **layout)
    expected = slow_distortion(weights.tolist(), starts.tolist(), ends.tolist())
    assert value.item() == pytest.approx(expected, rel=1e-6)
    assert distortion(weights, starts - 1000, ends - 1000, **layout).item() == value.item()


@pytest.mark.parametrize("packed", [False, True])
def test_an_open_interval_is_a_point_at_its_start(packed) -> None:
    layout = {"ray_indices": torch.zeros(2, dtype=torch.int64), "n_rays": 1} if packed else {}
    weights = torch.tensor([0.25, 0.5])
    starts = torch.tensor([1.0, 2.0], requires_grad=True)
    ends = torch.tensor([2.0, 1e10], requires_grad=True)
    value = distortion(weights, starts, ends, **layout)
    value.backward()
    # The mid-point of the first is 1.5: 2·¼·½·½ + 1/16/3.
    assert value.item() == pytest.approx(0.125 + 1 / 48, rel=1e-6)
    torch.testing.assert_close(starts.grad, torch.tensor([-0.125 - 1 / 48, 0.25]))
    torch.testing.assert_close(ends.grad, torch.tensor([-0.125 + 1 / 48, 0.0]))


def test_many_samples_need_little_memory() -> None:
    """All pairs of samples of this ray would be 160 GB."""
    edges = torch.linspace(0.0, 1.0, 200_001)
    value = distortion(torch.full((200_000,), 5e-6), *edges_to_intervals(edges))
    assert value.item() == pytest.approx(1 / 3, rel=1e-3)  # two uniform numbers' mean distance


@pytest.mark.usefixtures("unhooked")
def test_a_compiled_graph_takes_the_plain_path(monkeypatch) -> None:
    torch.compiler.reset()
    samples, layout = packed_rays()
    expected = distortion(*samples, **layout)
    monkeypatch.setattr(_Packed, "apply", None)
    with pytest.raises(TypeError):
        distortion(*samples, **layout)
    compiled = torch.compile(distortion, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(*samples, **layout), expected)


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"ends": torch.ones(5, 8)}, ValueError, r"weights, starts, ends must share one shape"),
        ({"starts": torch.ones(5, 1)}, ValueError, r".* must share one shape .* starts \(5, 1\)"),
        ({"weights": [0.5]}, TypeError, r"weights must be an array .* got list"),
        ({"starts": torch.ones(5, 7).int()}, TypeError, r"starts must be floating point"),
        ({"valid": torch.ones(5, 7).bool()}, ValueError, r"valid must be boolean of shape \(5,\)"),
        ({"reduction": "max"}, ValueError, r"reduction must be"),
        ({"n_rays": 5}, ValueError, r"n_rays=5 without ray_indices"),
        ({"ray_indices": torch.zeros(5).long()}, ValueError, r"ray_indices without n_rays"),
    ],
)
def test_says_what_is_wrong(changes, error, message) -> None:
    arguments = dict(zip(("weights", "starts", "ends"), some_rays(), strict=True))
    with pytest.raises(error, match="^distortion: " + message):
        distortion(**{**arguments, **changes})
