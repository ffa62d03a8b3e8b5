"""Ray entropy against loops, by hand, against InfoNeRF's numbers, and at its edges."""

import math

import numpy as np
import pytest
import torch

from nerfreg.losses import RayEntropy, ray_entropy
from tests.golden import golden, golden_cases


def slow_ray_entropy(weights, opacity, threshold, base) -> float:
    """One ray, by the definition."""
    mass = sum(weights)
    if mass == 0.0 or (mass if opacity is None else opacity) <= threshold:
        return 0.0
    shares = [w / mass for w in weights]
    return -sum(p * math.log(p, base) for p in shares if p > 0)


@pytest.mark.parametrize("with_opacity", [False, True])
@pytest.mark.parametrize("options", [{}, {"threshold": 0.4}, {"threshold": 0.0, "base": math.e}])
@pytest.mark.parametrize("with_valid", [False, True])
def test_agrees_with_loops(with_opacity, options, with_valid) -> None:
    rng = np.random.default_rng(0)
    weights = rng.random((6, 9)) * (rng.random((6, 9)) < 0.7)
    weights *= np.array([[0.0], [0.01], [0.05], [0.1], [0.15], [0.2]])
    opacity = np.array([0.5, 0.05, 0.2, 0.6, 0.9, 0.3]) if with_opacity else None
    valid = np.array([True, True, False, True, False, True]) if with_valid else np.ones(6, bool)
    limits = {"threshold": 0.1, "base": 2.0, **options}
    expected = valid * [
        slow_ray_entropy(w.tolist(), None if opacity is None else opacity[i], **limits)
        for i, w in enumerate(weights)
    ]
    assert 0 < np.count_nonzero(expected) < 6
    for reduction, value in [
        ("none", expected),
        ("sum", expected.sum()),
        ("mean", expected.sum() / valid.sum()),
    ]:
        got = ray_entropy(
            torch.from_numpy(weights),
            None if opacity is None else torch.from_numpy(opacity),
            **options,
            valid=torch.from_numpy(valid) if with_valid else None,
            reduction=reduction,
        )
        np.testing.assert_allclose(got.numpy(), value, rtol=1e-8)


def test_by_hand() -> None:
    """Shares ½, ¼, ¼ have ½·1 + ¼·2 + ¼·2 = 1.5 bits, and log 2 as many nats."""
    weights = torch.tensor([[0.4, 0.2, 0.0, 0.2]], dtype=torch.float64)
    assert ray_entropy(weights).item() == pytest.approx(1.5, rel=1e-12)
    nats = ray_entropy(weights, base=math.e).item()
    assert nats == pytest.approx(1.5 * math.log(2), rel=1e-12)


@pytest.mark.parametrize("case", golden_cases("infonerf_entropy"))
def test_meets_upstream(case) -> None:
    """From alphas and rendered opacity, through the mask and log scaling, to the gradient."""
    numbers = golden("infonerf_entropy", case)
    alpha, opacity = numbers["alpha"].requires_grad_(), numbers["acc"]
    threshold = numbers["acc_threshold"].item()
    unmasked = ray_entropy(alpha, torch.ones_like(opacity), threshold=0.0, reduction="none")
    expected = numbers["entropy_per_ray_unmasked"]
    # Upstream adds 1e-10 in the logarithm: 2e-9 off a ray, measured.
    torch.testing.assert_close(unmasked, expected, rtol=0, atol=1e-8)

    # Case 4 leaves out the second half of the rays, which are others' neighbours.
    counted = torch.arange(len(opacity)) < (len(opacity) // 2 if case == 4 else len(opacity))
    value = ray_entropy(alpha, opacity, threshold=threshold, valid=counted)
    if numbers["log_scaling"]:
        value = (value + 1e-10).log()
    torch.testing.assert_close(value, numbers["loss_ray_zvals"], rtol=0, atol=1e-8)
    value.backward()
    gradient = numbers["grad_alpha"]
    clear = (numbers["ray_prob"] > 1e-4) | (numbers["ray_prob"] == 0.0)
    torch.testing.assert_close(alpha.grad[clear], gradient[clear], rtol=2e-6, atol=1e-8)
    # Around shares of 1e-10 a bound is not a sum: at most 1 nat of some 23 apart.
    torch.testing.assert_close(alpha.grad, gradient, rtol=0.05, atol=1e-8)


def test_masked_rays_count_in_the_mean_and_have_no_gradient() -> None:
    weights = torch.tensor([[0.25, 0.25], [0.01, 0.01]], requires_grad=True)
    value = ray_entropy(weights)
    value.backward()
    assert value.item() == pytest.approx(0.5)
    assert not weights.grad[1].any()
    alone = ray_entropy(weights, valid=weights.detach().sum(-1) > 0.1)
    assert alone.item() == pytest.approx(1.0)


def test_opacity_must_exceed_the_threshold() -> None:
    weights = torch.full((3, 2), 0.5)
    opacity = torch.tensor([0.25, 0.26, 0.24])
    values = ray_entropy(weights, opacity, threshold=0.25, reduction="none")
    assert values.tolist() == [0.0, 1.0, 0.0]


def test_opacity_receives_no_gradient() -> None:
    weights, opacity = torch.rand(3, 4, requires_grad=True), torch.ones(3, requires_grad=True)
    ray_entropy(weights, opacity).backward()
    assert weights.grad.any()
    assert opacity.grad is None


def test_descent_gathers_a_ray_in_its_largest_sample() -> None:
    weights = torch.tensor([[0.3, 0.2, 0.1]], requires_grad=True)
    ray_entropy(weights).backward()
    assert weights.grad[0, 0] < 0 < weights.grad[0, 2]


def test_empty_samples_are_neutral_and_packed_rays_may_be_empty() -> None:
    dense = torch.tensor([[0.3, 0.0, 0.2, 0.0], [0.0, 0.0, 0.0, 0.0], [0.0, 0.1, 0.1, 0.1]])
    keep = dense > 0
    values = ray_entropy(dense[keep], ray_indices=keep.nonzero()[:, 0], n_rays=4, reduction="none")
    expected = ray_entropy(dense, reduction="none").tolist()
    assert values.tolist() == pytest.approx([*expected, 0.0])
    assert expected[1] == 0.0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("weights", [[0.0, 0.0], [1e-6, 0.0], [1.0, 0.0], [1.0], [0.0]])
def test_finite_at_the_edges(dtype, weights) -> None:
    """Also where an opacity that says otherwise lets an empty ray through."""
    given = torch.tensor([weights], dtype=dtype, requires_grad=True)
    value = ray_entropy(given, torch.ones(1, dtype=dtype), threshold=0.0)
    value.backward()
    assert 0.0 <= value.item() <= 1.0
    assert given.grad.isfinite().all()
    assert value.dtype == torch.float32


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"threshold": -0.1}, ValueError, r"threshold must be a number >= 0, got -0.1"),
        ({"threshold": torch.tensor(0.1)}, ValueError, r"threshold must be a number >= 0, got ten"),
        ({"base": 1.0}, ValueError, r"base must be a number > 1, got 1.0"),
        ({"base": math.nan}, ValueError, r"base must be a number > 1, got nan"),
        ({"weights": torch.ones(5, 7).long()}, TypeError, r"weights must be floating point"),
        ({"weights": [0.5]}, TypeError, r"weights must be an array .* got list"),
        ({"weights": torch.ones(5, 0)}, ValueError, r"weights must be \(…, S\) with S >= 1"),
        (
            {"opacity": torch.ones(5, 1)},
            ValueError,
            r"opacity must have shape \(5,\), one a ray of weights, got \(5, 1\)",
        ),
        ({"opacity": torch.ones(5).int()}, TypeError, r"opacity must be floating point"),
        ({"valid": torch.ones(5, 7) > 0}, ValueError, r"valid must be boolean of shape \(5,\)"),
        ({"reduction": "max"}, ValueError, r"reduction must be"),
        ({"n_rays": 5}, ValueError, r"n_rays=5 without ray_indices"),
        (
            {"weights": torch.ones(7), "ray_indices": torch.zeros(6).long(), "n_rays": 5},
            ValueError,
            r"packed weights must be \(N,\) as ray_indices",
        ),
    ],
)
def test_says_what_is_wrong(changes, error, message) -> None:
    arguments = {"weights": torch.ones(5, 7), "opacity": torch.ones(5)}
    with pytest.raises(error, match="^ray_entropy: " + message):
        ray_entropy(**{**arguments, **changes})


def test_module_is_the_function() -> None:
    weights, opacity = torch.rand(3, 4), torch.rand(3)
    module = RayEntropy(threshold=0.5, base=math.e, reduction="none")
    expected = ray_entropy(weights, opacity, threshold=0.5, base=math.e, reduction="none")
    assert torch.equal(module(weights, opacity), expected)
