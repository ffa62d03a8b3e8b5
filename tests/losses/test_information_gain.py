"""Information gain against loops, by hand, against InfoNeRF's numbers, in mixed layouts."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from nerfreg.losses import InformationGain, information_gain
from nerfreg.rays import edges_to_intervals
from tests.golden import golden, golden_cases
from tests.laws.calls import library

NAMES = [
    *("weights", "starts", "ends"),
    *("neighbor_weights", "neighbor_starts", "neighbor_ends"),
]
VALID = torch.tensor([True, False, True, True, False, True])


def some_rays(seed: int, n_samples: int, n: int = 6) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    widths = torch.rand(n, n_samples, generator=generator).double() + 0.05
    holes = torch.rand(n, n_samples, generator=generator).double() * 0.2
    ends = (widths + holes).cumsum(-1)
    ends = 5.0 * ends / ends[:, -1:]
    starts = torch.cat([torch.zeros(n, 1).double(), ends[:, :-1]], -1) + 0.01
    weights = torch.rand(n, n_samples, generator=generator).double().softmax(-1)
    return weights * torch.linspace(0.0, 1.0, n)[:, None], starts, ends


def pairs() -> tuple[Tensor, ...]:
    """Six pairs; the first ray has no opacity, nor has the last neighbour, and one has little."""
    weights, starts, ends = some_rays(1, 5)
    return *some_rays(0, 8), weights.flip(0), starts, ends


def slow_information_gain(w, s, e, v, lower, upper, threshold=0.1, eps=1e-6) -> float:
    """One pair by the definition of the divergence, cell by cell."""
    if sum(w) <= threshold or sum(v) <= threshold:
        return 0.0
    p = [x / sum(w) for x in w] + [0.0]
    q = [
        sum(
            x * max(min(b, d) - max(a, c), 0.0) / (d - c)
            for x, c, d in zip(v, lower, upper, strict=True)
        )
        / sum(v)
        for a, b in zip(s, e, strict=True)
    ]
    q.append(1.0 - sum(q))
    return sum((a + eps) * math.log((a + eps) / (b + eps)) for a, b in zip(p, q, strict=True))


@pytest.mark.parametrize("options", [{}, {"eps": 1e-3}, {"threshold": 0.3}, {"threshold": 0.0}])
@pytest.mark.parametrize("valid", [None, VALID])
def test_agrees_with_loops(options, valid) -> None:
    given = pairs()
    expected = torch.tensor(
        [
            slow_information_gain(*(x.tolist() for x in pair), **options)
            for pair in zip(*given, strict=True)
        ]
    ).double()
    assert 0 < int((expected > 0).sum()) < 6
    if valid is not None:
        expected = expected * valid
    n = 6 if valid is None else int(valid.sum())
    for reduction, value in [
        ("none", expected),
        ("sum", expected.sum()),
        ("mean", expected.sum() / n),
    ]:
        got = information_gain(*given, **options, valid=valid, reduction=reduction)
        torch.testing.assert_close(got, value, rtol=1e-5, atol=1e-7)


def test_by_hand() -> None:
    """The ray stops in [1, 2]; its neighbour anywhere in [1, 4], of which the ray sees [1, 3].

    p = (1, 0), q = (⅓, ⅓) and ⅓ elsewhere: 1·log(1/⅓), up to a few ε, whatever the opacities.
    """
    starts, ends = edges_to_intervals(torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64))
    neighbor = torch.tensor([0.9]).double(), starts[:1], ends[:1] + 2.0
    value = information_gain(torch.tensor([0.4, 0.0]).double(), starts, ends, *neighbor)
    assert value.item() == pytest.approx(math.log(3), abs=1e-4)


# Upstream


def halves(alpha: Tensor) -> tuple[Tensor, ...]:
    """Upstream stacks rays and their neighbours; its form uses no bounds."""
    nowhere = torch.zeros_like(alpha[: len(alpha) // 2])
    return alpha[: len(alpha) // 2], nowhere, nowhere, alpha[len(alpha) // 2 :], nowhere, nowhere


@pytest.mark.parametrize("case", golden_cases("infonerf_smoothing_kl"))
def test_meets_infonerf(case) -> None:
    numbers = golden("infonerf_smoothing_kl", case)
    alpha = numbers["alpha"].requires_grad_()
    form = {"norm": "released", "soft": "softmax"}[str(numbers["activation"])[:4]]
    value = information_gain(*halves(alpha), form=form)
    torch.testing.assert_close(value, numbers["loss"], rtol=1e-12, atol=1e-14)
    (gradient,) = torch.autograd.grad(value, alpha)
    torch.testing.assert_close(gradient, numbers["grad_alpha"], rtol=1e-10, atol=1e-14)


def test_softmax_is_the_divergence_of_softmaxes() -> None:
    alpha = torch.rand(8, 24, dtype=torch.float64)
    p, q = alpha[:4].softmax(-1), alpha[4:].softmax(-1)
    expected = functional.kl_div(p.log(), q, reduction="batchmean")
    value = information_gain(*halves(alpha), form="softmax")
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=0)


# What the alignment is for


def test_the_same_surface_sampled_elsewhere_costs_little() -> None:
    """A wall from 2 to 3, seen by two rays with samples of their own: released, it costs nats."""
    weights = []
    edges = [torch.linspace(0.0, 5.0, 51), torch.linspace(-1.0, 4.0, 61)]
    for t in edges:
        starts, ends = edges_to_intervals(t.double())
        weights.append((ends.clamp(2, 3) - starts.clamp(2, 3)).clamp_min(0.0))
    rays = [
        x
        for w, t in zip(weights, edges, strict=True)
        for x in (w[None], *(y[None].double() for y in edges_to_intervals(t)))
    ]
    assert information_gain(*rays).item() < 0.05
    by_index = [x[:, :50] for x in rays]
    assert information_gain(*by_index, form="released").item() > 5.0


def test_descent_brings_the_neighbour_where_the_ray_stops() -> None:
    weights, starts, ends = some_rays(0, 8, n=2)
    _, lower, upper = some_rays(1, 60, n=2)
    logits = torch.zeros(1, 60, dtype=torch.float64, requires_grad=True)
    pair = weights[1:], starts[1:], ends[1:]
    optimizer = torch.optim.Adam([logits], lr=0.1)
    losses = []
    for _ in range(200):
        loss = information_gain(*pair, 0.9 * logits.softmax(-1), lower[1:], upper[1:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("which", [0, 3])
def test_rays_without_opacity_are_left_alone(dtype, which) -> None:
    """Either ray at, just below, or just above the threshold, or at nothing at all."""
    for opacity in (0.0, 1e-7, 0.05, 0.0999, 0.11):
        given = [x[3:4].to(dtype).clone().requires_grad_() for x in pairs()]
        given[which] = (given[which] / given[which].sum() * opacity).detach().requires_grad_()
        value = information_gain(*given)
        value.backward()
        gradients = [given[i].grad for i in (0, 3)]
        assert all(x.isfinite().all() for x in gradients)
        assert (value.item() > 0) == (opacity > 0.1)
        assert any(bool(x.any()) for x in gradients) == (opacity > 0.1)


def test_float16_holds_the_gradient_where_the_neighbour_is_certain_not_to_stop() -> None:
    starts, ends = torch.tensor([[0.0, 1.0]]).half(), torch.tensor([[1.0, 2.0]]).half()
    weights = torch.tensor([[1.0, 0.0]]).half().requires_grad_()
    neighbor = torch.tensor([[0.0, 1.0]]).half().requires_grad_()
    information_gain(weights, starts, ends, neighbor, starts, ends).backward()
    assert weights.grad.isfinite().all()
    assert neighbor.grad.isfinite().all()
    assert neighbor.grad[0, 0] < -5e3


def test_an_open_background_is_compared_with_an_open_background() -> None:
    starts = torch.tensor([[1.0, 5.9]])
    ends = torch.tensor([[5.9, 1e10]])
    weights = torch.tensor([[0.25, 0.75]])
    value = information_gain(weights, starts, ends, weights, starts + 0.1, ends.clamp_min(6.0))
    assert value.item() < 0.01


def test_float32_gradients_are_those_of_float64() -> None:
    """Where the neighbour is certain not to stop, the gradient is 1/ε times the others."""
    ray, starts, ends = some_rays(0, 8)
    neighbor, lower, upper = some_rays(1, 3)
    given = ray, starts, ends, neighbor, lower, 0.7 * upper + 0.3 * lower  # with wide gaps
    found = []
    for dtype in (torch.float32, torch.float64):
        leaves = [x.to(dtype).requires_grad_() for x in (ray, neighbor)]
        bounds = [x.to(dtype) for x in (starts, ends, lower, given[5])]
        value = information_gain(leaves[0], *bounds[:2], leaves[1], *bounds[2:], threshold=0.0)
        found.append(torch.autograd.grad(value, leaves))
    for single, double in zip(*found, strict=True):
        torch.testing.assert_close(single.double(), double, rtol=1e-4, atol=1e-5)


# Layouts


def pack(samples: tuple[Tensor, ...], keep: Tensor) -> tuple[list[Tensor], Tensor]:
    return [x[keep] for x in samples], keep.nonzero()[:, 0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("ray_packed", [False, True])
@pytest.mark.parametrize("neighbor_packed", [False, True])
def test_pairs_in_any_layout(dtype, ray_packed, neighbor_packed) -> None:
    """Empty rays and empty neighbours; equal to each pair by itself, gradients too."""
    given = [x.to(dtype) for x in pairs()]
    keep = [torch.rand(6, n, generator=torch.Generator().manual_seed(n)) < 0.8 for n in (8, 5)]
    for kept, is_packed, empty in zip(keep, (ray_packed, neighbor_packed), (2, 3), strict=True):
        kept[empty] = False
        if not is_packed:
            kept[:] = True
    values, gradients = [], ([], [])
    for pair in range(6):
        one = [
            x[pair][kept[pair]]
            for x, kept in zip(given, [keep[0]] * 3 + [keep[1]] * 3, strict=True)
        ]
        leaves = one[0].requires_grad_(), one[3].requires_grad_()
        empty = any(len(x) == 0 for x in leaves)
        values.append(
            0.0 * (leaves[0].sum() + leaves[1].sum()) if empty else information_gain(*one)
        )
        for found, x in zip(gradients, torch.autograd.grad(values[-1], leaves), strict=True):
            found.append(x)
    ray, neighbor, layout = given[:3], given[3:], {}
    if ray_packed:
        ray, at = pack(ray, keep[0])
        layout = {"ray_indices": at, "n_rays": 6}
    if neighbor_packed:
        neighbor, layout["neighbor_ray_indices"] = pack(neighbor, keep[1])
    leaves = ray[0].requires_grad_(), neighbor[0].requires_grad_()
    value = information_gain(*ray, *neighbor, **layout, reduction="none")
    tolerance = {"rtol": 1e-4 if dtype == torch.float32 else 1e-10, "atol": 1e-6}
    torch.testing.assert_close(value, torch.stack(values), **tolerance)
    for x, y in zip(torch.autograd.grad(value.sum(), leaves), gradients, strict=True):
        torch.testing.assert_close(x.flatten(), torch.cat(y), **tolerance)
    module = InformationGain(reduction="none")
    assert torch.equal(module(*ray, *neighbor, **layout), value)


@pytest.mark.parametrize("name", ["numpy", "jax"])
@pytest.mark.parametrize("both", [False, True])
def test_packed_neighbours_in_other_libraries(name, both) -> None:
    given = pairs()
    keep = torch.rand(6, 5, generator=torch.Generator().manual_seed(0)) < 0.6
    neighbor, at = pack(given[3:], keep)
    ray, layout = list(given[:3]), {"neighbor_ray_indices": at}
    if both:
        ray, layout["ray_indices"] = pack(given[:3], torch.ones(6, 8).bool())
        layout["n_rays"] = 6
    given = {**dict(zip(NAMES, [*ray, *neighbor], strict=True)), **layout}
    expected = information_gain(**given, reduction="none")
    with library(name) as array:
        converted = {k: array(x.numpy()) if isinstance(x, Tensor) else x for k, x in given.items()}
        got = information_gain(**converted, reduction="none")
        np.testing.assert_allclose(np.asarray(got), expected.numpy(), rtol=1e-9, atol=1e-12)


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize("ray_packed", [False, True])
def test_packed_neighbours_compile_as_one_graph(ray_packed) -> None:
    torch.compiler.reset()
    given = [x.float() for x in pairs()]
    keep = torch.rand(6, 5, generator=torch.Generator().manual_seed(0)) < 0.6
    neighbor, at = pack(given[3:], keep)
    ray, layout = given[:3], {"neighbor_ray_indices": at}
    if ray_packed:
        ray, layout["ray_indices"] = pack(given[:3], torch.ones(6, 8).bool())
        layout["n_rays"] = 6
    leaf = neighbor[0].requires_grad_()
    compiled = torch.compile(information_gain, fullgraph=True, backend="aot_eager")
    got, expected = (
        torch.autograd.grad(f(*ray, leaf, *neighbor[1:], **layout), leaf)[0]
        for f in (compiled, information_gain)
    )
    torch.testing.assert_close(got, expected)


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (
            {"form": "js"},
            ValueError,
            r'form must be "aligned", "released" or "softmax", got \'js\'',
        ),
        ({"eps": 0.0}, ValueError, r"eps must be a number > 0, got 0.0"),
        ({"threshold": -0.1}, ValueError, r"threshold must be a number >= 0, got -0.1"),
        (
            {"form": "released"},
            ValueError,
            r".* must share one shape .* weights \(6, 8\), .* neighbor_weights \(6, 5\)",
        ),
        (
            {"form": "released", "neighbor_ray_indices": torch.zeros(5, dtype=torch.int64)},
            ValueError,
            r'form="released" compares sample by sample, .* leave neighbor_ray_indices out',
        ),
        (
            {name: torch.ones(4, 5) for name in NAMES[3:]},
            ValueError,
            r"neighbor_weights must have shape \(6, S\), .* got \(4, 5\)",
        ),
        (
            {"neighbor_ends": torch.ones(6, 4)},
            ValueError,
            r"neighbor_weights, neighbor_starts, neighbor_ends must share one shape",
        ),
        (
            {"neighbor_ray_indices": torch.zeros(5, dtype=torch.int64)},
            ValueError,
            r"packed neighbor_weights must be \(N,\) as neighbor_ray_indices, got \(6, 5\)",
        ),
    ],
)
def test_says_what_is_wrong(changes, error, message) -> None:
    arguments = dict(zip(NAMES, pairs(), strict=True))
    with pytest.raises(error, match="^information_gain: " + message):
        information_gain(**{**arguments, **changes})
