"""Squared depth error against loops, by hand, against DS-NeRF's numbers, and at its edges."""

import numpy as np
import pytest
import torch

from nerfreg import check_values
from nerfreg.losses import DepthMSE, depth_mse
from nerfreg.rays import expected_depth, weights_from_density
from tests.golden import golden, golden_cases

VALID = torch.tensor([True, False, True, True])


def slow_depth_mse(
    rendered, depth, std, weight, relative, valid, penalty="square", threshold=1.0
) -> np.ndarray:
    """One value a ray, ray by ray."""
    values = []
    for i in range(len(depth)):
        error = float(rendered[i]) - float(depth[i])
        if std is not None:
            error /= float(std[i])
        if relative:
            error /= float(depth[i])
        share = 1.0 if weight is None else float(weight[i])
        cost = error**2
        if penalty != "square" and abs(error) > threshold:
            linear = 2.0 * threshold * abs(error) - threshold**2
            cost = linear if penalty == "huber" else threshold**2
        values.append(share * cost if valid is None or valid[i] else 0.0)
    return np.array(values)


@pytest.mark.parametrize("scale", ["plain", "std", "relative"])
@pytest.mark.parametrize("with_weight", [False, True])
@pytest.mark.parametrize("valid", [None, VALID])
@pytest.mark.parametrize("penalty", [{}, {"penalty": "huber"}, {"penalty": "capped"}])
@pytest.mark.parametrize("threshold", [{}, {"threshold": 0.2}])
def test_agrees_with_loops(scale, with_weight, valid, penalty, threshold) -> None:
    rendered, depth, std, weight = torch.rand(4, 4, dtype=torch.float64) + 0.5
    std, weight = std if scale == "std" else None, weight if with_weight else None
    options = {"std": std, "weight": weight, "relative": scale == "relative", "valid": valid}
    options |= penalty | threshold
    expected = slow_depth_mse(rendered, depth, **options)
    n = 4 if valid is None else int(valid.sum())
    for reduction, value in [
        ("none", expected),
        ("sum", expected.sum()),
        ("mean", expected.sum() / n),
    ]:
        got = depth_mse(rendered, depth, **options, reduction=reduction)
        np.testing.assert_allclose(got.numpy(), value, rtol=1e-12)


def test_by_hand() -> None:
    """3 for a target of 2: (3−2)² = 1; with std ½ 2² = 4; relative (1/2)² = ¼; weight 3 triples."""
    rendered, depth = torch.tensor([3.0]), torch.tensor([2.0])
    assert depth_mse(rendered, depth).item() == 1.0
    assert depth_mse(rendered, depth, std=torch.tensor([0.5])).item() == 4.0
    assert depth_mse(rendered, depth, relative=True).item() == 0.25
    assert depth_mse(rendered, depth, weight=torch.tensor([3.0])).item() == 3.0


def test_robust_penalties_by_hand() -> None:
    """Errors of ½ and 3, threshold 1. Huber: ¼, and 2·3 − 1 = 5. Capped: ¼, and 1.

    In standard deviations of ½ they are 1 and 6: with threshold 2, 1 and 2·2·6 − 4 = 20, or 4.
    """
    rendered, depth = torch.tensor([2.5, -1.0]), torch.tensor([2.0, 2.0])
    std = torch.full((2,), 0.5)
    for penalty, plain, scaled in [
        ("huber", [0.25, 5.0], [1.0, 20.0]),
        ("capped", [0.25, 1.0], [1.0, 4.0]),
    ]:
        options = {"penalty": penalty, "reduction": "none"}
        assert depth_mse(rendered, depth, **options).tolist() == plain
        assert depth_mse(rendered, depth, std=std, threshold=2.0, **options).tolist() == scaled


@pytest.mark.parametrize(
    ("penalty", "pulls"),
    [("square", [1.0, 6.0, 6e6]), ("huber", [1.0, 2.0, 2.0]), ("capped", [1.0, 0.0, 0.0])],
)
def test_how_hard_an_outlier_pulls(penalty, pulls) -> None:
    rendered = torch.tensor([0.5, 3.0, 3e6], requires_grad=True)
    depth_mse(rendered, torch.zeros(3), penalty=penalty, reduction="sum").backward()
    assert rendered.grad.tolist() == pulls


@pytest.mark.parametrize("penalty", ["square", "huber", "capped"])
@pytest.mark.parametrize("scale", ["plain", "std", "relative"])
@pytest.mark.parametrize("error", [1e15, 1e30, 3e38])
def test_errors_of_any_size_have_a_finite_square(penalty, scale, error) -> None:
    """Beyond 1e15 an error counts as that, before and after its division by as little as 1e-7."""
    rendered = torch.tensor([error, -error], requires_grad=True)
    depth = torch.tensor([1e-9, error], requires_grad=True)
    std = torch.full((2,), 1e-9, requires_grad=True) if scale == "std" else None
    value = depth_mse(
        rendered, depth, std=std, relative=scale == "relative", penalty=penalty, threshold=1e3
    )
    value.backward()
    assert value.isfinite()
    for x in (rendered, depth, std):
        assert x is None or x.grad.isfinite().all()


@pytest.mark.parametrize("case", golden_cases("dsnerf_render_and_mse"))
@pytest.mark.parametrize("variant", ["mse", "weighted", "relative"])
def test_meets_upstream_from_density_to_gradient(case, variant) -> None:
    numbers = golden("dsnerf_render_and_mse", case)
    raw, z = numbers["raw"].requires_grad_(), numbers["z_vals"]
    ends = torch.cat([z[:, 1:], torch.full_like(z[:, :1], 1e10)], dim=-1)
    weights = weights_from_density(raw[..., 3].relu(), z, ends, numbers["rays_d"].norm(dim=-1))
    rendered = expected_depth(weights, z, z, normalize=False)
    loss = depth_mse(
        rendered,
        numbers["target_depth"],
        weight=numbers["ray_weights"] if variant == "weighted" else None,
        relative=variant == "relative",
    )
    loss.backward()
    # Upstream's transmittance multiplies (1 − α + 1e-10): up to 5e-9 off, measured.
    torch.testing.assert_close(rendered, numbers["depth_map"], rtol=0, atol=2e-8)
    torch.testing.assert_close(loss, numbers[f"depth_loss_{variant}"], rtol=0, atol=2e-8)
    torch.testing.assert_close(raw.grad, numbers[f"grad_raw_{variant}"], rtol=0, atol=2e-8)


@pytest.mark.parametrize("case", golden_cases("dsnerf_render_and_mse"))
def test_meets_upstream_from_its_rendered_depth(case) -> None:
    numbers = golden("dsnerf_render_and_mse", case)
    rendered, depth = numbers["depth_map"], numbers["target_depth"]
    for key, options in [
        ("mse", {}),
        ("weighted", {"weight": numbers["ray_weights"]}),
        ("relative", {"relative": True}),
    ]:
        torch.testing.assert_close(
            depth_mse(rendered, depth, **options), numbers[f"depth_loss_{key}"], rtol=1e-13, atol=0
        )


@pytest.mark.parametrize("options", [{}, {"relative": True}, {"std": torch.rand(4).double() + 0.1}])
def test_gradcheck(options) -> None:
    rendered, depth = (torch.rand(2, 4, dtype=torch.float64) + 1.0).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda r, d: depth_mse(r, d, **options, valid=VALID), (rendered, depth)
    )


@pytest.mark.parametrize("options", [{}, {"relative": True}, {"std": torch.zeros(4)}])
def test_invalid_rays_may_hold_anything(options) -> None:
    for rubbish in (torch.nan, torch.inf, 0.0):
        rendered = torch.where(VALID, torch.rand(4), rubbish).requires_grad_()
        depth = torch.where(VALID, torch.rand(4) + 1.0, rubbish)
        options = {
            k: torch.where(VALID, 1.0, rubbish) if k == "std" else v for k, v in options.items()
        }
        weight = torch.where(VALID, 1.0, rubbish)
        value = depth_mse(rendered, depth, weight=weight, valid=VALID, **options)
        value.backward()
        assert value.isfinite()
        assert rendered.grad.isfinite().all()
        assert rendered.grad[1] == 0.0


@pytest.mark.parametrize("options", [{"relative": True}, {"std": torch.zeros(4)}])
def test_a_divisor_of_zero_stays_finite(options) -> None:
    rendered = torch.rand(4).requires_grad_()
    value = depth_mse(rendered, torch.zeros(4), **options)
    value.backward()
    assert value.isfinite()
    assert rendered.grad.isfinite().all()


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float16, 1e-2), (torch.bfloat16, 1e-1)])
def test_half_precision_computes_in_float32(dtype, bound) -> None:
    """Rounding depths of 300 that differ by tens costs the bound; squares leave float16's range."""
    rendered, depth = 300.0 * torch.rand(16), 300.0 * torch.rand(16)
    value = depth_mse(rendered.to(dtype), depth.to(dtype), std=torch.ones(16, dtype=dtype))
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, depth_mse(rendered, depth), rtol=bound, atol=0)


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize(
    ("error", "message", "arguments", "options"),
    [
        (ValueError, r"share one shape .* depth \(4, 1\)", (torch.ones(4), torch.ones(4, 1)), {}),
        (
            ValueError,
            r"share one shape .* std \(1,\)",
            (torch.ones(4), torch.ones(4)),
            {"std": torch.ones(1)},
        ),
        (
            ValueError,
            r"share one shape .* weight",
            (torch.ones(4), torch.ones(4)),
            {"weight": torch.ones(3)},
        ),
        (
            ValueError,
            r"valid must be boolean",
            (torch.ones(4), torch.ones(4)),
            {"valid": torch.ones(4)},
        ),
        (
            ValueError,
            r"std and relative=True are two ways",
            (torch.ones(4), torch.ones(4)),
            {"std": torch.ones(4), "relative": True},
        ),
        (ValueError, r"reduction must be", (torch.ones(4), torch.ones(4)), {"reduction": "max"}),
        (
            ValueError,
            r'penalty must be "square", "huber" or "capped", got \'l1\'',
            (torch.ones(4), torch.ones(4)),
            {"penalty": "l1"},
        ),
        (
            ValueError,
            r"threshold must be a number > 0, got 0.0",
            (torch.ones(4), torch.ones(4)),
            {"penalty": "huber", "threshold": 0.0},
        ),
        (TypeError, r"depth must be floating point", (torch.ones(4), torch.ones(4).int()), {}),
        (
            TypeError,
            r"rendered must be an array \(torch, JAX or NumPy\), got list",
            ([1.0], torch.ones(1)),
            {},
        ),
    ],
)
def test_says_what_is_wrong(error, message, arguments, options) -> None:
    with pytest.raises(error, match="^depth_mse: .*" + message):
        depth_mse(*arguments, **options)


@pytest.mark.parametrize(
    ("depth", "options", "message"),
    [
        (
            1.0,
            {"std": torch.tensor([1.0, 0.0, 1.0, 1.0])},
            "std must be > 0 everywhere, but 1 of 4",
        ),
        (1.0, {"weight": -torch.ones(4)}, "weight must be >= 0 everywhere, but 4 of 4"),
        (0.0, {"relative": True}, "depth must be > 0 everywhere"),
        (torch.nan, {}, "depth must be finite"),
        (1.0, {"std": torch.full((4,), torch.inf)}, "std must be finite"),
        (1.0, {"weight": torch.full((4,), torch.nan)}, "weight must be finite"),
    ],
)
def test_checks_values_when_asked(depth, options, message) -> None:
    arguments = torch.ones(4), torch.full((4,), depth)
    depth_mse(*arguments, **options)
    with check_values():
        with pytest.raises(ValueError, match="^depth_mse: " + message):
            depth_mse(*arguments, **options)
        depth_mse(*arguments, **options, valid=torch.zeros(4, dtype=torch.bool))


@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize("penalty", ["square", "huber", "capped"])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_module_is_the_function(relative, penalty, reduction) -> None:
    rendered, depth, weight = torch.rand(3, 4) + 0.5
    options = {"relative": relative, "penalty": penalty, "threshold": 0.1, "reduction": reduction}
    module = DepthMSE(**options)
    expected = depth_mse(rendered, depth, weight=weight, valid=VALID, **options)
    got = module(rendered, depth, weight=weight, valid=VALID)
    torch.testing.assert_close(got, expected, rtol=0, atol=0)
    assert repr(module) == (
        f"DepthMSE(relative={relative}, penalty='{penalty}', threshold=0.1,"
        f" reduction='{reduction}')"
    )
