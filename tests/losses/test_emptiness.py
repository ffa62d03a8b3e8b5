"""Emptiness against loops, by hand, against the released formula, and at its edges."""

import math

import numpy as np
import pytest
import torch

from nerfreg import check_values
from nerfreg.losses import Emptiness, emptiness


def slow_emptiness(weights, uncertainty, strength) -> float:
    rho = 1.0 if uncertainty is None else uncertainty
    return sum(math.log(1.0 + strength * rho * w) for w in weights) / len(weights)


@pytest.mark.parametrize("with_uncertainty", [False, True])
@pytest.mark.parametrize("options", [{}, {"strength": 10.0}])
@pytest.mark.parametrize("with_valid", [False, True])
def test_agrees_with_loops(with_uncertainty, options, with_valid) -> None:
    rng = np.random.default_rng(0)
    weights = 0.2 * rng.random((6, 9))
    uncertainty = rng.random(6) if with_uncertainty else None
    valid = rng.random(6) < 0.6 if with_valid else np.ones(6, bool)
    expected = valid * [
        slow_emptiness(
            w, None if uncertainty is None else uncertainty[i], options.get("strength", 2.0)
        )
        for i, w in enumerate(weights)
    ]
    for reduction, value in [
        ("none", expected),
        ("sum", expected.sum()),
        ("mean", expected.sum() / valid.sum()),
    ]:
        got = emptiness(
            torch.from_numpy(weights),
            None if uncertainty is None else torch.from_numpy(uncertainty),
            **options,
            valid=torch.from_numpy(valid) if with_valid else None,
            reduction=reduction,
        )
        np.testing.assert_allclose(got.numpy(), value, rtol=1e-12)


def test_by_hand() -> None:
    """Weights ½ and 0: ½·log(1 + 2·½) = ½ log 2; with uncertainty 3, ½·log(1 + 2·3·½) = log 2."""
    weights = torch.tensor([[0.5, 0.0]], dtype=torch.float64)
    assert emptiness(weights).item() == pytest.approx(0.5 * math.log(2), rel=1e-12)
    three = torch.tensor([3.0], dtype=torch.float64)
    assert emptiness(weights, three).item() == pytest.approx(math.log(2), rel=1e-12)


def test_released_formula() -> None:
    """FlipNeRF's code: η = 2, ρ sums scales along the ray and averages channels; 1e-12 added."""
    generator = torch.Generator().manual_seed(0)
    scales = torch.rand(5, 8, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    weights = torch.rand(5, 8, generator=generator, dtype=torch.float64).softmax(-1)
    rho = scales.sum(1).mean(-1)
    released = (1e-12 + 1.0 + 2.0 * rho[:, None] * weights).log().mean(-1)
    torch.testing.assert_close(
        emptiness(weights, rho, reduction="none"), released, rtol=1e-10, atol=0
    )
    assert not emptiness(weights, rho).requires_grad  # the uncertainty is held fixed


def test_fog_costs_more_than_a_surface_of_its_opacity() -> None:
    fog, wall = torch.full((1, 8), 0.1), torch.tensor([[0.8, *[0.0] * 7]])
    assert emptiness(fog) > 1.5 * emptiness(wall)
    (pull,) = torch.autograd.grad(emptiness(fog.requires_grad_()), fog)
    assert (pull > 0).all()


def test_opacity_of_splats_is_a_ray_of_one_sample() -> None:
    opacity = torch.tensor([0.0, 0.5, 1.0])
    values = emptiness(opacity[..., None], strength=1.0, reduction="none")
    torch.testing.assert_close(values, torch.log(1.0 + opacity))


def test_packed_rays_may_be_empty() -> None:
    weights, indices = torch.tensor([0.5, 0.25, 1.0]), torch.tensor([0, 0, 2])
    values = emptiness(weights, ray_indices=indices, n_rays=4, reduction="none")
    expected = [0.5 * (math.log(2.0) + math.log(1.5)), 0.0, math.log(3.0), 0.0]
    assert values.tolist() == pytest.approx(expected)


def test_thin_fog_keeps_its_precision() -> None:
    weights = torch.full((1, 4), 1e-9)
    assert emptiness(weights).item() == pytest.approx(2e-9, rel=1e-6)


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"strength": 0.0}, ValueError, r"strength must be a number > 0, got 0.0"),
        ({"strength": math.inf}, ValueError, r"strength must be a number > 0, got inf"),
        ({"weights": torch.ones(5, 7).long()}, TypeError, r"weights must be floating point"),
        ({"weights": torch.ones(5, 0)}, ValueError, r"weights must be \(…, S\) with S >= 1"),
        (
            {"uncertainty": torch.ones(5, 7)},
            ValueError,
            r"uncertainty must have shape \(5,\), one a ray of weights, got \(5, 7\)",
        ),
        ({"uncertainty": 1.0}, TypeError, r"uncertainty must be an array .* got float"),
        ({"valid": torch.ones(5)}, ValueError, r"valid must be boolean of shape \(5,\)"),
        ({"reduction": "max"}, ValueError, r"reduction must be"),
    ],
)
def test_says_what_is_wrong(changes, error, message) -> None:
    arguments = {"weights": torch.ones(5, 7), "uncertainty": torch.ones(5)}
    with pytest.raises(error, match="^emptiness: " + message):
        emptiness(**{**arguments, **changes})


def test_checks_uncertainty_when_asked() -> None:
    weights, uncertainty = torch.full((3, 2), 0.5), torch.tensor([1.0, -0.5, 1.0])
    with check_values():
        with pytest.raises(ValueError, match=r"^emptiness: uncertainty must be >= 0 everywhere"):
            emptiness(weights, uncertainty)
        emptiness(weights, uncertainty, valid=uncertainty > 0)


def test_module_is_the_function() -> None:
    weights, uncertainty = torch.rand(3, 4), torch.rand(3)
    module = Emptiness(strength=5.0, reduction="none")
    expected = emptiness(weights, uncertainty, strength=5.0, reduction="none")
    assert torch.equal(module(weights, uncertainty), expected)
