"""Scale-and-shift-invariant depth against loops, by hand, against nerfstudio's, at its edges."""

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from nerfreg import check_values
from nerfreg.losses import ScaleShiftInvariantDepth, scale_shift_invariant_depth
from tests.golden import golden, golden_cases

MAPS = torch.rand(3, 4, 5), torch.rand(3, 4, 5)


def slow_scale_shift_invariant_depth(rendered, depth, gradient_weight, n_scales, valid):
    """One value a map: the fit by NumPy's solver, then pixel by pixel."""
    values = []
    for r, d, v in zip(rendered, depth, valid, strict=True):
        if not v.any():
            values.append(0.0)
            continue
        columns = np.stack([r[v], np.ones(v.sum())], axis=1)
        (a, b), *_ = np.linalg.lstsq(columns, d[v], rcond=None)
        error = a * r + b - d
        value = (error[v] ** 2).mean() / 2
        for step in (2**k for k in range(n_scales)):
            e, some = error[::step, ::step], v[::step, ::step]
            total = 0.0
            for y, x in itertools.product(range(e.shape[0]), range(e.shape[1])):
                for other in ((y + 1, x), (y, x + 1)):
                    if other[0] < e.shape[0] and other[1] < e.shape[1]:
                        total += abs(e[y, x] - e[other]) * (some[y, x] and some[other])
            value += gradient_weight * total / max(some.sum(), 1)
        values.append(value)
    return np.array(values)


@pytest.mark.parametrize("gradient_weight", [0.0, 0.5, 3.0])
@pytest.mark.parametrize("n_scales", [0, 1, 4])
@pytest.mark.parametrize("with_valid", [False, True])
@pytest.mark.parametrize("size", [(8, 8), (5, 3), (1, 7), (17, 2)])
def test_agrees_with_loops(gradient_weight, n_scales, with_valid, size) -> None:
    rng = np.random.default_rng(0)
    rendered, depth = rng.uniform(1.0, 3.0, (2, 4, *size))
    rendered[1] = 2.0  # constant: the solver's fit of least norm has the same a · 2 + b
    valid = rng.random(depth.shape) < 0.7 if with_valid else np.ones(depth.shape, bool)
    valid[2] &= not with_valid
    expected = slow_scale_shift_invariant_depth(rendered, depth, gradient_weight, n_scales, valid)
    for reduction, value in [
        ("none", expected),
        ("sum", expected.sum()),
        ("mean", expected.sum() / (3 if with_valid else 4)),
    ]:
        got = scale_shift_invariant_depth(
            torch.from_numpy(rendered),
            torch.from_numpy(depth),
            gradient_weight=gradient_weight,
            n_scales=n_scales,
            valid=torch.from_numpy(valid) if with_valid else None,
            reduction=reduction,
        )
        np.testing.assert_allclose(got.numpy(), value, rtol=1e-9, atol=1e-12)


def test_by_hand() -> None:
    """Centred, (−1, 0, 1) and (−1, 1, 0)·10: a = 5, so e = (−5, 0, 5) − (−10, 10, 0) = (5, −10, 5).

    Half the mean square is 25. The differences, 15 and 15 over 3 pixels, make 10, of which
    half counts; at the next scale the ends are neighbours, and differ by 0.
    """
    rendered, depth = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[10.0, 30.0, 20.0]])
    for options, expected in [
        ({"gradient_weight": 0.0}, 25.0),
        ({}, 30.0),
        ({"gradient_weight": 1.0, "n_scales": 1}, 35.0),
        ({"n_scales": 0}, 25.0),
    ]:
        got = scale_shift_invariant_depth(rendered, depth, **options)
        assert got.item() == pytest.approx(expected, rel=1e-5)


def terms(prediction: Tensor, target: Tensor, mask: Tensor, n_scales: int) -> list[Tensor]:
    """The data term and each scale's gradient term, one value a map."""

    def value(weight: float, scales: int) -> Tensor:
        return scale_shift_invariant_depth(
            prediction,
            target,
            gradient_weight=weight,
            n_scales=scales,
            valid=mask,
            reduction="none",
        )

    up_to = [value(1.0, scales) for scales in range(n_scales + 1)]
    return [up_to[0], *(b - a for a, b in itertools.pairwise(up_to))]


@pytest.mark.parametrize("case", golden_cases("ns_scale_shift_invariant"))
def test_meets_nerfstudio(case) -> None:
    """Its "image" is our mean; its "batch" weighs each map by how many pixels count in it.

    Case 3 is a constant map and an empty one. There upstream fits a = b = 0, not the best fit, so
    its data term is half the mean square of the target and not half its variance.
    """
    numbers = golden("ns_scale_shift_invariant", case)
    alpha, n_scales = float(numbers["alpha"]), int(numbers["scales"])
    prediction, mask = numbers["prediction"].clone().requires_grad_(), numbers["mask"]
    target = numbers["target"]
    by_map = terms(prediction, target, mask, n_scales)
    if str(numbers["reduction"]) == "image":
        assert mask.flatten(1).any(1).all()
        data, *gradients = (term.mean() for term in by_map)
        whole = scale_shift_invariant_depth(
            prediction, target, gradient_weight=alpha, n_scales=n_scales, valid=mask
        )
        torch.testing.assert_close(whole, numbers["loss"], rtol=1e-12, atol=0)
    else:
        steps = [1, *(2**k for k in range(n_scales))]
        counts = [mask[:, ::step, ::step].sum((1, 2)).double() for step in steps]
        data, *gradients = (
            (count * term).sum() / count.sum() for count, term in zip(counts, by_map, strict=True)
        )
    gradient_loss = sum(gradients)
    torch.testing.assert_close(gradient_loss, numbers["gradient_loss"], rtol=1e-12, atol=0)
    if case == 3:
        torch.testing.assert_close(data, target[mask].var(correction=0) / 2, rtol=1e-12, atol=0)
        upstream = (target[mask] ** 2).mean() / 2
        torch.testing.assert_close(upstream, numbers["data_loss"], rtol=1e-12, atol=0)
    else:
        torch.testing.assert_close(data, numbers["data_loss"], rtol=1e-12, atol=0)
    (data + alpha * gradient_loss).backward()
    torch.testing.assert_close(prediction.grad, numbers["grad_prediction"], rtol=0, atol=1e-14)


@pytest.mark.parametrize("options", [{}, {"gradient_weight": 0.0}])
def test_any_linear_map_fits_even_a_decreasing_one(options) -> None:
    depth = torch.rand(3, 9, 9, dtype=torch.float64)
    for a, b in [(1.0, 0.0), (1e-3, 5.0), (1e6, -3.0), (-2.0, 1.0)]:
        value = scale_shift_invariant_depth(a * depth + b, depth, **options)
        assert value.item() == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("fill", [0.0, 1e-38, 0.1, 3e38])
def test_a_constant_map_is_fitted_by_the_mean(fill) -> None:
    rendered, depth = torch.full((64, 64), fill, requires_grad=True), torch.rand(64, 64) + 100.0
    value = scale_shift_invariant_depth(rendered, depth, gradient_weight=0.0)
    value.backward()
    assert value.item() == pytest.approx(depth.var(correction=0).item() / 2, rel=1e-4)
    assert not rendered.grad.any()


def test_far_away_maps_keep_their_precision() -> None:
    """In float32 nothing is left of a spread of 1 at 10,000 in upstream's n·Σr² − (Σr)²."""
    depth = torch.rand(3, 32, 32, dtype=torch.float64)
    rendered = depth + 0.1 * torch.rand_like(depth)
    expected = scale_shift_invariant_depth(rendered, depth)
    moved = (rendered + 1e4).float()
    got = scale_shift_invariant_depth(moved, depth.float())
    exact = scale_shift_invariant_depth(moved.double(), depth)
    assert got.item() == pytest.approx(exact.item(), rel=1e-4)
    assert got.item() == pytest.approx(expected.item(), rel=1e-2)  # adding 1e4 rounds off 5e-4


def test_scales_without_neighbours_add_nothing() -> None:
    rendered, depth = torch.rand(2, 3, 3, dtype=torch.float64)
    two, many = (scale_shift_invariant_depth(rendered, depth, n_scales=n) for n in (2, 12))
    torch.testing.assert_close(many, two, rtol=0, atol=0)


def test_given_depths_of_any_size_have_finite_squares() -> None:
    rendered = torch.rand(64, 64, requires_grad=True)
    depth = torch.rand(64, 64)
    depth[0, 0] = 3e38
    value = scale_shift_invariant_depth(rendered, depth)
    value.backward()
    assert value.isfinite()
    assert rendered.grad.isfinite().all()


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize(
    ("error", "message", "arguments", "options"),
    [
        (ValueError, r"two pixels or more, got \(4,\)", (torch.ones(4), torch.ones(4)), {}),
        (
            ValueError,
            r"share one shape .* rendered \(3, 4, 5\), depth \(1, 4, 5\)",
            (torch.ones(3, 4, 5), torch.ones(1, 4, 5)),
            {},
        ),
        (ValueError, r"gradient_weight must be a number >= 0", MAPS, {"gradient_weight": -1.0}),
        (ValueError, r"n_scales must be an integer >= 0, got -1", MAPS, {"n_scales": -1}),
        (ValueError, r"n_scales must be an integer >= 0, got 2.0", MAPS, {"n_scales": 2.0}),
        (ValueError, r"reduction must be", MAPS, {"reduction": "image"}),
        (
            ValueError,
            r"valid must be boolean of shape \(3, 4, 5\), got torch.float32",
            MAPS,
            {"valid": torch.ones(3, 4, 5)},
        ),
        (
            TypeError,
            r"depth must be floating point",
            (torch.ones(4, 5), torch.ones(4, 5).int()),
            {},
        ),
        (TypeError, r"rendered must be an array", ([[1.0, 2.0]], torch.ones(1, 2)), {}),
        (TypeError, r"one library", (torch.ones(4, 5), np.ones((4, 5))), {}),
        (
            ValueError,
            r"must be on one device, got rendered on cpu, depth on meta",
            (torch.ones(4, 5), torch.ones(4, 5, device="meta")),
            {},
        ),
    ],
)
def test_says_what_is_wrong(error, message, arguments, options) -> None:
    with pytest.raises(error, match="^scale_shift_invariant_depth: .*" + message):
        scale_shift_invariant_depth(*arguments, **options)


def test_checks_values_when_asked() -> None:
    rendered, depth = torch.rand(2, 8, 8)
    depth[1, 1] = torch.nan
    with check_values():
        with pytest.raises(ValueError, match=r"^scale_shift_invariant_depth: depth must be finite"):
            scale_shift_invariant_depth(rendered, depth)
        scale_shift_invariant_depth(rendered, depth, valid=depth.isfinite())


def test_the_module_has_the_options() -> None:
    rendered, depth = torch.rand(2, 3, 8, 8)
    options = {"gradient_weight": 2.0, "n_scales": 2, "reduction": "sum"}
    expected = scale_shift_invariant_depth(rendered, depth, **options)
    assert torch.equal(ScaleShiftInvariantDepth(**options)(rendered, depth), expected)
