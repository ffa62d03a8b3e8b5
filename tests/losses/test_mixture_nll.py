"""Mixture NLL against loops, by hand, against MixNeRF's numbers, and at its edges."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from nerfreg import check_values
from nerfreg.losses import MixtureNLL, mixture_nll
from tests.golden import golden, golden_cases

VALID = torch.tensor([True, False, True, True, False])


def some_rays(n_channels: int = 3) -> tuple[Tensor, ...]:
    """Five rays of seven coloured samples."""
    generator = torch.Generator().manual_seed(0)

    def rand(*shape):
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    weights = 0.9 * rand(5, 7).softmax(-1)
    return weights, rand(5, 7, n_channels), 0.02 + rand(5, 7, n_channels), rand(5, n_channels)


def slow_mixture_nll(weights, rgb, scale, target, eps=1e-6, min_scale=1e-3) -> float:
    """One ray, by the definition."""
    share = [w + eps for w in weights]
    return -math.log(likelihood(share, rgb, scale, target, min_scale) / sum(share))


def slow_released(weights, rgb, scale, target, eps=1e-12, min_scale=1e-3) -> float:
    share = [w / (sum(weights) + eps) for w in weights]
    return -math.log(likelihood(share, rgb, scale, target, min_scale) + eps)


def likelihood(share, rgb, scale, target, min_scale) -> float:
    samples = zip(share, rgb, scale, strict=True)
    return sum(s * like(color, scales, target, min_scale) for s, color, scales in samples)


def like(color, scales, target, min_scale) -> float:
    """Laplace density of the target around one sample's colour."""
    scales = [max(s, min_scale) for s in scales]
    away = [abs(t - c) for t, c in zip(target, color, strict=True)]
    return math.prod(math.exp(-a / s) / (2 * s) for a, s in zip(away, scales, strict=True))


@pytest.mark.parametrize("form", ["mixture", "released"])
@pytest.mark.parametrize("options", [{}, {"eps": 1e-2}, {"min_scale": 0.3}])
@pytest.mark.parametrize("valid", [None, VALID])
@pytest.mark.parametrize("n_channels", [1, 3])
def test_agrees_with_loops(form, options, valid, n_channels) -> None:
    rays = some_rays(n_channels)
    slow = slow_mixture_nll if form == "mixture" else slow_released
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
        got = mixture_nll(*rays, form=form, **options, valid=valid, reduction=reduction)
        np.testing.assert_allclose(got.numpy(), value, rtol=1e-9)


def test_by_hand() -> None:
    """Two equal shares, one channel: at the colour with scale ½, and 1 away with scale 1.

    ½·1/(2·½) + ½·e⁻¹/(2·1) = ½ + e⁻¹/4.
    """
    weights = torch.tensor([[0.3, 0.3]], dtype=torch.float64)
    rgb = torch.tensor([[[0.2], [1.2]]], dtype=torch.float64)
    scale = torch.tensor([[[0.5], [1.0]]], dtype=torch.float64)
    value = mixture_nll(weights, rgb, scale, torch.tensor([[0.2]], dtype=torch.float64))
    assert value.item() == pytest.approx(-math.log(0.5 + math.exp(-1) / 4), abs=1e-6)


@pytest.mark.parametrize("case", golden_cases("mixnerf_nll"))
@pytest.mark.parametrize("form", ["released", "mixture"])
def test_meets_upstream(case, form) -> None:
    """Upstream takes π; ours takes weights and divides, so their sum has no gradient."""
    numbers = golden("mixnerf_nll", case)
    names = "pi", "mu", "gamma"
    pi, mu, gamma = (numbers[name].requires_grad_() for name in names)
    target = numbers["gt"][:, 0]
    values = mixture_nll(pi, mu, gamma, target, form=form, reduction="none")
    values.mean().backward()
    # ε of 1e-12 and, for the mixture, of 1e-6 on each share.
    close = {"rtol": 1e-10, "atol": 1e-10} if form == "released" else {"rtol": 1e-4, "atol": 1e-4}
    torch.testing.assert_close(values, numbers["nll_laplace"], **close)
    for x, name in [(mu, "mu"), (gamma, "gamma")]:
        torch.testing.assert_close(x.grad, numbers[f"grad_{name}_of_mean"], **close)
    gradient = numbers["grad_pi_of_mean"]
    projected = gradient - (pi.detach() * gradient).sum(-1, keepdim=True)
    torch.testing.assert_close(pi.grad, projected, **close)


def test_two_wrong_colours_do_not_make_a_right_one() -> None:
    """Black and white render grey, and do not explain it."""
    rgb = torch.tensor([[[0.0] * 3, [1.0] * 3]])
    scale, grey = torch.full_like(rgb, 0.05), torch.full((1, 3), 0.5)
    half = torch.tensor([[0.5, 0.5]])
    assert (half[..., None] * rgb).sum(1).equal(grey)
    wrong, right = (mixture_nll(half, x, scale, grey) for x in (rgb, torch.full_like(rgb, 0.5)))
    assert wrong > right + 25.0


def test_an_outlier_keeps_its_gradient_where_the_released_form_saturates() -> None:
    weights, rgb = torch.full((1, 4), 0.25), torch.rand(1, 4, 3).requires_grad_()
    scale, target = torch.full((1, 4, 3), 0.01), torch.full((1, 3), 5.0)
    released = mixture_nll(weights, rgb, scale, target, form="released")
    assert released.item() == pytest.approx(-math.log(1e-12))
    assert not torch.autograd.grad(released, rgb)[0].any()
    value = mixture_nll(weights, rgb, scale, target)
    assert value > 1000.0
    (pull,) = torch.autograd.grad(value, rgb)
    assert pull.sum().item() == pytest.approx(-3 / 0.01, rel=1e-4)  # Laplace: ±1/scale a channel


def test_a_ray_of_opacity_zero_has_no_mixture() -> None:
    weights, rgb, scale, target = some_rays()
    weights[1] = 0.0
    weights.requires_grad_()
    for form, empty in [("mixture", 0.0), ("released", -math.log(1e-12))]:
        values = mixture_nll(weights, rgb, scale, target, form=form, reduction="none")
        assert values[1].item() == pytest.approx(empty)
        (pull,) = torch.autograd.grad(values.sum(), weights)
        assert not pull[1].any()
        assert pull[0].any()


@pytest.mark.parametrize("form", ["mixture", "released"])
def test_packed_rays_may_be_empty(form) -> None:
    weights, rgb, scale, target = some_rays()
    keep = torch.rand(5, 7) < 0.5
    keep[[1, 4]] = False
    packed = weights[keep], rgb[keep], scale[keep], target
    layout = {"ray_indices": keep.nonzero()[:, 0], "n_rays": 5}
    values = mixture_nll(*packed, **layout, form=form, reduction="none")
    for i in range(5):
        alone = weights[i, keep[i]], rgb[i, keep[i]], scale[i, keep[i]]
        expected = 0.0 if form == "mixture" else -math.log(1e-12)
        if keep[i].any():
            alone = (x[None] for x in (*alone, target[i]))
            expected = mixture_nll(*alone, form=form).item()
        assert values[i].item() == pytest.approx(expected)


def test_scale_and_opacity_of_weights_do_not_matter_to_speak_of() -> None:
    weights, *others = some_rays()
    torch.testing.assert_close(
        mixture_nll(0.1 * weights, *others), mixture_nll(weights, *others), rtol=0, atol=1e-3
    )


def test_the_best_scale_is_the_error() -> None:
    """A Laplace distribution's likelihood is largest where its scale is the distance."""
    one, target = torch.ones(1, 1), torch.tensor([[0.3]])
    rgb = torch.zeros(1, 1, 1)
    for scale, sign in [(0.2, -1), (0.3, 0), (0.4, 1)]:
        width = torch.full((1, 1, 1), scale, requires_grad=True)
        mixture_nll(one, rgb, width, target).backward()
        pull = width.grad.item()
        assert np.sign(round(pull, 4)) == sign


def test_the_least_scale_bounds_the_reward() -> None:
    weights, rgb, _, _ = some_rays()
    same = torch.full_like(rgb, 0.5)
    scale = torch.full_like(rgb, 1e-9).requires_grad_()
    value = mixture_nll(weights, same, scale, same[:, 0])
    value.backward()
    assert value.item() == pytest.approx(3 * math.log(2e-3), rel=1e-9)
    assert not scale.grad.any()


@pytest.mark.parametrize("form", ["mixture", "released"])
@pytest.mark.parametrize("away", [0.0, 1.0, 1e4, 3e38])
@pytest.mark.parametrize("scale", [0.0, 1e-3, 1.0, 1e30])
@pytest.mark.parametrize("weights", [[0.0, 0.0], [1.0, 0.0], [0.0, 1e-30], [0.5, 0.5]])
def test_finite_at_the_edges(form, away, scale, weights) -> None:
    weight = torch.tensor([weights], requires_grad=True)
    rgb = torch.tensor([[[0.0], [away]]], requires_grad=True)
    scales = torch.full_like(rgb, scale, requires_grad=True)
    value = mixture_nll(weight, rgb, scales, torch.zeros(1, 1), form=form)
    assert value.isfinite()
    for gradient in torch.autograd.grad(value, [weight, rgb, scales]):
        assert gradient.isfinite().all()


RAYS = dict(zip(("weights", "rgb", "scale", "target"), some_rays(), strict=True))


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"form": "gaussian"}, ValueError, r'form must be "mixture" or "released", got \'gauss'),
        ({"eps": 0.0}, ValueError, r"eps must be a number > 0, got 0.0"),
        ({"min_scale": -1.0}, ValueError, r"min_scale must be a number > 0, got -1.0"),
        (
            {"rgb": torch.ones(5, 7)},
            ValueError,
            r"rgb must have shape \(5, 7, 3\), one colour a sample .* got \(5, 7\)",
        ),
        ({"scale": torch.ones(5, 7, 1)}, ValueError, r"scale must have shape \(5, 7, 3\)"),
        (
            {"target": torch.ones(5, 1, 3)},
            ValueError,
            r"target must have shape \(5, 3\), one colour a ray of weights, got \(5, 1, 3\)",
        ),
        ({"target": torch.tensor(0.5)}, ValueError, r"target must have shape \(5, 3\)"),
        ({"target": torch.ones(5, 3).byte()}, TypeError, r"target must be floating point"),
        ({"rgb": 0.5}, TypeError, r"rgb must be an array .* got float"),
        ({"weights": torch.ones(5, 0)}, ValueError, r"weights must be \(…, S\) with S >= 1"),
        ({"valid": torch.ones(5, 7) > 0}, ValueError, r"valid must be boolean of shape \(5,\)"),
        ({"reduction": "max"}, ValueError, r"reduction must be"),
        (
            {"weights": torch.ones(9), "ray_indices": torch.zeros(9).long(), "n_rays": 5},
            ValueError,
            r"rgb must have shape \(9, 3\)",
        ),
    ],
)
def test_says_what_is_wrong(changes, error, message) -> None:
    with pytest.raises(error, match="^mixture_nll: " + message):
        mixture_nll(**{**RAYS, **changes})


def test_checks_scale_when_asked() -> None:
    weights, rgb, scale, target = some_rays()
    scale[1, 2, 0] = -1.0
    assert mixture_nll(weights, rgb, scale, target).isfinite()
    with check_values():
        with pytest.raises(ValueError, match=r"^mixture_nll: scale must be > 0 everywhere, but 1"):
            mixture_nll(weights, rgb, scale, target)
        mixture_nll(weights, rgb, scale, target, valid=VALID)


def test_module_is_the_function() -> None:
    options = {"form": "released", "eps": 1e-8, "min_scale": 0.1, "reduction": "none"}
    assert torch.equal(MixtureNLL(**options)(*some_rays()), mixture_nll(*some_rays(), **options))
