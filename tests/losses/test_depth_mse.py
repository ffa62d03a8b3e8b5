"""Squared depth error against loops, by hand, against DS-NeRF's numbers, and at its edges."""

import numpy as np
import pytest
import torch

from nerfreg import check_values
from nerfreg.losses import DepthMSE, depth_mse
from nerfreg.rays import expected_depth, weights_from_density
from tests.golden import golden, golden_cases

VALID = torch.tensor([True, False, True, True])


def slow_depth_mse(rendered, depth, std, weight, relative, valid) -> np.ndarray:
    """One value a ray, ray by ray."""
    values = []
    for i in range(len(depth)):
        error = float(rendered[i]) - float(depth[i])
        if std is not None:
            error /= float(std[i])
        if relative:
            error /= float(depth[i])
        share = 1.0 if weight is None else float(weight[i])
        values.append(share * error**2 if valid is None or valid[i] else 0.0)
    return np.array(values)


@pytest.mark.parametrize("scale", ["plain", "std", "relative"])
@pytest.mark.parametrize("with_weight", [False, True])
@pytest.mark.parametrize("valid", [None, VALID])
def test_agrees_with_loops(scale, with_weight, valid) -> None:
    rendered, depth, std, weight = torch.rand(4, 4, dtype=torch.float64) + 0.5
    std, weight = std if scale == "std" else None, weight if with_weight else None
    options = {"std": std, "weight": weight, "relative": scale == "relative", "valid": valid}
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
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_module_is_the_function(relative, reduction) -> None:
    rendered, depth, weight = torch.rand(3, 4) + 0.5
    module = DepthMSE(relative=relative, reduction=reduction)
    expected = depth_mse(
        rendered, depth, weight=weight, relative=relative, valid=VALID, reduction=reduction
    )
    got = module(rendered, depth, weight=weight, valid=VALID)
    torch.testing.assert_close(got, expected, rtol=0, atol=0)
    assert repr(module) == f"DepthMSE(relative={relative}, reduction='{reduction}')"
