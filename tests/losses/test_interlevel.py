"""Interlevel against loops, by hand, against two codes' numbers, in mixed layouts."""

import numpy as np
import pytest
import torch
from torch import Tensor

from nerfreg.losses import Interlevel, interlevel
from nerfreg.rays import edges_to_intervals
from tests.golden import golden, golden_cases
from tests.laws.calls import library

NAMES = [
    *("weights", "starts", "ends"),
    *("proposal_weights", "proposal_starts", "proposal_ends"),
]
VALID = torch.tensor([True, False, True, True, False])


def some_rays(seed: int, n_samples: int, n: int = 5) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    widths = torch.rand(n, n_samples, generator=generator).double() + 0.05
    holes = torch.rand(n, n_samples, generator=generator).double() * 0.2
    ends = (widths + holes).cumsum(-1)
    ends = 5.0 * ends / ends[:, -1:]
    starts = torch.cat([torch.zeros(n, 1).double(), ends[:, :-1]], -1) + 0.01
    return torch.rand(n, n_samples, generator=generator).double().softmax(-1), starts, ends


def both_levels() -> tuple[Tensor, ...]:
    """Proposals that bound some of the final weights, and not others."""
    weights, starts, ends = some_rays(0, 9)
    proposal, *bounds = some_rays(1, 4)
    return weights, starts, ends, 0.4 * proposal, *bounds


def slow_interlevel(w, s, e, proposal, lower, upper, eps=2.0**-23) -> float:
    """One ray, pair by pair."""
    total = 0.0
    for weight, a, b in zip(w, s, e, strict=True):
        bound = sum(p for p, c, d in zip(proposal, lower, upper, strict=True) if c <= b and d > a)
        total += max(weight - bound, 0.0) ** 2 / (weight + eps)
    return total


@pytest.mark.parametrize("options", [{}, {"eps": 0.1}])
@pytest.mark.parametrize("valid", [None, VALID])
def test_agrees_with_loops(options, valid) -> None:
    levels = both_levels()
    expected = torch.tensor(
        [
            slow_interlevel(*(x.tolist() for x in ray), **options)
            for ray in zip(*levels, strict=True)
        ]
    ).double()
    assert expected.all()
    if valid is not None:
        expected = expected * valid
    n = 5 if valid is None else int(valid.sum())
    for reduction, value in [
        ("none", expected),
        ("sum", expected.sum()),
        ("mean", expected.sum() / n),
    ]:
        got = interlevel(*levels, **options, valid=valid, reduction=reduction)
        torch.testing.assert_close(got, value, rtol=1e-6, atol=1e-9)


def test_by_hand() -> None:
    """Final weights ½ and ¼ under one proposal of ⅜ over both: (½ − ⅜)² / ½ = 1/32.

    The gradient to the proposal is −2 (½ − ⅜) / ½.
    """
    starts, ends = edges_to_intervals(torch.tensor([0.0, 1.0, 2.0], dtype=torch.float64))
    proposal = torch.tensor([0.375], dtype=torch.float64, requires_grad=True)
    final = torch.tensor([0.5, 0.25], dtype=torch.float64)
    value = interlevel(final, starts, ends, proposal, starts[:1], ends[1:])
    value.backward()
    assert value.item() == pytest.approx(1 / 32, rel=1e-6)
    assert proposal.grad.item() == pytest.approx(-0.5, rel=1e-6)


@pytest.mark.parametrize("case", golden_cases("ns_interlevel_loss"))
def test_meets_nerfstudio(case) -> None:
    """Its loss is a mean over samples too; its ε is 1e-7."""
    numbers = golden("ns_interlevel_loss", case)
    final = numbers["weights"][..., 0].requires_grad_()
    proposal = numbers["weights_prop"][..., 0].requires_grad_()
    value = interlevel(
        *(final, *edges_to_intervals(numbers["sdist"])),
        *(proposal, *edges_to_intervals(numbers["sdist_prop"])),
        eps=1e-7,
        reduction="none",
    )
    exact = {"rtol": 1e-12, "atol": 1e-15}
    torch.testing.assert_close(value, numbers["lossfun_outer"].sum(-1), **exact)
    mean = value.mean() / final.shape[-1]
    torch.testing.assert_close(mean, numbers["loss"], **exact)
    (gradient,) = torch.autograd.grad(mean, proposal, retain_graph=True)
    torch.testing.assert_close(gradient, numbers["grad_weights_prop"][..., 0], **exact)
    mean.backward()
    assert final.grad is None
    assert not numbers["grad_weights"].any()


@pytest.mark.parametrize("case", golden_cases("multinerf_stepfun"))
def test_meets_multinerf(case) -> None:
    """It, too, takes the mean over samples; our ε is its own."""
    numbers = golden("multinerf_stepfun", case)
    proposal = numbers["w_env"].requires_grad_()
    value = interlevel(
        *(numbers["w"], *edges_to_intervals(numbers["t"])),
        *(proposal, *edges_to_intervals(numbers["t_env"])),
        reduction="none",
    )
    exact = {"rtol": 1e-12, "atol": 1e-15}
    torch.testing.assert_close(value, numbers["lossfun_outer"].sum(-1), **exact)
    mean = value.mean() / numbers["w"].shape[-1]
    (gradient,) = torch.autograd.grad(mean, proposal)
    torch.testing.assert_close(gradient, numbers["grad_w_env_of_mean"], **exact)


def pack(samples: tuple[Tensor, ...], keep: Tensor) -> tuple[list[Tensor], Tensor]:
    return [x[keep] for x in samples], keep.nonzero()[:, 0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("final_packed", [False, True])
@pytest.mark.parametrize("proposal_packed", [False, True])
def test_levels_in_any_layout(dtype, final_packed, proposal_packed) -> None:
    """Rays without samples at one level or both; equal to each ray by itself, gradients too."""
    levels = [x.to(dtype) for x in both_levels()]
    keep = [torch.rand(5, n, generator=torch.Generator().manual_seed(n)) < 0.7 for n in (9, 4)]
    for kept, is_packed, empty in zip(keep, (final_packed, proposal_packed), (0, 4), strict=True):
        kept[[empty, 2]] = False
        if not is_packed:
            kept[:] = True
    values, gradients = [], []
    for ray in range(5):
        one = [
            x[ray][kept[ray]] for x, kept in zip(levels, [keep[0]] * 3 + [keep[1]] * 3, strict=True)
        ]
        leaf = one[3].requires_grad_()
        if len(one[0]) == 0 or len(leaf) == 0:
            values.append((one[0] ** 2 / (one[0] + 2.0**-23)).sum() + 0.0 * leaf.sum())
        else:
            values.append(interlevel(*one[:3], leaf, *one[4:]))
        gradients += [torch.autograd.grad(values[-1], leaf)[0]]
    final, proposal, layout = levels[:3], levels[3:], {}
    if final_packed:
        final, at = pack(final, keep[0])
        layout = {"ray_indices": at, "n_rays": 5}
    if proposal_packed:
        proposal, layout["proposal_ray_indices"] = pack(proposal, keep[1])
    leaf = proposal[0].requires_grad_()
    value = interlevel(*final, leaf, *proposal[1:], **layout, reduction="none")
    torch.testing.assert_close(value, torch.stack(values).detach())
    (gradient,) = torch.autograd.grad(value.sum(), leaf)
    torch.testing.assert_close(gradient.flatten(), torch.cat(gradients))
    module = Interlevel(reduction="none")
    assert torch.equal(module(*final, leaf, *proposal[1:], **layout), value)


def test_a_ray_without_proposals_pays_all_its_weight() -> None:
    weights, starts, ends = some_rays(0, 9)
    nothing = [torch.zeros(0, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    at = torch.zeros(0, dtype=torch.int64)
    value = interlevel(weights, starts, ends, *nothing, proposal_ray_indices=at, reduction="none")
    torch.testing.assert_close(value, weights.sum(-1), rtol=1e-5, atol=0)
    value.sum().backward()


@pytest.mark.parametrize("name", ["numpy", "jax"])
@pytest.mark.parametrize("both", [False, True])
def test_packed_proposals_in_other_libraries(name, both) -> None:
    levels = both_levels()
    keep = torch.rand(5, 4, generator=torch.Generator().manual_seed(0)) < 0.6
    proposal, at = pack(levels[3:], keep)
    final, layout = list(levels[:3]), {"proposal_ray_indices": at}
    if both:
        final, layout["ray_indices"] = pack(levels[:3], torch.ones(5, 9).bool())
        layout["n_rays"] = 5
    given = {**dict(zip(NAMES, [*final, *proposal], strict=True)), **layout}
    expected = interlevel(**given, reduction="none")
    with library(name) as array:
        converted = {k: array(x.numpy()) if isinstance(x, Tensor) else x for k, x in given.items()}
        got = interlevel(**converted, reduction="none")
        np.testing.assert_allclose(np.asarray(got), expected.numpy(), rtol=1e-12)


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize("final_packed", [False, True])
def test_packed_proposals_compile_as_one_graph(final_packed) -> None:
    torch.compiler.reset()
    levels = [x.float() for x in both_levels()]
    keep = torch.rand(5, 4, generator=torch.Generator().manual_seed(0)) < 0.6
    proposal, at = pack(levels[3:], keep)
    final, layout = levels[:3], {"proposal_ray_indices": at}
    if final_packed:
        final, layout["ray_indices"] = pack(levels[:3], torch.ones(5, 9).bool())
        layout["n_rays"] = 5
    leaf = proposal[0].requires_grad_()
    compiled = torch.compile(interlevel, fullgraph=True, backend="aot_eager")
    got, expected = (
        torch.autograd.grad(f(*final, leaf, *proposal[1:], **layout), leaf)[0]
        for f in (compiled, interlevel)
    )
    torch.testing.assert_close(got, expected)


def test_the_proposal_learns_the_final_histogram() -> None:
    """From a proposal of next to nothing, descent ends with a bound: a loss of 0."""
    weights, starts, ends = some_rays(0, 9)
    _, lower, upper = some_rays(1, 6)
    logits = torch.full((5, 6), -6.0, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=0.1)
    for _ in range(200):
        loss = interlevel(weights, starts, ends, logits.exp(), lower, upper)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 1e-4
    assert logits.exp().sum(-1).max() < 2.0


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"eps": 0.0}, ValueError, r"eps must be a number > 0, got 0.0"),
        (
            {"proposal_starts": torch.ones(5, 3)},
            ValueError,
            r"proposal_weights, proposal_starts, proposal_ends must share one shape",
        ),
        (
            {name: torch.ones(4, 4) for name in NAMES[3:]},
            ValueError,
            r"proposal_weights must have shape \(5, S\), samples of the same rays as weights"
            r" \(or packed, with proposal_ray_indices\), got \(4, 4\)",
        ),
        (
            {name: torch.ones(6) for name in NAMES[3:]},
            ValueError,
            r"proposal_weights must have shape \(5, S\), .* got \(6,\)",
        ),
        (
            {"proposal_ray_indices": torch.zeros(5, dtype=torch.int64)},
            ValueError,
            r"packed proposal_weights must be \(N,\) as proposal_ray_indices, got \(5, 4\)",
        ),
        (
            {"proposal_ray_indices": torch.zeros(4)},
            TypeError,
            r"proposal_ray_indices must be int32 or int64, got torch.float32",
        ),
        ({"proposal_ends": 1.0}, TypeError, r"proposal_ends must be an array .* got float"),
        ({"reduction": "max"}, ValueError, r"reduction must be"),
    ],
)
def test_says_what_is_wrong(changes, error, message) -> None:
    arguments = dict(zip(NAMES, both_levels(), strict=True))
    with pytest.raises(error, match="^interlevel: " + message):
        interlevel(**{**arguments, **changes})
